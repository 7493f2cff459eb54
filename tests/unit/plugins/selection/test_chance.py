"""The default selector keeps its promise of risk: of features that tell nothing it keeps any at all no more often than that."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from autorec_kernel.records.features import Feature, FeatureSchema
from autorec_selection.auto import Auto
from autorec_selection.evidence import Alone
from autorec_selection.information import told
from autorec_selection.sample import Sample, Target

RISK, RUNS = 0.3, 40


def sample_of(inputs: dict[str, np.ndarray], users: np.ndarray | None = None) -> Sample:
    """Return rows of these features: a matrix of numbers is a bag of a vocabulary, a list of them a numeric feature."""
    rows = len(next(iter(inputs.values())))
    features = tuple(
        Feature(name, "bag", "row", vocabulary=name, size=99, width=value.shape[1]) if value.ndim == 2 else Feature(name, "numeric", "row")
        for name, value in inputs.items()
    )
    given = {name: value if value.ndim == 2 else value[:, None].astype(np.float32) for name, value in inputs.items()}
    none = np.zeros(rows, np.int64)
    return Sample(FeatureSchema(features, user="user_id" if users is not None else ""), given, none if users is None else users, none, ())


def kept(sample: Sample, labels: list[np.ndarray], seed: int) -> tuple[set[str], set[str]]:
    """Return the features kept for what they tell alone, and for what they tell in a pair."""
    targets = [Target(f"label{number}", "logit", label.astype(np.float32)) for number, label in enumerate(labels)]
    names = [feature.name for feature in sample.features]
    found = Auto(Auto.Config(rounds=0, risk=RISK)).ranked(sample, targets, names, np.random.default_rng(seed))
    pairs = {name for name in found.kept or () if found.reasons[name].startswith("with ")}
    return set(found.kept or ()) - pairs, pairs


def runs(made: Any, labels: int, rows: int = 400) -> tuple[float, float]:
    """Return the shares of runs on chance alone that keep any feature alone, and any in a pair."""
    found = []
    for seed in range(RUNS):
        rng = np.random.default_rng(1000 + seed)
        found.append([bool(names) for names in kept(sample_of(made(rng, rows)), [rng.integers(0, 2, rows) for _ in range(labels)], seed)])
    alone, paired = np.mean(found, axis=0)
    return float(alone), float(paired)


def numbers(rng: np.random.Generator, rows: int) -> dict[str, np.ndarray]:
    return {f"x{number}": rng.integers(0, 16, rows).astype(float) for number in range(6)}


@pytest.mark.parametrize("labels", [1, 3])
def test_the_risk_is_shared_by_all_features_pairs_and_labels(labels: int) -> None:
    alone, paired = runs(numbers, labels)
    assert max(alone, paired) <= RISK + 0.05


def test_the_risk_is_shared_by_the_readings_of_a_list() -> None:
    def lists(rng: np.random.Generator, rows: int) -> dict[str, np.ndarray]:
        return {f"b{number}": rng.integers(0, 13, (rows, 3)) for number in range(6)}

    assert runs(lists, 1)[0] <= RISK + 0.05


def by_user(rng: np.random.Generator, users: np.ndarray, classes: int) -> np.ndarray:
    return np.asarray(rng.integers(0, classes, users.max() + 1)[users], dtype=float)


@pytest.mark.parametrize("tied", [1, 12])
def test_a_column_that_is_the_same_on_all_rows_of_a_user_tells_no_more_than_users_do(tied: int) -> None:
    """Users have tastes of their own, so that any column of theirs looks telling to who counts rows; others beside it do not hide that."""
    found = []
    for seed in range(20):
        rng = np.random.default_rng(2000 + seed)
        users = np.repeat(np.arange(1, 61), 20)
        label = rng.random(len(users)) < rng.beta(0.6, 0.6, users.max() + 1)[users]
        columns = {f"t{number}": by_user(rng, users, 3) for number in range(tied)}
        others = {f"x{number}": rng.integers(0, 3, len(users)).astype(float) for number in range(13 - tied)}
        found.append(bool(kept(sample_of(columns | others, users), [label], seed)[0]))
    assert np.mean(found) <= RISK + 0.05


@pytest.mark.parametrize(("tied", "others"), [(3, 5), (12, 12), (1, 8)])
def test_pairs_of_such_columns_are_judged_like_that_too(tied: int, others: int) -> None:
    found = []
    for seed in range(20):
        rng = np.random.default_rng(3000 + seed)
        users = np.repeat(np.arange(1, 61), 20)
        label = rng.random(len(users)) < rng.beta(0.6, 0.6, users.max() + 1)[users]
        columns = {f"t{number}": by_user(rng, users, 3) for number in range(tied)}
        columns |= {f"x{number}": rng.integers(0, 3, len(users)).astype(float) for number in range(others)}
        found.append(bool(kept(sample_of(columns, users), [label], seed)[1]))
    assert np.mean(found) <= RISK + 0.05


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        (0.4, "as good as chance"),
        (1.0, "about once in 10 times"),
        (2.5, "about once in 300 times"),
        (5.0, "about once in 100,000 times"),
        (57.3, "less than once in a million times"),
        (np.inf, "less than once in a million times"),
    ],
)
def test_the_odds_are_told_in_words(evidence: float, words: str) -> None:
    reason = told(Alone("value", 0.1, 0.02, 0.01, evidence))
    assert reason.endswith(f"{words})")
    assert "^" not in reason
