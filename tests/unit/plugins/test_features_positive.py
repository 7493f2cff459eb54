"""Factors are made of what was chosen by known users and of known items, and of nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from autorec_features.factors import Factors
from autorec_kernel.contracts.features import RejectColumn
from autorec_kernel.records.table import Table
from autorec_kernel.testing.feature_cases import World, example_dataset, fitted_on, read, world


@pytest.fixture(scope="module")
def timed() -> World:
    return world(example_dataset("time", "rate"), "rate")


def factors(place: World, **columns: np.ndarray) -> np.ndarray:
    """Return the factors of the rows, made of events in which some columns are others."""
    changed = World(**{**{name: getattr(place, name) for name in World.__slots__}, "events": place.events.with_columns(columns)})
    _, fitted = fitted_on(Factors, Factors.Config(rank=3), changed)
    return read(fitted, place)["user+item.factors"]


def ints(events: Table, name: str) -> np.ndarray:
    return np.asarray(events[name])


def chosen(events: Table) -> np.ndarray:
    return (np.arange(events.rows) % 3 != 0).astype(np.int64)


def test_what_was_not_chosen_says_nothing(timed: World) -> None:
    positive = chosen(timed.events)
    others = np.flatnonzero(positive == 0)
    items = ints(timed.events, "@item").copy()
    items[others] = items[np.roll(others, 1)]
    assert (items != ints(timed.events, "@item")).any()
    found = factors(timed, **{"@positive": positive})
    assert np.array_equal(found, factors(timed, **{"@positive": positive, "@item": items}))
    assert not np.allclose(found, factors(timed), atol=1e-3)


@pytest.mark.parametrize("name", ["@user", "@item"])
def test_events_of_nobody_and_of_nothing_say_nothing(timed: World, name: str) -> None:
    left_out = chosen(timed.events)
    unknown = factors(timed, **{name: ints(timed.events, name) * left_out})
    assert np.array_equal(unknown, factors(timed, **{"@positive": left_out}))


def test_factors_need_fifty_events_that_were_chosen(timed: World) -> None:
    row = np.arange(timed.events.rows)
    few, enough = (np.where(row < count, 1, 0) for count in (49, 50))
    with pytest.raises(RejectColumn, match="50 positive events"):
        factors(timed, **{"@positive": few})
    assert factors(timed, **{"@positive": enough}).any()


def test_moments_that_no_row_reads_are_made_anew_and_others_are_kept(timed: World) -> None:
    clock = ints(timed.events, "@clock")
    first, last = int(clock.min()), int(clock.max())
    own = fitted_on(Factors, Factors.Config(rank=3), timed)[0].config.moments
    for moments in ((first, last + 10**9), (last + 10**9,), (first,)):
        op, fitted = fitted_on(Factors, Factors.Config(rank=3, moments=moments), timed)
        assert op.config.moments == own and read(fitted, timed)["user+item.factors"].any()
    kept = (first, int(np.sort(clock)[len(clock) // 2]), last + 10**9)
    assert fitted_on(Factors, Factors.Config(rank=3, moments=kept), timed)[0].config.moments == kept
    assert fitted_on(Factors, Factors.Config(rank=3, moments=(last,)), timed)[0].config.moments == (last,)
