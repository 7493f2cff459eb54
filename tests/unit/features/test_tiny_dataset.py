"""The data set made by hand: its planted structure is there, and it is the same every time."""

from __future__ import annotations

import numpy as np
import pytest

from autorec_kernel.records.dataset import CLOCK, ORDER
from autorec_kernel.testing.data import tiny_dataset, tiny_events
from autorec_kernel.testing.snapshots import digest


def test_it_is_the_same_every_time_and_another_with_another_seed() -> None:
    assert digest(tiny_events()) == digest(tiny_events()) != digest(tiny_events(1))


def test_every_pair_occurs_once_and_the_parts_follow_each_other_in_time() -> None:
    events = tiny_events()
    users, items = (np.asarray(events[name].text(), dtype=str) for name in ("user_id", "item_id"))  # type: ignore[union-attr]
    assert len(set(zip(users, items, strict=True))) == events.rows == 480
    data = tiny_dataset()
    assert np.asarray(data.train[ORDER]).max() < np.asarray(data.valid[ORDER]).min()
    assert data.train.rows + data.valid.rows + data.test.rows == 480


def test_users_like_their_own_genre_and_meet_it_twice_as_often() -> None:
    events = tiny_events()
    users, items = (np.array([int(text[1:]) for text in events[name].text()]) for name in ("user_id", "item_id"))  # type: ignore[union-attr]
    own = users % 3 == items % 3
    ratings = np.asarray(events["rating"])
    assert ratings[own].min() == 4 and ratings[~own].max() == 3 and own.mean() == pytest.approx(2 / 3)
    after = [b - a for user in range(40) for a, b in zip(items[users == user], items[users == user][1:], strict=False)]
    assert np.bincount(np.array(after) % 30).argmax() == 3


@pytest.mark.parametrize(("clock", "ties"), [("time", 2), ("position", 40), ("none", 480)])
def test_clocks_tie_as_said(clock: str, ties: int) -> None:
    data = tiny_dataset(clock=clock)  # type: ignore[arg-type]
    data.test.fix_plan("x")
    clocks = np.concatenate([np.asarray(table[CLOCK]) for table in (data.train, data.valid, data.test.open("x"))])
    assert np.unique(clocks, return_counts=True)[1].max() == ties
