"""`Live`: what a serving state keeps beside its answers, so that later events can be folded into it; numpy only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import prod
from typing import Any

import numpy as np

from autorec_kernel.errors import BundleError, ContractError, DataError, UsageError
from autorec_kernel.records.bags import Bags
from autorec_kernel.records.lists import offsets_of, owners
from autorec_kernel.records.program import Program, ReadContext, run_program
from autorec_kernel.records.recent import cut, for_histories, longest
from autorec_kernel.records.serving_state import ServingState
from autorec_kernel.records.table import MISSING_TIME, Coded, ColumnData, Table
from autorec_kernel.records.vocabulary import Vocabulary

__all__ = ["Live", "LiveFacts", "interest_of"]

VERSION = 1


@dataclass(frozen=True, slots=True)
class LiveFacts:
    """How events are read, and where those of the state end.

    Args:
        task: recommend | rate | click.
        label, position: Names of those columns, "" where there is none.
        threshold: The label from which on an event is positive; None = every event is (of `click`: every label above 0).
        until: Clock of the newest event (ns), and `order` its `@order`.
        once: Whether only the last event of a pair of user and item counts.
        half_life: Of the popularity that strangers are answered with (ns); 0 = it does not fade.
        left: Features of tables that are not kept: a state that was folded cannot tell them any more.
        stored: Features that change with every event and that the model has read for tables of its own.
    """

    task: str
    label: str
    position: str
    threshold: float | None
    until: int
    order: int
    once: bool
    half_life: float = 0.0
    left: tuple[str, ...] = ()
    stored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Live:
    """The tables behind a serving state, as far back as its features read.

    Args:
        programs: Names of features and the program of each op whose tables hold events; it reads no side table.
        more_users, more_items: Ids beyond those of training that have keys in those tables.
        chosen: int32 [n], items of positive events, oldest first, and `times` int64 [n], theirs; empty where popularity does not fade.
    """

    facts: LiveFacts
    programs: tuple[tuple[tuple[str, ...], Program], ...]
    more_users: Vocabulary
    more_items: Vocabulary
    chosen: np.ndarray
    times: np.ndarray

    def fold(
        self,
        state: ServingState,
        users: Sequence[str | None],
        items: Sequence[str | None],
        columns: Mapping[str, ColumnData],
    ) -> tuple[ServingState, Live]:
        """Return the state after more events, and what it keeps; both as if all events had been there from the start.

        An id that training did not know gets a key of its own: dynamic features read its events, and for all others it stays unknown.

        Args:
            users, items: Ids of the events.
            columns: Their columns: the time, and what features read of events. Labels of `click` are 0 and 1.

        Raises:
            ContractError: The model stores what it has made of features that events change.
            UsageError: A column is missing.
            DataError: An event is older than what the state holds, or cannot be placed.
        """
        if self.facts.stored:
            told = f"events change {', '.join(self.facts.stored)}, and the model stores what it has made of that"
            raise ContractError(f"{told}: it cannot be folded", hint="train again, or choose a model that reads them when asked")
        more_users, more_items = _extended(state.users, self.more_users, users), _extended(state.items, self.more_items, items)
        grown = replace(self, more_users=more_users, more_items=more_items)
        events = grown._events(state, users, items, columns)
        if not events.rows:
            return state, self
        programs = tuple((names, cut(program.fold(events))) for names, program in self.programs)
        kept: dict[str, Any] = {part: _without(getattr(state, part), self.facts.left) for part in ("tables", "programs")}
        state = replace(state, more_users=more_users, more_items=more_items, **kept)
        tables = {**state.tables, **_values(state, programs)}
        after = _seen(replace(state, tables=tables, programs=_served(state, programs)), events)
        positive = (np.asarray(events["@positive"]) != 0) & (np.asarray(events["@user"]) > 0) & (np.asarray(events["@item"]) > 0)
        chosen, times = self.chosen, self.times
        if self.facts.half_life > 0:
            chosen = np.concatenate([chosen, np.asarray(events["@item"])[positive].astype(np.int32)])
            times = np.concatenate([times, np.asarray(events["@clock"])[positive]])
            popularity = interest_of(chosen, times, state.items.size, self.facts.half_life)
        else:
            popularity = after.chosen.astype(np.float32)
        facts = replace(self.facts, until=int(np.asarray(events["@clock"])[-1]), order=int(np.asarray(events["@order"])[-1]))
        return replace(after, popularity=popularity), replace(grown, facts=facts, programs=programs, chosen=chosen, times=times)

    def columns(self) -> set[str]:
        """Return the event columns that features are folded from."""
        return {name for _, program in self.programs for name in program.columns() if not name.startswith("@")}

    def reads(self, state: ServingState) -> set[str]:
        """Return the event columns beside the ids that folding reads."""
        own = {state.columns.get(name, "") for name in ("user", "item")}
        return {*self.columns(), state.columns.get("time", ""), *([self.facts.label] if self._labelled else [])} - own - {""}

    def packed(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return plain JSON values, and a few arrays that hold all others one after the other (they are many, and mostly small)."""
        found = {"chosen": self.chosen, "times": self.times}
        for name, ids in (("users", self.more_users), ("items", self.more_items)):
            found |= {f"{name}.{part}": array for part, array in ids.arrays().items()}
        for index, (_, program) in enumerate(self.programs):
            found |= {f"{index}.{name}": array for name, array in program.stored().items()}
        parts: dict[str, list[np.ndarray]] = {}
        places: dict[str, list[Any]] = {}
        for name, array in found.items():
            held = parts.setdefault(f"@live.{array.dtype.kind}{array.dtype.itemsize}", [])
            places[name] = [f"@live.{array.dtype.kind}{array.dtype.itemsize}", sum(map(len, held)), list(array.shape)]
            held.append(array.reshape(-1))
        programs = [{"features": list(names), **program.to_json()} for names, program in self.programs]
        meta = {"version": VERSION, "facts": asdict(self.facts), "programs": programs, "places": places}
        return meta, {name: np.concatenate(held) for name, held in parts.items()}

    @classmethod
    def load(cls, meta: Mapping[str, Any], packed: Mapping[str, np.ndarray]) -> Live:
        """Read what `packed` returned.

        Raises:
            BundleError: It was written by a newer version.
        """
        if meta.get("version") != VERSION:
            raise BundleError(f"what folding needs has version {meta.get('version')!r}; this release reads {VERSION}")
        arrays = {name: packed[part][at : at + prod(shape)].reshape(shape) for name, (part, at, shape) in meta["places"].items()}
        facts = LiveFacts(**{**meta["facts"], **{name: tuple(meta["facts"][name]) for name in ("left", "stored")}})
        programs = tuple((tuple(one["features"]), Program.load(one, arrays, f"{index}.")) for index, one in enumerate(meta["programs"]))
        users, items = (Vocabulary.load(arrays, f"{name}.") for name in ("users", "items"))
        return cls(facts, programs, users, items, arrays["chosen"], arrays["times"])

    def _events(
        self, state: ServingState, users: Sequence[str | None], items: Sequence[str | None], columns: Mapping[str, ColumnData]
    ) -> Table:
        """Return the events in order of time, with the kernel's columns."""
        facts, time = self.facts, state.columns.get("time", "")
        own = {state.columns.get("user", ""): _coded(users), state.columns.get("item", ""): _coded(items)}
        given = {**{name: column for name, column in own.items() if name}, **columns}
        lost = sorted(self.reads(state) - set(given))
        if lost:
            raise UsageError(f"folding reads the columns {', '.join(lost)} of an event", hint="give them in columns=")
        table = Table(given, len(users))
        label = np.asarray(table[facts.label], dtype=np.float64) if facts.label in given else None
        if label is not None and self._labelled:
            known = np.flatnonzero(~np.isnan(label))
            table, label = table.take(known), label[known]
            if facts.task == "click" and facts.threshold is None and not np.isin(label, (0.0, 1.0)).all():
                raise DataError(
                    f"labels of clicks are 0 and 1, and {facts.label!r} holds others", hint="compare them with the threshold first"
                )
        clock = self._clock(np.asarray(table[time]))
        position = np.asarray(table[facts.position]) if facts.position in given else np.zeros(table.rows)
        order = np.lexsort((position, clock))
        table = table.with_columns({"@clock": clock, "@positive": _positive(label, facts, table.rows)}).take(order)
        keys = {name: _keys(table[state.columns[name]], *ids) for name, ids in self._ids(state).items() if state.columns.get(name)}
        zero = np.zeros(table.rows, np.int64)
        keys = {name: keys.get(name, zero) for name in ("user", "item")}
        kept = self._counted(state, keys["user"], keys["item"]) if facts.once else np.arange(table.rows)
        added = {"@order": facts.order + 1 + np.arange(len(kept)), "@target": zero[kept] + 1}
        for name, ids in self._ids(state).items():
            key = keys[name][kept]
            added |= {f"@{name}_key": key, f"@{name}": np.where(key < ids[0].size, key, 0)}
        return table.take(kept).with_columns(added)

    def _counted(self, state: ServingState, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Return the rows that count where only the last event of a pair does: the last one of each pair, in order; no earlier call's."""
        width, place = state.items.size + self.more_items.size, np.arange(len(users))
        pairs = np.where((users > 0) & (items > 0), users * width + items, -1 - place)
        before = np.concatenate([owners(state.seen_offsets) * width + state.seen_items, state.later[:, 0] * width + state.later[:, 1]])
        if np.isin(pairs, before).any():
            told = "a pair of user and item comes again, and this data counts the last event of a pair alone (deduplicate = last)"
            raise DataError(told, hint="the earlier event cannot be taken back: build the state anew")
        return np.sort(len(pairs) - 1 - np.unique(pairs[::-1], return_index=True)[1])

    @property
    def _labelled(self) -> bool:
        return self.facts.task != "recommend" or self.facts.threshold is not None

    def _ids(self, state: ServingState) -> dict[str, tuple[Vocabulary, Vocabulary]]:
        return {"user": (state.users, self.more_users), "item": (state.items, self.more_items)}

    def _clock(self, clock: np.ndarray) -> np.ndarray:
        """Refuse events that do not come after those of the state."""
        if clock.dtype.kind != "i" or (clock == MISSING_TIME).any():
            raise DataError("an event without a time cannot be folded", hint="times are int64 ns since 1970, UTC")
        late = clock <= self.facts.until if self.facts.position else clock < self.facts.until
        if late.any():
            row, until = int(np.argmax(late)), np.datetime64(self.facts.until, "ns")
            told = f"the time of event {row + 1} is {np.datetime64(int(clock[row]), 'ns')}, and the state holds everything up to {until}"
            raise DataError(told, hint="events are folded in order of time; build the state anew for late ones")
        return clock.astype(np.int64)


def interest_of(items: np.ndarray, times: np.ndarray, size: int, half_life: float) -> np.ndarray:
    """Return float32 [size], events an item, each worth 2^(-age / half-life) and scaled to the largest plain count; 0 = plain counts.

    Args:
        items, times: int [n] and int64 [n] (ns), in order of the events: sums of floats depend on it.
    """
    plain = np.bincount(items, minlength=size).astype(np.float64)
    told = times[times != MISSING_TIME]
    if half_life > 0 and len(told):
        age = (told.max() - np.maximum(times, told.min())).astype(np.float64)
        faded = np.bincount(items, np.exp2(-age / half_life), minlength=size)
        plain = faded * (plain.max() / faded.max())
    return plain.astype(np.float32)


def _values(state: ServingState, programs: Iterable[tuple[tuple[str, ...], Program]]) -> dict[str, np.ndarray]:
    """Return the values that are computed ahead, of every user or item."""
    found: dict[str, np.ndarray] = {}
    for names, program in programs:
        for entity in ("user", "item"):
            wanted = [name for name in names if name in state.tables and state.schema[name].depends == entity]
            if not wanted:
                continue
            known, more = (ids.size for ids in ((state.users, state.more_users) if entity == "user" else (state.items, state.more_items)))
            keys = np.arange(known + more - 1, dtype=np.int64)
            columns = {f"@{entity}_key": keys, f"@{entity}": np.where(keys < known, keys, 0)}
            values = run_program(program, columns, ReadContext(len(keys), latest=True))
            for name in wanted:
                value = np.asarray(values[program.outputs[names.index(name)]])
                kept = Bags.of(value) if state.schema[name].kind == "bag" else value
                found[name] = np.ascontiguousarray(kept, dtype=state.tables[name].dtype)
    return found


def _served(state: ServingState, programs: Iterable[tuple[tuple[str, ...], Program]]) -> dict[str, tuple[Program, str]]:
    found = dict(state.programs)
    for names, program in programs:
        trimmed = program.trimmed(longest(program))
        for name, output in zip(names, program.outputs, strict=True):
            if name in found:
                found[name] = (for_histories(trimmed) if name in state.tables else trimmed, output)
    return found


def _without(held: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in held.items() if name not in names}


def _seen(state: ServingState, events: Table) -> ServingState:
    users, items, positive = (np.asarray(events[name]) for name in ("@user", "@item", "@positive"))
    known = (users > 0) & (items > 0)
    owner = np.concatenate([owners(state.seen_offsets), users[known]])
    chosen = np.concatenate([state.seen_items, items[known].astype(np.int32)])
    order = np.argsort(owner, kind="stable")
    offsets = offsets_of(np.bincount(owner, minlength=state.users.size))
    liked = np.concatenate([state.seen_positive, positive[known] != 0])
    keys = np.stack([np.asarray(events["@user_key"]), np.asarray(events["@item_key"]), positive], 1)
    later = np.concatenate([state.later, keys[~known & (keys[:, :2] > 0).all(axis=1)]])
    return replace(state, seen_offsets=offsets, seen_items=chosen[order], seen_positive=liked[order], later=later)


def _positive(label: np.ndarray | None, facts: LiveFacts, rows: int) -> np.ndarray:
    if label is not None and facts.task == "click":
        return (label > 0).astype(np.int64)
    return np.ones(rows, np.int64) if label is None or facts.threshold is None else (label >= facts.threshold).astype(np.int64)


def _coded(ids: Sequence[str | None]) -> Coded:
    index = {text: code for code, text in enumerate(dict.fromkeys(text for text in ids if text is not None))}
    codes = np.fromiter((-1 if text is None else index[text] for text in ids), np.int32, len(ids))
    return Coded(codes, np.array([*index, None], dtype=object)[:-1])


def _extended(known: Vocabulary, more: Vocabulary, ids: Sequence[str | None]) -> Vocabulary:
    distinct = sorted({text for text in ids if text is not None})
    fresh = [text for text, row, other in zip(distinct, known.row_of(distinct), more.row_of(distinct), strict=True) if not (row or other)]
    return Vocabulary.of([*more.ids_of(np.arange(1, more.size)), *fresh]) if fresh else more


def _keys(column: ColumnData, known: Vocabulary, more: Vocabulary) -> np.ndarray:
    assert isinstance(column, Coded)
    rows, further = known.rows_of_column(column), more.rows_of_column(column)
    return np.where((rows == 0) & (further > 0), known.size - 1 + further, rows)
