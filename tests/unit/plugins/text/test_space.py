"""Dimensions: principal components whose orientation is fixed, without those that only rounding tells; and which words are kept."""

from __future__ import annotations

import time

import numpy as np
import pytest

from autorec_text.space import dimensions, word_vectors


def vectors(count: int, hidden: int, rank: int, seed: int = 0) -> np.ndarray:
    """Return float32 [count, hidden] of length 1 that vary in `rank` directions, each by half of the one before."""
    rng = np.random.default_rng(seed)
    within = rng.normal(size=(count, rank)) * 0.5 ** np.arange(rank)
    turned = np.linalg.qr(rng.normal(size=(hidden, rank + 1)))[0].T
    found = 10 * turned[0] + within @ turned[1:]
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), dtype=np.float32)


@pytest.mark.parametrize("count", [40, 10])
def test_the_smaller_side_gives_the_same_components(count: int) -> None:
    texts = vectors(count, 24, 4)
    centred = texts.astype(np.float64) - texts.mean(axis=0, dtype=np.float64)
    left = np.linalg.svd(centred, full_matrices=False)[0][:, :4] * np.sqrt(count)
    found = dimensions(texts, 4)
    np.testing.assert_allclose(found, left * np.sign((found * left).sum(axis=0)), atol=1e-4)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count", [40, 10])
def test_each_direction_points_to_where_its_largest_part_is_positive(count: int, seed: int) -> None:
    texts = vectors(count, 24, 4, seed).astype(np.float64)
    centred = texts - texts.mean(axis=0)
    directions = np.linalg.pinv(centred, rcond=1e-3) @ dimensions(texts, 3)
    largest = np.take_along_axis(directions, np.abs(directions).argmax(axis=0)[None], axis=0)
    assert (largest > 0).all()


@pytest.mark.parametrize("count", [40, 10])
def test_directions_that_only_rounding_tells_are_left_out(count: int) -> None:
    clean = vectors(count, 24, 2).astype(np.float64)
    noise = np.random.default_rng(1).normal(scale=1e-5, size=clean.shape)
    assert dimensions(clean + noise, 16).shape[1] <= 3  # two, and the curve of the sphere
    assert dimensions(np.repeat(clean[:1], count, axis=0), 16).shape == (count, 0)


def test_few_texts_of_a_wide_encoder_cost_little() -> None:
    texts = vectors(20, 4_096, 3)
    started = time.process_time()
    assert dimensions(texts, 16).shape[1] >= 3
    assert time.process_time() - started < 2  # 4,096 x 4,096 takes 20 seconds


def test_the_words_of_the_most_texts_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autorec_text.space._WORDS", 2)
    texts = ["moon moon moon rocket", "star rocket", "star rocket now", "bread star"]  # moon is said more often, in one text
    vocabulary, found = word_vectors(texts, np.eye(4))
    assert vocabulary.size == 3
    assert vocabulary.ids_of([1, 2]) == ["rocket", "star"]
    assert found.shape == (3, 4)
