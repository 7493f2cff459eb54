"""A small world to judge feature ops by: every kind of column, equal times, missing values, and later events to poison (numpy)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from autorec_kernel.contracts.features import DataProfile, FeatureProposal
from autorec_kernel.features.compute import Fitted, Sides, event_columns
from autorec_kernel.features.entities import Entities, aligned, entities_of, prepare
from autorec_kernel.features.profile import profile_of
from autorec_kernel.records.dataset import CLOCK, ORDER, Dataset, Protocol, SealedView
from autorec_kernel.records.program import ReadContext, run_program
from autorec_kernel.records.schema import Column, Kind, Schema
from autorec_kernel.records.table import Coded, Ragged, Table

__all__ = ["SETTINGS", "World", "example_dataset", "fitted_on", "profiles", "proposals_of", "read", "reads", "settings_for", "world"]

_USERS, _ITEMS, _EVENTS = 13, 17, 240
_QUARTER_DAY = 21_600_000_000_000  # ns: events fall on quarters of days, so that many times are equal
SETTINGS: tuple[tuple[str, str], ...] = (
    ("time", "recommend"),
    ("time", "click"),
    ("time", "rate"),
    ("position", "recommend"),
    ("none", "rate"),
)


_ITEM_KINDS: Mapping[str, Kind] = {"genres": "multi", "year": "numeric", "brand": "categorical", "title": "text", "remarks": "dated"}


@dataclass(frozen=True, slots=True)
class World:
    """Training events in the kernel's terms, the side tables, and what is needed to read a program."""

    dataset: Dataset
    entities: Entities
    events: Table
    tables: Mapping[str, Table]
    sides: Sides
    task: str


def example_dataset(clock: str = "time", task: str = "recommend", token: str = "") -> Dataset:
    """Return a data set of 240 training events; `token` is woven into every text, so that two worlds share no category."""
    events, users, items = _events(clock, token), _user_table(token), _item_table(token)
    columns = [
        Column("user_id", "user", "id"),
        Column("item_id", "item", "id"),
        Column("rating", "label", "numeric"),
        *([Column("timestamp", "time", "time")] if clock == "time" else []),
        *[Column(n, "feature", k) for n, k in (("device", "categorical"), ("price", "numeric"), ("tags", "multi"), ("shape", "vector"))],  # type: ignore[arg-type]
        Column("when", "feature", "time"),
        *[Column(n, "feature", k, "users") for n, k in (("age", "numeric"), ("country", "categorical"))],  # type: ignore[arg-type]
        *[Column(name, "feature", kind, "items") for name, kind in _ITEM_KINDS.items()],
    ]
    state = "cut" if task == "recommend" else "rolling"
    protocol = Protocol("given", clock, state, positive_threshold=4.0 if task == "click" else None)  # type: ignore[arg-type]
    schema = Schema(tuple(columns))
    return Dataset(schema, events, events.take(np.arange(0)), SealedView(lambda: events.take(np.arange(0)), 0), protocol, users, items)


def world(dataset: Dataset, task: str, events: Table | None = None) -> World:
    """Return what `fit` is handed for these training events (all of the data set's when None)."""
    train = dataset.train if events is None else events
    entities = entities_of(dataset.schema, train, dataset.users, dataset.items)
    users = aligned(dataset.users, "user_id", entities.users, entities.more_users)
    items = aligned(dataset.items, "item_id", entities.items, entities.more_items)
    sides = Sides.of(entities, users, items, "timestamp" if dataset.protocol.clock == "time" else "")
    return World(dataset, entities, prepare(train, entities, dataset.schema, dataset.protocol, task), sides.of_training(), sides, task)


def fitted_on(component: Any, config: Any, place: World, seed: int = 0) -> tuple[Any, Fitted]:
    """Return the fitted op and its features with their program.

    Raises:
        RejectColumn: The op turns this column down.
    """
    op = component(config).fit(place.events, place.tables, np.random.default_rng(seed))
    return op, Fitted(tuple(op.outputs), op.program())


def read(
    fitted: Fitted, place: World, rows: np.ndarray | None = None, *, latest: bool = False, events: Table | None = None
) -> dict[str, np.ndarray]:
    """Return feature name → values of event rows, as the feature set reads them (of `events` of the same data set when given)."""
    asked = place.events if events is None else prepare(events, place.entities, place.dataset.schema, place.dataset.protocol, place.task)
    asked = asked if rows is None else asked.take(rows)
    columns = event_columns(fitted.program.inputs, asked, place.sides)
    found = run_program(fitted.program, columns, ReadContext(asked.rows, latest=latest))
    return {f.name: np.asarray(found[out]) for f, out in zip(fitted.features, fitted.program.outputs, strict=True)}


def reads(fitted: Fitted, name: str) -> set[str]:
    """Return the columns that a feature is made of, following the steps of its program backwards."""
    wanted = {fitted.output(name)}
    for step in reversed(fitted.program.steps):
        wanted |= set(step.inputs) if step.output in wanted else set()
    return wanted & set(fitted.program.inputs)


def profiles() -> list[DataProfile]:
    """Return the profiles of the example data under every setting."""
    return [_profile(clock, task) for clock, task in SETTINGS]


def proposals_of(component: Any) -> list[tuple[str, str, FeatureProposal]]:
    """Return (clock, task, proposal) for everything the op proposes on the example data, each config once a clock."""
    found: dict[str, tuple[str, str, FeatureProposal]] = {}
    for clock, task in SETTINGS:
        for proposal in component.propose(_profile(clock, task)):
            found.setdefault(clock + proposal.config.model_dump_json(), (clock, task, proposal))
    return list(found.values())


def settings_for(component: Any, config: Any) -> tuple[tuple[str, str], ...]:
    """Return the (clock, task) pairs under which the op proposes this very config; all of them when it proposes it nowhere."""
    found = [pair for pair in SETTINGS if any(p.config == config for p in component.propose(_profile(*pair)))]
    return tuple(found) or SETTINGS


@lru_cache(maxsize=16)
def _profile(clock: str, task: str) -> DataProfile:
    place = world(example_dataset(clock, task), task)
    return profile_of(place.dataset, place.events, place.entities, task)


def _events(clock: str, token: str) -> Table:
    rng = np.random.default_rng(5)
    users, items = rng.integers(0, _USERS, _EVENTS), rng.integers(0, _ITEMS, _EVENTS) ** 2 // _ITEMS
    time = np.sort(rng.integers(0, 60, _EVENTS)) * _QUARTER_DAY + 10**18
    if clock != "time":
        order = np.lexsort((np.arange(_EVENTS), users))
        users, items = users[order], items[order]
        first = np.searchsorted(users, users)
        time = np.arange(_EVENTS) - first if clock == "position" else np.zeros(_EVENTS, np.int64)
    price = np.round(rng.lognormal(1.0, 1.0, _EVENTS), 2)
    price[rng.random(_EVENTS) < 0.1] = np.nan
    devices = Coded(rng.integers(-1, 4, _EVENTS).astype(np.int32), _texts("device", 4, token))
    when = 10**18 + rng.integers(0, 5000, _EVENTS) * _QUARTER_DAY
    columns: dict[str, Any] = {
        "user_id": Coded(users.astype(np.int32), _texts("00", _USERS, token)),
        "item_id": Coded(items.astype(np.int32), _texts("i", _ITEMS, token)).compact(),
        "rating": rng.integers(1, 6, _EVENTS).astype(np.float64),
        **({"timestamp": time.astype(np.int64)} if clock == "time" else {}),
        "device": devices,
        "price": price,
        "tags": _ragged(rng, _EVENTS, "tag", token),
        "shape": rng.normal(size=(_EVENTS, 3)).astype(np.float32),
        "when": np.where(rng.random(_EVENTS) < 0.05, np.iinfo(np.int64).min, when),
        ORDER: np.arange(_EVENTS, dtype=np.int64),
        CLOCK: time.astype(np.int64),
    }
    return Table(columns, _EVENTS)


def _user_table(token: str) -> Table:
    rng = np.random.default_rng(6)
    country = Coded(rng.integers(-1, 3, _USERS).astype(np.int32), _texts("country", 3, token))
    ids = Coded(np.arange(_USERS, dtype=np.int32), _texts("00", _USERS, token))
    return Table({"user_id": ids, "age": rng.integers(18, 80, _USERS).astype(np.float64), "country": country}, _USERS)


def _item_table(token: str) -> Table:
    rng = np.random.default_rng(7)
    ids = Coded(np.arange(_ITEMS, dtype=np.int32), _texts("i", _ITEMS, token))
    year = rng.integers(1950, 2020, _ITEMS).astype(np.float64)
    year[3] = np.nan
    brand = Coded(rng.integers(-1, 5, _ITEMS).astype(np.int32), _texts("brand", 5, token))
    names = [f"{text} ({1960 + 5 * (number % 9)})" for number, text in enumerate(_texts("A title of", _ITEMS, token))]
    title = Coded(np.arange(_ITEMS, dtype=np.int32), np.array(names, dtype=object))
    genres = _ragged(rng, _ITEMS, "genre", token)
    columns: dict[str, Any] = {
        "item_id": ids,
        "genres": genres,
        "year": year,
        "brand": brand,
        "title": title,
        "remarks": _dated(rng, token),
    }
    return Table(columns, _ITEMS)


def _dated(rng: np.random.Generator, token: str) -> Ragged:
    """Return remarks on items, at the times of events and beyond the last one."""
    lists = _ragged(rng, _ITEMS, "remark", token)
    assert isinstance(lists.values, Coded)
    codes, quarters = lists.values.codes, rng.integers(0, 75, len(lists.values.codes))
    texts = [f"@{10**9 + quarter * 21_600} {lists.values.values[code]}" for quarter, code in zip(quarters, codes, strict=True)]
    found = np.array([*dict.fromkeys(texts), None], dtype=object)[:-1]
    place = {text: code for code, text in enumerate(found)}
    return Ragged(Coded(np.array([place[text] for text in texts], dtype=np.int32), found), lists.offsets)


def _ragged(rng: np.random.Generator, rows: int, name: str, token: str) -> Ragged:
    lengths = rng.integers(0, 4, rows)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Ragged(Coded(rng.integers(0, 6, int(offsets[-1])).astype(np.int32), _texts(name, 6, token)), offsets)


def _texts(name: str, count: int, token: str) -> np.ndarray:
    found = np.empty(count, dtype=object)
    found[:] = [f"{name}{token}{number}" for number in range(count)]
    return found
