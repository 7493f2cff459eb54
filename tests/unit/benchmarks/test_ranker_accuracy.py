"""What `benchmarks/ranker_accuracy.py` decides: which epoch counts, how means of seeds are resampled, and what an interval says."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest


@pytest.fixture
def accuracy(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the script; the benchmarks are no installed package."""
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[3]))
    from benchmarks import ranker_accuracy

    return ranker_accuracy


def pair_count(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the share of (positive, negative) pairs in right order, ties half."""
    won = [(a > b) + 0.5 * (a == b) for a in scores[labels == 1] for b in scores[labels == 0]]
    return float(np.mean(won))


class Scripted:
    """A worker whose epochs have the validation AUCs that are asked for; its test scores name the epoch."""

    def __init__(self, values: list[float]) -> None:
        self.values, self.done = values, 0

    def epoch(self) -> dict[str, float]:
        self.done += 1
        return {"cpu_s": 2.0}

    def scores(self, part: str) -> np.ndarray:
        if part == "test":
            return np.full(3, float(self.done))
        good = round(self.values[self.done - 1] * 10)  # positives above the only negative, of ten
        return np.append(np.where(np.arange(10) < good, 1.0, -1.0), 0.0)


def trained(accuracy: ModuleType, values: list[float], **limits: int) -> tuple[Any, ...]:
    return tuple(accuracy.best_epoch(Scripted(values), np.append(np.ones(10), 0.0), **limits))


def test_scores_are_those_of_the_best_validation_epoch(accuracy: ModuleType) -> None:
    kept, curve, used = trained(accuracy, [0.5, 0.8, 0.7, 0.6, 0.9], epochs=4, patience=3)
    assert (kept.tolist(), curve, used) == ([2.0] * 3, [0.5, 0.8, 0.7, 0.6], 8.0)


def test_training_ends_when_the_validation_value_stops_rising(accuracy: ModuleType) -> None:
    kept, curve, _ = trained(accuracy, [0.8, 0.7, 0.7, 0.9], epochs=4, patience=2)
    assert (kept.tolist(), curve) == ([1.0] * 3, [0.8, 0.7, 0.7])


def test_means_of_resamples_are_those_of_rows_repeated_user_by_user(accuracy: ModuleType) -> None:
    rng = np.random.default_rng(3)
    labels, users = rng.integers(0, 2, 30), np.repeat([7, 3, 9, 4, 1], 6)
    scores = {"ours": list(rng.integers(0, 9, (2, 30)).astype(float)), "peer": [rng.random(30)]}
    found = accuracy.means_of_resamples(labels, users, scores, np.random.default_rng(0), resamples=5)
    draws, names = np.random.default_rng(0), np.unique(users)
    for index in range(6):
        picked = np.concatenate([np.flatnonzero(users == names[k]) for k in draws.integers(0, 5, 5)]) if index else np.arange(30)
        for name, several in scores.items():
            wanted = np.mean([pair_count(labels[picked], one[picked]) for one in several])
            assert found[name][index] == pytest.approx(wanted)


def test_an_interval_is_the_middle_of_the_resamples_around_the_figure(accuracy: ModuleType) -> None:
    found = accuracy.interval(np.append(5.0, np.arange(101) / 100))
    assert found == {"value": 5.0, "low": 0.025, "high": 0.975}


@pytest.mark.parametrize(("low", "high", "word"), [(-0.2, -0.1, "worse"), (0.1, 0.2, "better"), (-0.1, 0.1, "not told apart")])
def test_a_verdict_needs_the_whole_interval_on_one_side(accuracy: ModuleType, low: float, high: float, word: str) -> None:
    assert accuracy.verdict({"value": 0.0, "low": low, "high": high}) == word
