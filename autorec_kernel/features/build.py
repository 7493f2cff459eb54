"""`build_features`: profile → proposals → plan under budgets of time and memory → fit on the training view → values."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autorec_kernel.contracts.features import FeatureOp
from autorec_kernel.errors import ContractError
from autorec_kernel.features.compute import Fitted, Sides, folded, stored
from autorec_kernel.features.digest import digest_of
from autorec_kernel.features.entities import Entities, aligned, entities_of, labelled, prepare
from autorec_kernel.features.feature_set import FeatureSet
from autorec_kernel.features.labels import implied, label_range, labels_of, shares_of, tasks_of
from autorec_kernel.features.lately import Fading, fading_of
from autorec_kernel.features.parts import Part, kept_columns, part_of
from autorec_kernel.features.plan import Budget, Chosen, candidates, fit_candidates, free_disk, free_memory, planned
from autorec_kernel.features.profile import default_task, profile_of
from autorec_kernel.features.shelf import ARRAYS, Shelf
from autorec_kernel.features.state import check_servable, entity_tables
from autorec_kernel.features.values import Places
from autorec_kernel.records.bags import Bags, Values
from autorec_kernel.records.dataset import Dataset
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.records.mapped import let_go
from autorec_kernel.records.table import Table
from autorec_kernel.registry.faults import guarded

if TYPE_CHECKING:
    from autorec_kernel.kernel import Kernel

__all__ = ["build_features", "feature_ops"]

_log = logging.getLogger(__name__)

Report = Callable[[Mapping[str, Any]], None]


def build_features(
    dataset: Dataset,
    kernel: Kernel | Mapping[str, type[FeatureOp]],
    *,
    folder: Path | None = None,
    seed: int = 0,
    budget_seconds: float | None = None,
    budget_bytes: float | None = None,
    plan: Sequence[Mapping[str, Any]] | None = None,
    history_length: int = 50,
    report: Report | None = None,
    task: str | None = None,
) -> FeatureSet:
    """Turn a data set into a feature set. The test view is not read.

    Args:
        kernel: Provides the feature ops; or a mapping from component id to op class.
        folder: Where the feature set is saved; None = memory only.
        seed: Every op draws from `SeedSequence(seed, spawn_key=(its place in the plan,))`.
        budget_seconds: Limit for the estimated cost of the ops (ids are always taken); None = no limit.
        budget_bytes: Limit for their estimated memory; None = half of what the machine has available. With a folder it holds for each op
            alone, since what is fitted goes to files; they may take half of what the disk has free.
        plan: Rows of an earlier plan: what it took is fitted again with the decisions written there, and no op is asked.
        history_length: Longest history kept.
        report: Called with each row of the plan as it is decided.
        task: recommend | rate | click; None = what the protocol implies.

    Raises:
        PluginError: `plan` takes an op that is not there.
    """
    start = time.perf_counter()
    task = task or default_task(dataset)
    entities, sides, train = _prepared(dataset, task)
    made: list[dict[str, Any]] = []
    if plan is None:
        wanted, made = candidates(feature_ops(kernel), profile_of(dataset, train, entities, task, history_length))
        memory = free_memory() if budget_bytes is None else budget_bytes
        budget = Budget(budget_seconds, memory, None if folder is None else free_disk(folder))
    else:
        wanted, budget = planned(feature_ops(kernel), plan), Budget()
    shelf = Shelf(None if folder is None else folder / ARRAYS)
    values = _Values(train, labels_of(train, dataset.schema, task), sides, shelf)
    for one in fit_candidates(wanted, train, sides.of_training(), seed=seed, budget=budget, check=values.add, plan=made):
        del one  # what it holds in memory is kept in files
        if report is not None:
            report(made[-1])
    if shelf.error is not None:
        raise shelf.error
    fitted = tuple(values.fitted)
    part, kept = values.part(fitted)
    schema = _schema(fitted, entities, dataset, task, part)
    found = FeatureSet(schema, task, dataset.protocol, dataset.schema, made, 0.0, entities, sides, fitted, values.static, {"train": part})
    _add_validation(found, dataset, kept, shelf)
    found.fading = fading_of(found, seed) if plan is None else Fading()
    found.digest = digest_of(found)
    found.seconds = time.perf_counter() - start
    if folder is not None:
        found.save(folder)
    return found


class _Values:
    """Collects the values of fitted ops on the training view; an op whose values break the contract adds nothing."""

    def __init__(self, train: Table, labels: dict[str, np.ndarray], sides: Sides, shelf: Shelf) -> None:
        self.train, self.labels, self.sides, self.shelf = train, labels, sides, shelf
        self.places = Places(shelf)
        self.fitted: list[Fitted] = []
        self.static: dict[str, Values] = {}
        self.rows: dict[str, Values] = {}

    def add(self, one: Chosen) -> int:
        """Keep an op that can be served and its values, and return their bytes."""
        check_servable(one.fitted)
        op, shelf = self.shelf.shared(one.fitted), self.shelf
        found = part_of(self.train, self.labels, [op], self.sides, set(), cut=False, shelf=shelf, places=self.places).values
        own = {name: self._own(name, found.get(name), value) for name, value in one.training.items()}
        static = entity_tables([op], self.sides, dynamic=False)
        self.fitted.append(shelf.stored(op))
        self.static.update(static)
        self.rows.update({**found, **own})
        return sum(value.nbytes for value in (*static.values(), *found.values()))

    def part(self, fitted: tuple[Fitted, ...]) -> tuple[Part, set[str]]:
        kept = kept_columns(fitted, self.train)
        events = Table({name: column for name, column in self.train.items() if name in kept}, self.train.rows)
        return Part(events, self.labels, self.rows), kept

    def _own(self, name: str, value: Values | None, training: np.ndarray) -> Values:
        if value is None or np.shape(training) != value.shape:
            expected = "none" if value is None else str(value.shape)
            raise ContractError(f"training_values of {name!r} have shape {np.shape(training)}; expected {expected}")
        return self.shelf.values(Bags.of(training) if isinstance(value, Bags) else stored(training))


def feature_ops(kernel: Kernel | Mapping[str, type[FeatureOp]], tag: str = "") -> dict[str, type[FeatureOp]]:
    """Return component id → class of every usable feature op; with `tag`, of those that carry it (`raw`: columns as they are)."""
    if isinstance(kernel, Mapping):
        return dict(kernel)
    found: dict[str, type[FeatureOp]] = {}
    for row in kernel.components("feature-op"):
        if not row.usable or (tag and tag not in row.tags):
            continue
        kind, broken = guarded(lambda row=row: kernel.load("feature-op", row.id))  # type: ignore[misc]
        if kind is None:
            _log.warning("feature op %r is left out: %s", row.id, broken)
        else:
            found[row.id] = kind
    return found


def _prepared(dataset: Dataset, task: str) -> tuple[Entities, Sides, Table]:
    entities = entities_of(dataset.schema, labelled(dataset.train, dataset.schema, task), dataset.users, dataset.items)
    train = prepare(dataset.train, entities, dataset.schema, dataset.protocol, task)
    column = dataset.schema.role("time")
    users = aligned(dataset.users, entities.user, entities.users, entities.more_users)
    items = aligned(dataset.items, entities.item, entities.items, entities.more_items)
    return entities, Sides.of(entities, users, items, column.name if column is not None and dataset.protocol.clock == "time" else ""), train


def _schema(fitted: tuple[Fitted, ...], entities: Entities, dataset: Dataset, task: str, part: Part) -> FeatureSchema:
    features = tuple(feature for op in fitted for feature in op.features)
    ids = {f.vocabulary: f.name for f in reversed(features) if f.kind == "id" and f.vocabulary == f.depends}
    tasks = tasks_of(dataset.schema, task)
    return FeatureSchema(
        features,
        user=ids.get("user", ""),
        item=ids.get("item", ""),
        users=entities.users.size,
        items=entities.items.size,
        tasks=tasks,
        label_range={name: label_range(label) for name, label in part.labels.items()},
        events=part.rows,
        ordered=dataset.protocol.clock != "none",
        implies=implied(part.labels, tasks),
        shares=shares_of(part.labels, tasks),
    )


def _add_validation(found: FeatureSet, dataset: Dataset, kept: set[str], shelf: Shelf) -> None:
    found.entities = found.entities.with_events(dataset.valid)
    events = prepare(dataset.valid, found.entities, dataset.schema, dataset.protocol, found.task)
    labels = labels_of(events, dataset.schema, found.task)
    rolling = dataset.protocol.state == "rolling"
    fitted: Iterable[Fitted] = found.fitted
    if rolling and events.rows:
        fitted = (_later(op, events, found.sides) for op in fitted)
    found.parts["valid"] = part_of(events, labels, fitted, found.sides, kept, cut=not rolling, shelf=shelf)


def _later(op: Fitted, events: Table, sides: Sides) -> Fitted:
    """Return an op with later events, one at a time: what it was folded from is let go."""
    found = Shelf().shared(folded(op, events, sides))
    let_go(op.program.stored().values())
    return found
