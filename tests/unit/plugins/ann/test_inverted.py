"""The inverted file: the laws of its kind, and what its own words promise."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("faiss")

from autorec_ann.inverted import InvertedFile
from autorec_kernel.errors import BundleError, DataError
from autorec_kernel.testing import IndexContract


class TestInvertedFile(IndexContract):
    component = InvertedFile
    configs = (InvertedFile.Config(), InvertedFile.Config(cells=9))


def planted(count: int, width: int = 16, groups: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Groups with vectors of very unequal length, and queries."""
    rng = np.random.default_rng(2)
    middles = rng.normal(size=(groups, width)) * rng.lognormal(0, 1, (groups, 1))
    spread = rng.uniform(0.1, 0.8, (groups, 1))
    home = rng.integers(0, groups, count)
    vectors = middles[home] + spread[home] * rng.normal(size=(count, width))
    return vectors.astype(np.float32), rng.normal(size=(100, width)).astype(np.float32)


def recall(index: object, vectors: np.ndarray, queries: np.ndarray, effort: int, count: int = 10) -> float:
    scores = queries @ vectors.T
    last = np.sort(scores, axis=1)[:, -count]
    found = index.candidates(queries, count, effort)  # type: ignore[attr-defined]
    hits = [(own[rows[rows >= 0]] >= end).sum() for own, rows, end in zip(scores, found, last, strict=True)]
    return float(np.minimum(hits, count).mean()) / count


def test_four_times_the_square_root_of_the_rows_is_the_number_of_cells() -> None:
    arrays = InvertedFile(InvertedFile.Config()).build(planted(2500)[0], np.random.default_rng(0))
    assert len(arrays["centroids"]) == 200
    assert arrays["codes"].dtype == np.uint8
    assert arrays["codes"].shape == (2500, 16)


def test_longer_lists_read_more_cells() -> None:
    vectors, queries = planted(20_000)
    index = InvertedFile(InvertedFile.Config()).open(InvertedFile(InvertedFile.Config()).build(vectors, np.random.default_rng(0)))
    assert recall(index, vectors, queries, 2) > 0.99
    assert recall(index, vectors, queries, 2, count=160) > 0.97


def test_wide_cells_with_a_short_middle_are_not_missed() -> None:
    vectors, queries = planted(20_000)
    arrays = InvertedFile(InvertedFile.Config(cells=280)).build(vectors, np.random.default_rng(0))
    blind = InvertedFile(InvertedFile.Config()).open({**arrays, "spread": 0 * arrays["spread"]})
    seeing = InvertedFile(InvertedFile.Config()).open(arrays)
    assert recall(seeing, vectors, queries, 0) > recall(blind, vectors, queries, 0) + 0.02


def test_all_rows_can_be_asked_for() -> None:
    vectors, queries = planted(300)
    index = InvertedFile(InvertedFile.Config(cells=4)).open(
        InvertedFile(InvertedFile.Config(cells=4)).build(vectors, np.random.default_rng(0))
    )
    found = index.candidates(queries[:1], 290, 0)
    assert sorted(found[0]) == list(range(300))


@pytest.mark.parametrize("count", [3, 0])
def test_fewer_rows_than_cells_are_refused(count: int) -> None:
    with pytest.raises(DataError, match="5 cells"):
        InvertedFile(InvertedFile.Config(cells=5)).build(planted(300)[0][:count], np.random.default_rng(0))


def test_vectors_that_are_not_finite_are_refused() -> None:
    vectors = planted(300)[0]
    vectors[7, 3] = np.nan
    with pytest.raises(DataError, match="finite"):
        InvertedFile(InvertedFile.Config()).build(vectors, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("rows", lambda rows: np.where(rows == 5, 6, rows).astype(np.int32), "every row once"),
        ("starts", lambda starts: starts + (np.arange(len(starts)) == 3) * 10_000, "add up"),
        ("centroids", lambda middles: np.full_like(middles, np.inf), "not finite"),
        ("codes", lambda codes: codes[:, :-1], "codes are"),
    ],
)
def test_what_faiss_would_read_out_of_bounds_is_refused(name: str, change: object, told: str) -> None:
    arrays = InvertedFile(InvertedFile.Config()).build(planted(900)[0], np.random.default_rng(0))
    with pytest.raises(BundleError, match=told):
        InvertedFile(InvertedFile.Config()).open({**arrays, name: change(arrays[name])})  # type: ignore[operator]
