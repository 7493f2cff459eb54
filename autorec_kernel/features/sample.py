"""The sample that the audit works on, and what it does to later events and to labels (numpy).

Later events are poisoned in two ways. `permuted` gives every column other rows' values, and other entities the later values of dated
lists, so that each column keeps what it holds as a whole: scales, priors and vocabularies of the training view stay as they are.
`flooded` also gives most later rows a few users and items,
so that what is counted over all rows gives itself away; every id still occurs.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from autorec_kernel.features.entities import labelled, texts
from autorec_kernel.records.dataset import CLOCK, ORDER, Dataset, SealedView
from autorec_kernel.records.dated import NEVER, dated_parts
from autorec_kernel.records.schema import Source
from autorec_kernel.records.table import Coded, ColumnData, Ragged, Table, take_column

__all__ = ["flooded", "later", "permuted", "reordered", "sample_of", "shuffled"]

_DONORS = 3


def sample_of(dataset: Dataset, rows: int, task: str, rng: np.random.Generator) -> Dataset:
    """Return a data set of at most `rows` training rows, and nothing else.

    Histories stay whole: these are the newest rows where there is a clock, else all rows of some users (the last ones of a user who
    has more), else any rows.
    """
    train = dataset.train
    user = dataset.schema.role("user")
    kept = np.arange(max(0, train.rows - rows), train.rows)
    if dataset.protocol.clock != "time" and train.rows > rows:
        names = np.unique(texts(train[user.name]).codes if user else np.arange(train.rows), return_inverse=True)[1]
        place = rng.permutation(int(names.max()) + 1)[names]
        kept = np.sort(np.argsort(place, kind="stable")[:rows][: _whole(np.sort(place)[: rows + 1], rows)])
    part = labelled(train.take(kept), dataset.schema, task).compact()
    none = part.take(np.arange(0))
    item = dataset.schema.role("item")
    users, items = _known(dataset.users, user.name if user else "", part), _known(dataset.items, item.name if item else "", part)
    return replace(dataset, train=part, valid=none, test=SealedView(lambda: none, 0), users=users, items=items, row_ids={})


def _known(table: Table, key: str, events: Table) -> Table:
    """Return the rows of a side table that belong to the events."""
    if key not in table or not table.rows:
        return table
    column, seen = texts(table[key]), set(texts(events[key]).values)
    known = np.array([value in seen for value in column.values] + [False])
    return table.take(np.flatnonzero(known[column.codes])).compact()


def _whole(places: np.ndarray, rows: int) -> int:
    """Return how many rows end with a user's last one; all of them where the first user has more."""
    ends = np.flatnonzero(np.diff(places)) + 1
    return int(ends[ends <= rows].max(initial=0)) or rows


def later(dataset: Dataset, share: float) -> np.ndarray:
    """Return bool [rows]: the last events, from `share` of all on by the clock, or of each user's where only that order is known."""
    clock = np.asarray(dataset.train[CLOCK])
    if dataset.protocol.clock == "time":
        return np.asarray(clock >= np.sort(clock)[int(share * len(clock))])
    user = dataset.schema.role("user")
    if dataset.protocol.clock == "none" or user is None:
        return np.zeros(len(clock), dtype=bool)
    users = texts(dataset.train[user.name]).codes
    order = np.lexsort((clock, users))
    counts = np.bincount(users[order] + 1)
    place = np.empty(len(clock))
    place[order] = (np.arange(len(order)) - (np.cumsum(counts) - counts)[users[order] + 1]) / counts[users[order] + 1]
    return place >= share


def permuted(dataset: Dataset, late: np.ndarray, rng: np.random.Generator) -> Dataset:
    """Return the data set with every column's values moved among the late rows; the clock stays, and users whose order it is."""
    moved = _moved(dataset, _loose(dataset), late, rng)
    if dataset.protocol.clock != "time":
        return moved
    clock = np.asarray(dataset.train[CLOCK])
    users, items = (_redated(dataset, source, int(clock[late].min()), int(clock.max()), rng) for source in ("users", "items"))
    return replace(moved, users=users, items=items)


def reordered(dataset: Dataset, late: np.ndarray, rng: np.random.Generator) -> Dataset:
    """Return the data set with late events (whole rows but for their place) in another order of each user's own: no user has others."""
    column, source = dataset.schema.role("user"), np.arange(dataset.train.rows)
    users = texts(dataset.train[column.name]).codes if column else source
    source[np.lexsort((source, users, late))] = np.lexsort((np.where(late, rng.random(len(users)), source), users, late))
    return replace(dataset, train=dataset.train.with_columns({n: take_column(dataset.train[n], source) for n in _loose(dataset)}))


def shuffled(dataset: Dataset, rng: np.random.Generator) -> Dataset:
    """Return the data set with its labels moved among all rows."""
    return _moved(dataset, [column.name for column in dataset.schema.labels], np.ones(dataset.train.rows, dtype=bool), rng)


def flooded(dataset: Dataset, late: np.ndarray, rng: np.random.Generator) -> Dataset:
    """Return the data set with most late rows given to three users and three items of earlier rows."""
    table, columns = dataset.train, {}
    for column in (dataset.schema.role("user"), dataset.schema.role("item")):
        codes = texts(table[column.name]).codes if column is not None else np.zeros(0, np.int64)
        _, first = np.unique(codes, return_index=True)  # rows are in order of time: the first of each id keeps it
        early = first[~late[first]]
        if column is None or not len(early):
            continue
        source = np.arange(table.rows)
        moved = np.setdiff1d(np.flatnonzero(late), first)
        source[moved] = rng.choice(rng.choice(early, _DONORS), len(moved))
        columns[column.name] = take_column(table[column.name], source)
    return replace(dataset, train=table.with_columns(columns))


def _loose(dataset: Dataset) -> list[str]:
    """Return the columns that a poison moves: the clock stays, and users whose order it is."""
    roles = ("time", "position") if dataset.protocol.clock == "time" else ("time", "position", "user", "session")
    fixed = {ORDER, CLOCK, *(column.name for column in dataset.schema.columns if column.role in roles)}
    return [name for name in dataset.train if name not in fixed]


def _moved(dataset: Dataset, names: list[str], rows: np.ndarray, rng: np.random.Generator) -> Dataset:
    table: Table = dataset.train
    places, columns = np.flatnonzero(rows), {}
    for name in names:
        source = np.arange(table.rows)
        source[places] = rng.permutation(places)
        columns[name] = take_column(table[name], source)
    return replace(dataset, train=table.with_columns(columns))


def _redated(dataset: Dataset, source: Source, cut: int, end: int, rng: np.random.Generator) -> Table:
    """Return a side table whose dated values from `cut` on belong to other entities; those up to `end` (ns) stay among themselves."""
    table: Table = getattr(dataset, source)
    columns: dict[str, ColumnData] = {}
    for name in (column.name for column in dataset.schema.features(source) if column.kind == "dated" and column.name in table):
        lists = table[name]
        assert isinstance(lists, Ragged)
        assert isinstance(lists.values, Coded)
        codes = lists.values.codes.copy()
        moment = np.append(dated_parts(lists.values.values)[0], NEVER)[codes]
        for places in (np.flatnonzero((moment >= cut) & (moment <= end)), np.flatnonzero(moment > end)):
            codes[places] = rng.permutation(codes[places])
        columns[name] = Ragged(Coded(codes, lists.values.values), lists.offsets)
    return table.with_columns(columns)
