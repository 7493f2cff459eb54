"""What features written by hand may know of the rows before them: `benchmarks/past.py` against loops."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.append(str(Path(__file__).resolve().parents[3]))  # the benchmarks are no installed package
_MODULE: Any = importlib.import_module("benchmarks.past")
FOLDS, Log, Sums, past, smooth = (getattr(_MODULE, name) for name in ("FOLDS", "Log", "Sums", "past", "smooth"))


def log_of(shared: bool = True, sees: str = "all", rows: int = 60) -> Any:
    rng = np.random.default_rng(3)
    user, item = rng.integers(0, 25, rows), rng.integers(0, 4, rows)
    clock = np.sort(rng.integers(0, 20, rows))  # many ties, and 0 = unknown
    train = np.arange(rows) < 40
    return Log(user, item, rng.integers(0, 2, rows).astype(float), clock, train, shared, sees)


def by_hand(log: Any, key: np.ndarray, seen: np.ndarray) -> tuple[list[float], list[float]]:
    rows = [[j for j in range(len(key)) if key[j] == key[i] and seen[i, j]] for i in range(len(key))]
    return [float(len(row)) for row in rows], [float(log.label[row].sum()) for row in rows]


def check(found: Any, expected: tuple[list[float], list[float]]) -> None:
    assert np.allclose(found.count, expected[0])
    assert np.allclose(found.total[0], expected[1])


@pytest.mark.parametrize("sees", ["all", "known", "training"])
def test_sums_hold_earlier_events_only_and_no_ties(sees: str) -> None:
    log = log_of(sees=sees)
    known = np.isin(log.user, log.user[log.train])
    event = (log.clock > 0) & {"all": np.ones_like(log.train), "known": known, "training": log.train}[sees]
    check(past(log, log.item), by_hand(log, log.item, (log.clock[None] < log.clock[:, None]) & event[None]))


def test_a_window_holds_events_of_that_many_units_ago() -> None:
    log = log_of()
    ago = log.clock[:, None] - log.clock[None]
    check(past(log, log.item, window=3), by_hand(log, log.item, (ago > 0) & (ago <= 3) & (log.clock[None] > 0)))


def test_latest_counts_no_more_than_asked_and_tells_first_and_last() -> None:
    log = log_of()
    found, whole = past(log, log.item, latest=2), past(log, log.item)
    assert np.array_equal(found.count, np.minimum(whole.count, 2))
    assert np.array_equal(found.last, whole.last, equal_nan=True)
    assert np.isnan(whole.last[whole.count == 0]).all()
    assert (whole.last[whole.count > 0] < log.clock[whole.count > 0]).all()


def test_without_a_shared_clock_training_rows_read_other_folds_and_others_read_training() -> None:
    log = log_of(shared=False)
    for place in range(len(log.user)):
        others = log.train & (log.item == log.item[place]) & ((log.fold != log.fold[place]) | ~log.train[place])
        scale = FOLDS / (FOLDS - 1) if log.train[place] else 1.0
        assert past(log, log.item).count[place] == pytest.approx(others.sum() * scale)
        assert past(log, log.item).total[0][place] == pytest.approx(log.label[others].sum() * scale)


def test_windows_are_refused_where_no_clock_orders_users() -> None:
    with pytest.raises(ValueError, match="windows need a clock"):
        past(log_of(shared=False), log_of().item, window=3)


def test_a_smooth_mean_starts_at_the_prior() -> None:
    none = Sums(np.zeros(1), (np.zeros(1),), np.full(1, np.nan), np.full(1, np.nan))
    assert smooth(none, 0.4) == pytest.approx(0.4)
    assert np.isnan(none.mean()).all()
