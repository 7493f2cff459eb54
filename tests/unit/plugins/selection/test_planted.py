"""Eight informative columns among 92 of noise: the promise of selection."""

from __future__ import annotations

import numpy as np
import pytest
from planted_columns import INFORMATIVE, NOISE, ROWS, features_of, planted

from autorec_selection.auto import Auto


def _judge(seed: int, task: str = "click", noise: int = NOISE, rows: int = ROWS) -> tuple[int, int]:
    """Return how many of the eight and how many of the noise columns the default selector keeps."""
    pytest.importorskip("lightgbm")
    frame, good = planted(seed, task=task, noise=noise, rows=rows)
    ranking = Auto(Auto.Config()).rank(features_of(frame, task), np.random.default_rng(seed))
    assert ranking.kept is not None and set(ranking.order()[: len(ranking.kept)]) == set(ranking.kept)
    return len(good & set(ranking.kept)), len(set(ranking.kept) - good)


def test_the_default_keeps_the_eight_and_drops_nine_tenths_of_the_noise() -> None:
    kept, noise = _judge(0, noise=32, rows=12_000)
    assert kept == INFORMATIVE and noise <= 3


@pytest.mark.slow
@pytest.mark.parametrize("task", ["click", "rate"])
@pytest.mark.parametrize("seed", range(5))
def test_the_default_keeps_eight_of_eight_and_drops_nine_tenths_of_ninety_two(seed: int, task: str) -> None:
    kept, noise = _judge(seed, task)
    assert kept == INFORMATIVE and noise <= NOISE // 10


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_without_trees_tables_of_counts_do_the_same(seed: int) -> None:
    frame, good = planted(seed)
    kept = set(Auto(Auto.Config(rounds=0)).rank(features_of(frame), np.random.default_rng(seed)).kept or ())
    assert good <= kept and len(kept - good) <= NOISE // 10


def test_equal_generators_give_equal_rankings_and_others_the_same_line() -> None:
    frame, _ = planted(1, rows=6000, noise=8)
    features = features_of(frame)
    first, again, other = (Auto(Auto.Config(trees=20)).rank(features, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert first == again
    assert first.scores != other.scores
