"""`tiny_dataset`: a small data set made by hand, with a planted structure and every kind of column; the same on every machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from autorec_kernel.records.dataset import CLOCK, ORDER, Clock, Dataset, Protocol, SealedView
from autorec_kernel.records.schema import Column, Schema
from autorec_kernel.records.table import Coded, ColumnData, Ragged, Table

__all__ = ["coded", "ragged", "tiny_dataset", "tiny_events", "tiny_tables"]

_USERS, _ITEMS, _EACH = 40, 30, 12
_START, _STEP = 1_500_000_000_000_000_000, 3_600_000_000_000  # 14 July 2017 in ns; one hour
_GENRES = ("Action", "Comedy", "Drama")


def coded(texts: Sequence[str | None]) -> Coded:
    """Return a text column."""
    values = sorted({text for text in texts if text is not None})
    index: dict[str | None, int] = {text: code for code, text in enumerate(values)} | {None: -1}
    return Coded(np.array([index[text] for text in texts], dtype=np.int32), np.array([*values, None], dtype=object)[:-1])


def ragged(lists: Sequence[Sequence[str]]) -> Ragged:
    """Return a column of lists of texts."""
    offsets = np.cumsum([0, *(len(row) for row in lists)]).astype(np.int64)
    return Ragged(coded([text for row in lists for text in row]), offsets)


def tiny_events(seed: int = 0) -> Table:
    """Return 480 events of 40 users on 30 items, in order of time, every (user, item) pair once.

    Planted: user u likes items with the same remainder modulo 3 (their genre), rates them 4 or 5 and others 1 to 3, and meets twice as
    many of them; item i is on average followed by item i + 3. `device` is random, `price` has gaps and a heavy tail. Two users share
    each hour, so clocks tie.
    """
    rng = np.random.default_rng(seed)
    order = np.concatenate([_walk(user, rng) for user in range(_USERS)])
    users = np.repeat(np.arange(_USERS), _EACH)
    when = np.tile(np.arange(_EACH), _USERS) * (_USERS // 2) + users // 2
    by_time = np.lexsort((users, when))
    users, items, when = users[by_time], order[by_time], when[by_time]
    liked = users % 3 == items % 3
    ratings = np.where(liked, rng.integers(4, 6, len(users)), rng.integers(1, 4, len(users))).astype(np.float64)
    price = np.where(rng.random(len(users)) < 0.1, np.nan, np.exp(3 * rng.normal(size=len(users))))
    columns: dict[str, ColumnData] = {
        "user_id": coded([f"u{user:02d}" for user in users]),
        "item_id": coded([f"i{item:02d}" for item in items]),
        "rating": ratings,
        "timestamp": _START + when * _STEP,
        "device": coded([("phone", "web", "tv", None)[k] for k in rng.integers(0, 4, len(users))]),
        "price": price,
        ORDER: np.arange(len(users)),
        CLOCK: _START + when * _STEP,
    }
    return Table(columns, len(users))


def tiny_tables(seed: int = 0) -> tuple[Table, Table]:
    """Return (users: id, age with gaps; items: id, genres, price, year, embedding of 4 numbers), one entity more than the events name."""
    rng = np.random.default_rng([seed, 1])
    ages = np.where(np.arange(_USERS + 1) % 7 == 3, np.nan, rng.integers(15, 70, _USERS + 1).astype(np.float64))
    users = Table({"user_id": coded([f"u{user:02d}" for user in range(_USERS + 1)]), "age": ages}, _USERS + 1)
    items = range(_ITEMS + 1)
    genres = ragged([[_GENRES[item % 3], *(["War"] if item % 4 == 0 else [])] for item in items])
    columns: dict[str, ColumnData] = {
        "item_id": coded([f"i{item:02d}" for item in items]),
        "genres": genres,
        "year": 1990.0 + np.arange(_ITEMS + 1) % 17,
        "embedding": rng.normal(size=(_ITEMS + 1, 4)).astype(np.float32),
    }
    return users, Table(columns, _ITEMS + 1)


def tiny_dataset(
    *,
    task: Literal["recommend", "rate", "click"] = "recommend",
    clock: Clock = "time",
    seed: int = 0,
    positive_threshold: float | None = None,
    order: np.ndarray | None = None,
    further: bool = False,
) -> Dataset:
    """Return a data set split in time: 70 % train, 15 % valid, 15 % test.

    Args:
        task: `recommend` reads states at the cut; `rate` and `click` read rolling ones.
        positive_threshold: Of the protocol; `click` takes 4 unless told otherwise, and its label is 1 from there on, else 0.
        clock: What `@clock` holds: the time, the position inside the user, or 0.
        order: int64 [480], a permutation in which the rows are stored; the splits hold the same rows.
        further: Whether the label `rating` is followed by two more: `like` (0 and 1, one row in eight unknown), which only good ratings
            bring about, and `minutes`, a number that grows with the rating.
    """
    events = tiny_events(seed)
    events = events.with_columns({CLOCK: _clock(events, clock)})
    threshold = 4.0 if task == "click" and positive_threshold is None else positive_threshold
    if task == "click":
        events = events.with_columns({"rating": (np.asarray(events["rating"]) >= threshold).astype(np.float64)})
    events = _with_further_labels(events, seed) if further else events
    shuffled = events if order is None else events.take(order)
    place = np.asarray(shuffled[ORDER])
    first, second = int(0.7 * events.rows), int(0.85 * events.rows)
    parts = (place < first, (place >= first) & (place < second), place >= second)
    train, valid, test = (shuffled.take(np.flatnonzero(part)) for part in parts)
    state: Literal["cut", "rolling"] = "cut" if task == "recommend" else "rolling"
    protocol = Protocol("temporal", clock, state, "last", threshold, seed=seed, reason="made by hand")
    users, items = tiny_tables(seed)
    return Dataset(
        _schema(further),
        train,
        valid,
        SealedView(lambda: test, test.rows),
        protocol,
        users,
        items,
        f"tiny-{seed}-{task}-{clock}{'-further' * further}",
    )


def _walk(user: int, rng: np.random.Generator) -> np.ndarray:
    """Return 12 distinct items: 8 of the user's genre, each 3 above the last, and 4 others at random places."""
    own = (user % 3 + 3 * (rng.integers(0, 10) + np.arange(8))) % _ITEMS
    others = rng.permutation(np.flatnonzero(np.arange(_ITEMS) % 3 != user % 3))[: _EACH - 8]
    return np.insert(own, np.sort(rng.integers(0, 9, len(others))), others)


def _clock(events: Table, clock: Clock) -> np.ndarray:
    if clock == "time":
        return np.asarray(events["timestamp"])
    if clock == "none":
        return np.zeros(events.rows, np.int64)
    users = events["user_id"]
    assert isinstance(users, Coded)
    by_user = np.argsort(users.codes, kind="stable")
    position = np.empty(events.rows, np.int64)
    position[by_user] = np.tile(np.arange(_EACH), _USERS)
    return position


def _with_further_labels(events: Table, seed: int) -> Table:
    rng = np.random.default_rng([seed, 2])
    rating = np.asarray(events["rating"])
    good = rating >= (4.0 if rating.max() > 1.0 else 1.0)
    like = (good & (rng.random(events.rows) < 0.6)).astype(np.float64)
    like[rng.random(events.rows) < 0.125] = np.nan
    return events.with_columns({"like": like, "minutes": 10.0 * good + rng.gamma(2.0, 3.0, events.rows)})


def _schema(further: bool) -> Schema:
    more = (Column("like", "label", "categorical", missing=0.125, distinct=2), Column("minutes", "label", "numeric"))
    return Schema(
        (
            Column("user_id", "user", "id", distinct=_USERS),
            Column("item_id", "item", "id", distinct=_ITEMS),
            Column("rating", "label", "numeric", distinct=5),
            *(more if further else ()),
            Column("timestamp", "time", "time"),
            Column("device", "feature", "categorical", missing=0.25, distinct=3),
            Column("price", "feature", "numeric", missing=0.1),
            Column("age", "feature", "numeric", "users"),
            Column("genres", "feature", "multi", "items", distinct=4),
            Column("year", "feature", "numeric", "items"),
            Column("embedding", "feature", "vector", "items"),
        )
    )
