"""`FeatureSet`: model inputs for rows, users and (row, candidate) pairs; every dynamic value is read strictly before its moment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from autorec_kernel.errors import UnknownNameError, UsageError
from autorec_kernel.features.compute import Fitted, Sides, within
from autorec_kernel.features.entities import ITEM, ITEM_KEY, POSITIVE, TARGET, USER, USER_KEY, Entities, prepare
from autorec_kernel.features.evaluation import EvaluationSet, collect, repeats
from autorec_kernel.features.gather import Piece, gathered, pieces_of, whole
from autorec_kernel.features.labels import labels_of
from autorec_kernel.features.lately import Fading
from autorec_kernel.features.parts import Part, joined, part_of, with_parts
from autorec_kernel.features.reading import values_at, with_own
from autorec_kernel.features.sequences import interactions_of, sequence_windows
from autorec_kernel.features.state import serving_state
from autorec_kernel.records.bags import Values
from autorec_kernel.records.dataset import Protocol
from autorec_kernel.records.features import Feature, FeatureSchema
from autorec_kernel.records.interactions import Interactions
from autorec_kernel.records.schema import Schema
from autorec_kernel.records.serving_state import Histories, ServingState, repeated, typed
from autorec_kernel.records.table import Table

__all__ = ["FeatureSet", "Split", "Upto"]

Split = Literal["train", "valid", "test"]
Upto = Literal["train", "valid"]
Lengths = Mapping[str, int]
_T = TypeVar("_T")


@dataclass(slots=True, eq=False)
class FeatureSet:
    """Model-ready data. Rows of train, validation and (once opened) test events are numbered one after the other, each in order of time.

    Args:
        schema: Features on offer.
        task: recommend | rate | click.
        protocol: Of the data set; `state` says what validation and test rows read.
        columns: The data set's schema.
        plan: One row a proposal: op, config, seconds, taken, reason.
        fitted: Ops with their programs; the as-of tables hold the training events.
        static: Feature name → values of every user or item row.
        parts: Split → events and values.
        digest: Content digest of schema, training and validation values.
        fading: Of the popularity that strangers are answered with.
    """

    schema: FeatureSchema
    task: str
    protocol: Protocol
    columns: Schema
    plan: list[dict[str, Any]]
    seconds: float
    entities: Entities
    sides: Sides
    fitted: tuple[Fitted, ...]
    static: dict[str, Values]
    parts: dict[str, Part]
    digest: str = ""
    fading: Fading = field(default_factory=Fading)
    _cache: dict[Any, Any] = field(default_factory=dict, repr=False)

    @property
    def user_rows(self) -> np.ndarray:
        """Return int64 [all rows], 0 = unknown."""
        return self._column(USER)

    @property
    def item_rows(self) -> np.ndarray:
        """Return int64 [all rows], 0 = unknown."""
        return self._column(ITEM)

    def rows(self, split: Split) -> np.ndarray:
        """Return int64 row numbers of the events to learn from or to judge (context events are left out)."""
        part, first = self._part(split), self._first(split)
        return first + np.flatnonzero(part.ints(TARGET))

    def positive_rows(self, split: Split = "train") -> np.ndarray:
        """Return int64 row numbers of positive events with a known item."""
        part, first = self._part(split), self._first(split)
        return first + np.flatnonzero((part.ints(TARGET) != 0) & (part.ints(POSITIVE) != 0) & (part.ints(ITEM) > 0))

    def sample_rows(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Return at most `count` training rows drawn without replacement, ascending."""
        rows = self.rows("train")
        return rows if count >= len(rows) else np.sort(rng.choice(rows, count, replace=False))

    def labels(self, task: str = "") -> np.ndarray:
        """Return float32 [all rows]: 0/1 for a logit task, the number for a value task; NaN where a further label is unknown.

        Args:
            task: Label name of the schema; the kind of task or "" = the primary one.
        """
        name = self._label(task)
        return self._kept(("labels", name), lambda: whole([part.labels[name] for part in self.parts.values()]))

    def rows_at(self, entity: Literal["user", "item"], rows: np.ndarray) -> np.ndarray:
        """Return int64 [A], the user or item rows of events int64 [A]; 0 = unknown."""
        return gathered(pieces_of(self.parts, rows), lambda split, local, _: self.parts[split].ints(f"@{entity}")[local])

    def labels_at(self, task: str, rows: np.ndarray) -> np.ndarray:
        """Return float32 [A], one label of events int64 [A], as `labels` has it."""
        name = self._label(task)
        return gathered(pieces_of(self.parts, rows), lambda split, local, _: np.asarray(self.parts[split].labels[name][local]))

    def row_inputs(self, names: Iterable[str], rows: np.ndarray, *, lengths: Lengths | None = None) -> dict[str, np.ndarray]:
        """Return feature name → values of event rows; dynamic ones as they were strictly before the row (or at the cut).

        Args:
            rows: int64 [A] row numbers, of any splits.
            lengths: Feature name → steps of a history.
        """
        rows = np.asarray(rows, dtype=np.int64)
        pieces, found = pieces_of(self.parts, rows), {}
        for name in names:
            feature = self.schema[name]
            if name in self.static:
                keys = gathered(pieces, lambda split, local, _, of=f"@{feature.depends}_key": self.parts[split].ints(of)[local])  # type: ignore[misc]
                found[name] = typed(self.static[name][within(keys, len(self.static[name]))], feature)
            else:
                found[name] = self._scattered(feature, pieces, None, lengths or {})
        return found

    def pair_inputs(
        self,
        names: Iterable[str],
        rows: np.ndarray | None = None,
        candidates: np.ndarray | None = None,
        *,
        users: np.ndarray | None = None,
        histories: Histories | None = None,
        upto: Upto = "train",
        lengths: Lengths | None = None,
    ) -> dict[str, np.ndarray]:
        """Return feature name → values [A * C, …] of candidates beside the context of each row, or of each user at the cut.

        Args:
            rows: int64 [A] event rows; the candidate takes the place of the event's item, at the event's moment.
            candidates: int64 [A, C] item rows.
            users: int64 [A] user rows instead of `rows`.
            histories: With `users`: item rows of each, oldest first (`EvaluationSet.histories`), instead of what is stored.
        """
        if candidates is None or (rows is None) == (users is None):
            raise UsageError("pair_inputs needs candidates, and either rows or users")
        items, count = np.asarray(candidates, dtype=np.int64).reshape(-1), np.shape(candidates)[1]
        if users is not None:
            spread = None if histories is None else repeated(histories, count)
            many = np.repeat(np.asarray(users, np.int64), count)
            return self.state(upto).inputs(names, users=many, items=items, histories=spread, lengths=lengths)
        rows = np.repeat(np.asarray(rows, dtype=np.int64), count)
        found = self.row_inputs([n for n in names if self.schema[n].depends in ("row", "user")], rows, lengths=lengths)
        pieces = pieces_of(self.parts, rows)
        for feature in (self.schema[name] for name in names):
            if feature.depends == "item" and feature.name in self.static:
                found[feature.name] = typed(self.static[feature.name][items], feature)
            elif feature.depends in ("item", "pair"):
                found[feature.name] = self._scattered(feature, pieces, items, lengths or {})
        return {name: found[name] for name in names}

    def state(self, upto: Upto = "train") -> ServingState:
        """Return the serving state at the end of training (`upto="valid"`: and validation)."""
        return self._kept(("state", upto), lambda: self._state(upto))

    @property
    def interactions(self) -> Interactions:
        """Return the positive training events as a sparse matrix, oldest first a user."""
        clock, weighted = self.protocol.clock, self.task == "rate"
        return self._kept("interactions", lambda: interactions_of(self.parts["train"], self.schema, clock=clock, weighted=weighted))

    def sequences(self, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Return (rows int64 [S, length], targets int64 [S, length]): each target is the item that followed its input.

        Rows are windows of histories as `sequence_windows` cuts them, right-padded with 0, oldest first.
        """
        return sequence_windows(self.interactions, length)

    def evaluation(self, split: Split) -> EvaluationSet:
        """Return what a ranking protocol judges: users with at least one positive, ordered by id text.

        Histories are the positives of training (for `test`, of validation too) and the split's own context events. Items to exclude
        are all items of those events, positive or not. Where (user, item) pairs repeat in training (`deduplicate` = none and at least
        1 % of rows) a repeat is a legitimate answer and nothing is excluded; elsewhere a positive that was seen before is not judged.
        What is excluded never depends on the answers.
        """
        return self._kept(("evaluation", split), lambda: self._evaluation(split))

    @property
    def repeating(self) -> bool:
        """Return whether users choose items again in this data, so that a repeat is a legitimate answer."""
        return self.protocol.deduplicate == "none" and repeats(*(self.parts["train"].ints(name) for name in (USER_KEY, ITEM_KEY)))

    def open_test(self, table: Table) -> None:
        """Append the test events. Rolling states fold validation, then test events, each row reading strictly before itself."""
        if "test" in self.parts:
            raise UsageError("the test rows are in this feature set already", hint="open them once, after the plan is fixed")
        self.entities = self.entities.with_events(table)
        events = prepare(table, self.entities, self.columns, self.protocol, self.task)
        kept = set(self.parts["train"].events) & set(events)
        rolling = self.protocol.state == "rolling"
        holding = Part(Table({name: events[name] for name in kept}, events.rows), labels_of(events, self.columns, self.task))
        fitted: Iterable[Fitted] = with_parts(self.fitted, (self.parts["valid"], holding), self.sides) if rolling else self.fitted
        part = part_of(events, holding.labels, fitted, self.sides, kept, cut=not rolling)
        self.parts = {**self.parts, "test": part}
        self._cache = {key: value for key, value in self._cache.items() if key in (("state", "train"), "interactions")}

    def save(self, folder: Path) -> None:
        """Write JSON and `.npy` files; test rows are among them only once they were opened."""
        from autorec_kernel.features.store import save

        save(self, folder)

    @classmethod
    def load(cls, folder: Path) -> FeatureSet:
        """Read what `save` wrote, memory-mapped."""
        from autorec_kernel.features.store import load

        return load(folder)

    def _kept(self, key: Any, make: Callable[[], _T]) -> _T:
        if key not in self._cache:
            self._cache[key] = make()
        found: _T = self._cache[key]
        return found

    def _column(self, name: str) -> np.ndarray:
        return self._kept(name, lambda: whole([part.ints(name) for part in self.parts.values()]))

    def _label(self, task: str) -> str:
        if task and task not in self.schema.tasks and task != self.task:
            raise UnknownNameError("label", task, self.schema.tasks)
        return task if task in self.schema.tasks else next(iter(self.schema.tasks))

    def _part(self, split: str) -> Part:
        if split not in self.parts:
            raise UsageError(f"the {split} rows are not in this feature set", hint="call open_test once the plan is fixed")
        return self.parts[split]

    def _first(self, split: str) -> int:
        names = list(self.parts)
        return sum(self.parts[name].rows for name in names[: names.index(split)])

    def _before(self, split: str) -> list[Part]:
        return [self.parts["train"]] if split == "valid" or not self.parts["valid"].rows else [self.parts["train"], self.parts["valid"]]

    def _at(self, upto: str, fitted: Iterable[Fitted] | None = None) -> Iterator[Fitted]:
        """Yield the ops (of `fitted`; None = all) with tables that hold everything up to and with a split, one at a time."""
        parts = list(self.parts.values())[1 : list(self.parts).index(upto) + 1]
        return with_parts(self.fitted if fitted is None else fitted, parts, self.sides)

    def _making(self, feature: Feature, upto: str) -> Fitted:
        """Return the op of a feature with such tables; it is kept."""
        number = next(number for number, op in enumerate(self.fitted) if feature in op.features)
        return self._kept(("op", upto, number), lambda: next(self._at(upto, self.fitted[number : number + 1])))

    def _state(self, upto: Upto) -> ServingState:
        events = joined(self._before("valid" if upto == "train" else "test"))
        return serving_state(self.schema, self._at(upto), self.sides, self.static, events, self.fading.half_life)

    def _scattered(self, feature: Feature, pieces: list[Piece], items: np.ndarray | None, lengths: Lengths) -> np.ndarray:
        """Return the values of rows that may lie in several splits; `items` replace the rows' own."""
        return gathered(pieces, lambda split, local, at: self._values(feature, split, local, None if items is None else items[at], lengths))

    def _values(self, feature: Feature, split: str, local: np.ndarray, items: np.ndarray | None, lengths: Lengths) -> np.ndarray:
        part = self.parts[split]
        if items is None and feature.name in part.values:
            return typed(part.values[feature.name][local], feature)
        rolling = split == "train" or self.protocol.state == "rolling"
        op = self._making(feature, split if rolling else "train")
        value = values_at(feature, op, part, local, self.sides, items=items, latest=not rolling, lengths=lengths)
        return with_own(value, feature, part, local, items) if split == "train" and items is not None else value

    def _evaluation(self, split: str) -> EvaluationSet:
        past = Part(joined(self._before(split) if split != "train" else [self.parts["train"]]), {}).ranking()
        found = collect(past, self._part(split).ranking(), self._first(split), exclude=not self.repeating, ids=self.entities.user_ids)
        return replace(found, users=np.where(found.users < self.schema.users + self.sides.more_users.size - 1, found.users, 0))
