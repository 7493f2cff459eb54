"""`ServingState`: all that turns user ids, histories, item ids and context columns into model inputs, as arrays and programs (numpy)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from autorec_kernel.errors import BundleError, ContractError
from autorec_kernel.records.asked import Request, rows_asked, spread
from autorec_kernel.records.features import Feature, FeatureSchema
from autorec_kernel.records.lists import offsets_of, take_lists
from autorec_kernel.records.program import Program, ReadContext, load_programs, run_program
from autorec_kernel.records.table import Coded, ColumnData
from autorec_kernel.records.vocabulary import Vocabulary

__all__ = ["Histories", "ServingState", "csr", "repeated", "typed", "without_padding"]

Histories = Sequence[np.ndarray] | tuple[np.ndarray, np.ndarray]
VERSION = 2
_KEPT = 16 << 20  # bytes of a program
_MANY = 64  # rows of one user from which it is worth while
_MOST = 50_000  # users and items of whom what features make of them alone is kept


@dataclass(frozen=True, slots=True, eq=False)
class ServingState:
    """The state of users, items and features at one moment: the end of training, or of training and validation.

    Args:
        schema: Features it answers.
        users, items: Vocabularies; row 0 = unknown.
        tables: Feature name → values of every entity, int32 or float32 [keys, …], for user and item features.
        programs: One a feature that is computed when asked (row, pair and history features, user features under a given history).
        popularity: float32 [items], what users of whom nothing is known are answered with: positive training events of each item, which
            may fade with their age.
        seen_offsets: int64 [users + 1].
        seen_items: int32 [events], item rows of each user's events, oldest first.
        seen_positive: bool [events], which of them are positive: those are the user's history.
        columns: Names of the event columns of role user, item and time, "" where there is none.
        more_users, more_items: Strangers: ids that only a side table names, or events that were folded in. Stranger i has the key
            `size - 1 + i`; static features know it by the former, dynamic ones by the latter, for everything else it is row 0.
        later: int64 [n, 3], user key, item key and positive 0/1 of folded events with a stranger in them, oldest first.
    """

    schema: FeatureSchema
    users: Vocabulary
    items: Vocabulary
    tables: Mapping[str, np.ndarray]
    programs: Mapping[str, tuple[Program, str]]
    popularity: np.ndarray
    seen_offsets: np.ndarray
    seen_items: np.ndarray
    seen_positive: np.ndarray
    columns: Mapping[str, str] = field(default_factory=dict)
    more_users: Vocabulary = field(default_factory=lambda: Vocabulary.of(()))
    more_items: Vocabulary = field(default_factory=lambda: Vocabulary.of(()))
    later: np.ndarray = field(default_factory=lambda: np.zeros((0, 3), np.int64))
    _cache: dict[str, Coded] = field(default_factory=dict, repr=False)
    _ahead: dict[int, tuple[Program, list[dict[str, Any]]]] = field(default_factory=dict, repr=False, init=False)

    def __post_init__(self) -> None:
        events = len(self.seen_items)
        if len(self.seen_offsets) != self.users.size + 1 or self.seen_offsets[-1] != events or len(self.seen_positive) != events:
            raise BundleError("the serving state is damaged: the events of its users do not add up")
        if (np.diff(self.seen_offsets) < 0).any() or not 0 <= self.seen_items.min(initial=0) <= self.seen_items.max(
            initial=0
        ) < self.items.size:
            raise BundleError("the serving state is damaged: events are of items that do not exist, or run backwards")
        if len(self.popularity) != self.items.size:
            raise BundleError("the serving state is damaged: the popularity does not cover the catalogue")

    @property
    def chosen(self) -> np.ndarray:
        """Return int64 [items], positive training events of each item."""
        return np.bincount(self.seen_items[self.seen_positive], minlength=self.items.size)

    @property
    def seen(self) -> tuple[np.ndarray, np.ndarray]:
        """Return (offsets int64 [users + 1], items int32 [events]): every event of each user of training, oldest first."""
        return self.seen_offsets, self.seen_items

    def keys_of(self, entity: Literal["user", "item"], ids: Iterable[str | None]) -> np.ndarray:
        """Return int64 [n], the keys of ids: rows of the vocabulary, keys of strangers, 0 = unknown."""
        known, more = (self.users, self.more_users) if entity == "user" else (self.items, self.more_items)
        ids = list(ids)
        rows, further = known.row_of(ids), more.row_of(ids)
        return np.where((rows == 0) & (further > 0), known.size - 1 + further, rows)

    def seen_by(self, user: int) -> np.ndarray:
        """Return int32 item rows of the events of one user key, oldest first; empty for an unknown user."""
        return self._events_of(user)[0]

    def history_of(self, user: int) -> np.ndarray:
        """Return int32 item rows of the positive events of one user key, oldest first: what a retriever folds in."""
        return np.compress(*reversed(self._events_of(user)))

    def inputs(
        self,
        names: Iterable[str],
        *,
        users: np.ndarray | None = None,
        items: np.ndarray | None = None,
        histories: Histories | None = None,
        columns: Mapping[str, ColumnData] | None = None,
        clock: int | None = None,
        lengths: Mapping[str, int] | None = None,
    ) -> dict[str, np.ndarray]:
        """Return model inputs by feature name.

        Args:
            names: Features wanted.
            users: int64 [A] user keys, or [1] for one user and many items; None = unknown. Keys that do not exist read as unknown.
            items: int64 [A] item keys.
            histories: Item rows of each request, oldest first (a list, or offsets and items): history features read them instead of
                what is stored, and so do all other dynamic features of unknown users. Those of known users stay as stored, since a
                list of items cannot tell them (a mean rating).
            columns: Event columns [A]; missing ones read as missing values.
            clock: Time of the requests (ns since 1970, UTC) where `columns` has no time column.
            lengths: Feature name → steps of a history, at most the stored length.

        Returns:
            Arrays as `records.features.Feature` describes them.
        """
        given = csr(histories) if histories is not None else None
        rows = rows_asked(users, items, given, columns)
        user_keys = spread(users, rows, self.users.size + self.more_users.size - 1)
        item_keys = spread(items, rows, self.items.size + self.more_items.size - 1)
        user_rows, item_rows = np.where(user_keys < self.users.size, user_keys, 0), np.where(item_keys < self.items.size, item_keys, 0)
        alone = given is None and rows > 1 and bool((user_keys == user_keys[0]).all())
        ask = Request(rows, user_rows, item_rows, user_keys, item_keys, given, columns or {}, clock, alone)
        known = {feature.name: feature for feature in self.schema.features}
        return {name: self._input(known.get(name) or self.schema[name], ask, lengths or {}) for name in names}

    def reads(self, names: Iterable[str]) -> set[str]:
        """Return the columns that features are computed from when they are asked for; what is stored reads none."""
        asked = [self.programs[name] for name in names if name in self.programs and name not in self.tables]
        return set[str]().union(*(program.sources([output]) for program, output in asked))

    def meta(self) -> dict[str, Any]:
        """Return everything but the arrays as plain JSON values."""
        programs = [{"feature": name, "output": out, **program.to_json()} for name, (program, out) in self.programs.items()]
        return {
            "version": VERSION,
            "schema": self.schema.to_json(),
            "tables": list(self.tables),
            "programs": programs,
            "columns": dict(self.columns),
            "same": {name: first for name, (first, _) in self._named().items() if name != first},
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """Return every array to store, each once (features of one op share theirs); none of type object."""
        return {name: array for name, (first, array) in self._named().items() if name == first}

    def _named(self) -> dict[str, tuple[str, np.ndarray]]:
        """Return name → the first name of the same array, and the array."""
        found = {f"{ids}.{name}": array for ids in _IDS for name, array in getattr(self, ids).arrays().items()}
        found |= {name: getattr(self, name) for name in _PLAIN}
        found |= {f"feature.{index}": array for index, array in enumerate(self.tables.values())}
        for index, (program, _) in enumerate(self.programs.values()):
            found |= {f"program.{index}.{name}": array for name, array in program.stored().items()}
        first: dict[int, str] = {}
        return {name: (first.setdefault(id(array), name), array) for name, array in found.items()}

    @classmethod
    def load(cls, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> ServingState:
        """Read what `meta` and `arrays` returned.

        Raises:
            BundleError: A part is missing, damaged, or written by a newer version.
        """
        if meta.get("version") != VERSION:
            raise BundleError(f"the serving state has version {meta.get('version')!r}; this release reads {VERSION}")
        try:
            arrays = {**arrays, **{name: arrays[first] for name, first in meta["same"].items()}}
            tables = {name: arrays[f"feature.{index}"] for index, name in enumerate(meta["tables"])}
            programs = load_programs(meta["programs"], arrays)
            plain: dict[str, Any] = {name: arrays[name] for name in _PLAIN}
            ids: dict[str, Any] = {name: Vocabulary.load(arrays, f"{name}.") for name in _IDS}
            schema = FeatureSchema.from_json(meta["schema"])
            return cls(schema, tables=tables, programs=programs, columns=meta["columns"], **ids, **plain)
        except (KeyError, TypeError) as error:
            raise BundleError(f"the serving state is damaged: {error} is missing") from error

    def _input(self, feature: Feature, ask: Request, lengths: Mapping[str, int]) -> np.ndarray:
        table = self.tables.get(feature.name)
        told = ask.histories is not None and feature.dynamic and feature.depends == "user" and not ask.users.all()
        if table is not None and not told:
            keys = ask.user_keys if feature.depends == "user" else ask.item_keys
            return typed(table[np.where(keys < len(table), keys, 0)], feature)
        value = self._computed(feature, ask, lengths)
        if table is None:
            return value
        known = (ask.users > 0).reshape(-1, *[1] * (value.ndim - 1))
        return typed(np.where(known, typed(table[ask.users], feature), value), feature)

    def _computed(self, feature: Feature, ask: Request, lengths: Mapping[str, int]) -> np.ndarray:
        if feature.name not in self.programs:
            raise ContractError(f"the serving state cannot compute feature {feature.name!r}")
        program, output = self.programs[feature.name]
        steps = {output: lengths[feature.name]} if feature.name in lengths else {}
        memo = (id(program), *steps.items())
        if memo not in ask.found:
            context = ReadContext(ask.rows, latest=True, histories=ask.histories, lengths=steps)
            left, taken = (program, {}) if steps else self._stored(program, ask)
            ask.found[memo] = run_program(left, {**self._columns(left.inputs, ask), **ask.columns, **taken}, context)
        return typed(np.asarray(ask.found[memo][output]), feature)

    def _stored(self, program: Program, ask: Request) -> tuple[Program, dict[str, ColumnData]]:
        """Return what is left of a program for a request, and what it makes of its user or items alone: that is worked out once for all."""
        sizes = {"user": self.users.size + self.more_users.size - 1, "item": self.items.size + self.more_items.size - 1}
        keys = {"@user", "@user_key", "@item", "@item_key", self.columns.get("user", ""), self.columns.get("item", "")}
        known = id(program) in self._ahead or ask.rows >= _MANY
        if not (ask.alone and known) or max(sizes.values()) > _MOST or not keys.isdisjoint(ask.columns):
            return program, {}
        if id(program) not in self._ahead:
            groups = []
            for entity, every in ((name, np.arange(size)) for name, size in sizes.items()):
                users, items = (np.where(every < ids.size, every, 0) for ids in (self.users, self.items))
                names = (f"@{entity}", f"@{entity}_key", self.columns.get(entity, ""))
                groups.append(self._columns(names, Request(len(every), users, items, every, every, None, {}, None)))
            left, stored = program.parted(*groups)
            kept = sum(value.nbytes for values in stored for value in values.values()) <= _KEPT
            self._ahead[id(program)] = (left, stored) if kept else (program, [{}, {}])
        left, stored = self._ahead[id(program)]
        places = zip(stored, (ask.user_keys[:1], ask.item_keys), strict=True)
        return left, {name: value.take(rows, axis=0) for values, rows in places for name, value in values.items()}

    def _columns(self, names: Iterable[str], ask: Request) -> dict[str, ColumnData]:
        """Return the columns that follow from entity rows and clock, those of `names` that are needed; what is of all rows alike once."""
        rows = slice(1 if ask.alone else None)
        makers: dict[str, Callable[[], ColumnData]] = {
            "@user": lambda: ask.users[rows],
            "@item": lambda: ask.items,
            "@user_key": lambda: ask.user_keys[rows],
            "@item_key": lambda: ask.item_keys,
            self.columns.get("user", ""): lambda: Coded((ask.users[rows] - 1).astype(np.int32), self._texts("users")),
            self.columns.get("item", ""): lambda: Coded((ask.items - 1).astype(np.int32), self._texts("items")),
        }
        if ask.clock is not None:
            now = np.full(ask.rows, ask.clock, np.int64)[rows]
            makers["@clock"] = makers[self.columns.get("time", "")] = lambda: now
        return {name: makers[name]() for name in names if name and name in makers}

    def _texts(self, entity: str) -> np.ndarray:
        if entity not in self._cache:
            vocabulary: Vocabulary = getattr(self, entity)
            texts = np.array([*vocabulary.ids_of(np.arange(1, vocabulary.size)), None], dtype=object)[:-1]
            self._cache[entity] = Coded(np.zeros(0, np.int32), texts)
        return self._cache[entity].values

    def _events_of(self, user: int) -> tuple[np.ndarray, np.ndarray]:
        if user < self.users.size:
            own = slice(*self.seen_offsets[user : user + 2]) if user > 0 else slice(0)
            return self.seen_items[own], self.seen_positive[own]
        _, items, positive = self.later[(self.later[:, 0] == user) & (self.later[:, 1] < self.items.size)].T
        return items.astype(np.int32), positive != 0


_IDS = ("users", "items", "more_users", "more_items")
_PLAIN = ("popularity", "seen_offsets", "seen_items", "seen_positive")


def without_padding(inputs: Mapping[str, np.ndarray], schema: FeatureSchema) -> dict[str, np.ndarray]:
    """Return model inputs whose histories end where the longest one of this batch does: models read nothing from padding."""
    return {name: _cut(value) if schema[name].kind == "history" else value for name, value in inputs.items()}


def _cut(value: np.ndarray) -> np.ndarray:
    used = np.flatnonzero((value != 0).any(axis=0))
    return value[:, : used[-1] + 1 if len(used) else 1]


def csr(histories: Histories) -> tuple[np.ndarray, np.ndarray]:
    """Return (offsets int64 [n + 1], items int64) of a list of item-row arrays; a pair (offsets, items) passes through."""
    if isinstance(histories, tuple):
        return np.asarray(histories[0], np.int64), np.asarray(histories[1], np.int64)
    lengths = np.fromiter((len(history) for history in histories), np.int64, len(histories))
    items = np.concatenate([np.zeros(0, np.int64), *(np.asarray(history, np.int64) for history in histories)])
    return offsets_of(lengths), items


def repeated(histories: Histories, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (offsets, items) with every history `count` times in a row."""
    offsets, items = csr(histories)
    spread, index = take_lists(offsets, np.repeat(np.arange(len(offsets) - 1), count))
    return spread, items[index]


def typed(value: np.ndarray, feature: Feature) -> np.ndarray:
    """Return a value in the type of its kind: float32 [n, width] for numbers, int64 otherwise."""
    if feature.kind != "numeric":
        return np.ascontiguousarray(value, dtype=np.int64)
    return np.ascontiguousarray(value, dtype=np.float32).reshape(len(value), feature.width)
