"""What strangers are answered with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from autorec_kernel.data import open_dataset
from autorec_kernel.features import build_features
from autorec_kernel.features.entities import ITEM, POSITIVE, USER
from autorec_kernel.features.feature_set import FeatureSet
from autorec_kernel.features.lately import Fading, interest
from autorec_kernel.kernel import Kernel
from autorec_kernel.records.dataset import CLOCK, MISSING_TIME
from autorec_kernel.records.table import Table

DAY = 86_400 * 10**9


def events(items: list[int], days: list[int | None], users: list[int] | None = None, positive: list[int] | None = None) -> Table:
    columns = {
        ITEM: np.array(items),
        USER: np.array(users or [1] * len(items)),
        POSITIVE: np.array(positive or [1] * len(items)),
        CLOCK: np.array([MISSING_TIME if day is None else day * DAY for day in days]),
    }
    return Table(columns, len(items))


def test_an_event_counts_half_after_a_half_life() -> None:
    found = interest(events([1, 1, 2], [0, 2, 4]), 4, half_life=2.0 * DAY)
    assert found.dtype == np.float32
    assert found == pytest.approx(np.array([0, 0.25 + 0.5, 1, 0]) * 2), "scaled: the largest plain count is 2"


def test_without_a_half_life_events_are_counted() -> None:
    assert interest(events([1, 1, 2, 0, 2, 3], [0] * 6, users=[1, 1, 1, 1, 0, 1], positive=[1, 1, 1, 1, 1, 0]), 4, 0.0).tolist() == [
        0,
        2,
        1,
        0,
    ]


def test_an_unknown_time_is_the_oldest_and_unknown_times_alone_do_not_fade() -> None:
    assert interest(events([1, 2, 3], [None, 0, 1]), 4, 1.0 * DAY) == pytest.approx([0, 0.5, 0.5, 1])
    assert interest(events([1, 2, 2], [None] * 3), 3, 1.0 * DAY).tolist() == [0, 1, 2]


def newcomers(moving: bool, task: str = "recommend") -> pd.DataFrame:
    """Return a log in which three users come every day and choose ten of fifty items: the same ones on every day, or those in fashion."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(300):
        day = user // 3
        first = day // 3 if moving else 0
        weights = np.exp(-((np.arange(50) - first) % 50) / 5.0)
        for item in rng.choice(50, 10, replace=False, p=weights / weights.sum()):
            rows.append((f"u{user}", f"i{item}", day * 86_400 + int(rng.integers(86_400))))
    return pd.DataFrame(rows, columns=["user", "item", "timestamp"])


def built(kernel: Kernel, frame: pd.DataFrame, **options: str) -> FeatureSet:
    return build_features(open_dataset(frame, task="recommend", kernel=kernel, **options), kernel)


def test_popularity_fades_where_new_users_follow_a_fashion(kernel: Kernel) -> None:
    found = built(kernel, newcomers(moving=True))
    assert 0 < found.fading.half_life <= 10 * DAY
    assert found.fading.new
    assert found.fading.reached > found.fading.plain + 0.1
    assert "lately" in str(found.fading) and "new users" in str(found.fading)
    late = interest(found.parts["train"].events, found.schema.items, found.fading.half_life)
    assert found.state().popularity == pytest.approx(late)
    assert not np.array_equal(found.state().chosen.argsort(), late.argsort())


def test_popularity_does_not_fade_where_nothing_changes(kernel: Kernel) -> None:
    found = built(kernel, newcomers(moving=False))
    assert found.fading == Fading()
    assert found.state().popularity.tolist() == found.state().chosen.tolist()


def test_without_a_clock_nothing_fades(kernel: Kernel) -> None:
    assert built(kernel, newcomers(moving=True).drop(columns="timestamp")).fading == Fading()


def test_a_stored_set_remembers_the_half_life(kernel: Kernel, tmp_path: Path) -> None:
    found = built(kernel, newcomers(moving=True))
    found.save(tmp_path)
    assert FeatureSet.load(tmp_path).fading == found.fading


def test_the_same_seed_chooses_the_same_half_life(kernel: Kernel) -> None:
    first, second = (built(kernel, newcomers(moving=True)).fading for _ in range(2))
    assert first == second
