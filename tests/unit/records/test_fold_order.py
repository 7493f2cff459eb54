"""Folding events into a program of several tables: what a table is told by an earlier one is as of now, not as of another table's turn."""

from __future__ import annotations

from typing import Any

import numpy as np

from autorec_kernel.records.as_of import AsOfTable, Measure
from autorec_kernel.records.program import Program, Step

BLANK = {"@user": np.zeros(0, np.int64), "@clock": np.zeros(0, np.int64)}


def table(where: str = "") -> AsOfTable:
    return AsOfTable.sums({**BLANK, "seen": BLANK["@user"]}, 6, key="@user", measures=(Measure(),), where=where)


def program(*names: str) -> Program:
    """Return tables in this order; all but `past` count events of users who were there before: what `past` tells."""
    tables = {name: table("" if name == "past" else "seen") for name in names}
    inputs = ("@user", "@clock")
    return Program(inputs, (Step("as_of", inputs, "seen", {"table": "past"}),), ("seen",), {}, tables)


def events(rows: int, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {"@user": rng.integers(1, 6, rows), "@clock": 100 * seed + np.sort(rng.integers(0, 90, rows))}


def same(one: AsOfTable, other: AsOfTable) -> bool:
    return all(np.array_equal(one.arrays()[name], other.arrays()[name]) for name in ("times", "values")) and np.array_equal(
        one.offsets, other.offsets
    )


def test_a_table_before_the_one_it_reads_changes_nothing_for_those_behind_it() -> None:
    whole, short = program("first", "past", "again"), program("past", "again")
    for seed in (0, 1, 2):
        batch = events(40, seed)
        whole, short = whole.fold(batch), short.fold(batch)
        for name in ("past", "again"):
            assert same(whole.tables[name], short.tables[name]), name


def test_tables_behind_count_the_events_of_users_who_were_there_before() -> None:
    batches = [events(40, seed) for seed in (0, 1, 2)]
    folded = program("first", "past", "again", "once more")
    for batch in batches:
        folded = folded.fold(batch)
    users, clock = (np.concatenate([batch[name] for batch in batches]) for name in ("@user", "@clock"))
    seen = np.array([((users == user) & (clock < moment)).any() for user, moment in zip(users, clock, strict=True)])
    expected = np.bincount(users[seen], minlength=6)
    for name in ("again", "once more"):
        assert folded.tables[name].latest(np.arange(6))[:, 0].tolist() == expected.tolist()


def test_one_fold_of_all_events_gives_what_batches_give() -> None:
    batches = [events(40, seed) for seed in (0, 1, 2)]
    folded = program("past", "again")
    for batch in batches:
        folded = folded.fold(batch)
    at_once = program("past", "again").fold({name: np.concatenate([batch[name] for batch in batches]) for name in BLANK})
    assert all(same(folded.tables[name], at_once.tables[name]) for name in folded.tables)
