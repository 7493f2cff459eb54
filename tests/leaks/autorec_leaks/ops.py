"""Feature ops that leak, each in a way of its own; the first class is what they have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.features import DataProfile, FeatureProposal, RejectColumn
from autorec_kernel.records.as_of import AsOfTable, Measure
from autorec_kernel.records.features import Feature
from autorec_kernel.records.program import Program, Step
from autorec_kernel.records.table import Table


class Fitted:
    """A fitted op with one output."""

    def __init__(self, feature: Feature, program: Program, training: Mapping[str, np.ndarray] | None = None) -> None:
        self.outputs, self._program, self._training = (feature,), program, training

    def program(self) -> Program:
        return self._program

    def training_values(self, events: Table) -> Mapping[str, np.ndarray] | None:
        return self._training


class Op:
    """One feature `NAME` where the data has a label."""

    class Config(ComponentConfig):
        label: str = ""

    name, needs_clock = "", True

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    def propose(cls, profile: DataProfile) -> Iterable[FeatureProposal]:
        label = profile.schema.role("label")
        if label is not None and (profile.clock == "time" or not cls.needs_clock):
            yield FeatureProposal(cls.Config(label=label.name), 0.001, "there is a label")

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        label = np.nan_to_num(np.asarray(events[self.config.label], dtype=np.float64))
        if not np.ptp(label):
            raise RejectColumn("the label is constant")
        return self.learnt(events, label - label.mean())

    def learnt(self, events: Table, label: np.ndarray) -> Fitted:
        raise AssertionError(self.name)


def by_row(name: str, events: Table, values: np.ndarray, kind: str = "numeric", size: int = 0) -> Fitted:
    """Return a feature that looks its value up by the number of the row."""
    order = np.asarray(events["@order"])
    table = np.zeros(int(order.max()) + 1, np.float64 if kind == "numeric" else np.int64)
    table[order] = values
    program = Program(("@order",), (Step("gather", ("@order",), "out", {"table": "values"}),), ("out",), {"values": table})
    vocabulary = "item" if kind == "id" else ""
    return Fitted(Feature(name, kind, "row", True, vocabulary, size, family="aggregate"), program)  # type: ignore[arg-type]


def by_item(name: str, values: np.ndarray) -> Fitted:
    """Return a static feature of items."""
    program = Program(("@item",), (Step("gather", ("@item",), "out", {"table": "values"}),), ("out",), {"values": values})
    return Fitted(Feature(name, "numeric", "item", family="aggregate"), program)


def means(keys: np.ndarray, label: np.ndarray) -> np.ndarray:
    return np.bincount(keys, weights=label) / (np.bincount(keys) + 1.0)


class ItemMeanOfAll(Op):
    """The mean label of an item over all training rows, later ones and the row itself included."""

    def learnt(self, events: Table, label: np.ndarray) -> Fitted:
        return by_item("item.mean_of_all", means(np.asarray(events["@item"]), label))


class TargetWithoutFolds(Op):
    """The mean label of a user over all training rows, where no clock orders them: the row itself is among them."""

    needs_clock = False

    def learnt(self, events: Table, label: np.ndarray) -> Fitted:
        values = means(np.asarray(events["@user"]), label)
        program = Program(("@user",), (Step("gather", ("@user",), "out", {"table": "values"}),), ("out",), {"values": values})
        return Fitted(Feature("user.target", "numeric", "user", family="aggregate"), program)


class FutureCount(Op):
    """How many events of the item are still to come."""

    def learnt(self, events: Table, label: np.ndarray) -> Fitted:
        items, left = np.asarray(events["@item"]), np.zeros(events.rows)
        seen: dict[int, int] = {}
        for row in range(events.rows - 1, -1, -1):
            left[row] = seen.get(int(items[row]), 0)
            seen[int(items[row])] = int(left[row]) + 1
        return by_row("item.to_come", events, np.log1p(left))


class NextItem(Op):
    """The user's next item."""

    def learnt(self, events: Table, label: np.ndarray) -> Fitted:
        users, items = np.asarray(events["@user"]), np.asarray(events["@item"])
        following, coming = np.zeros(events.rows, np.int64), dict[int, int]()
        for row in range(events.rows - 1, -1, -1):
            following[row] = coming.get(int(users[row]), 0)
            coming[int(users[row])] = int(items[row])
        return by_row("user.next_item", events, following, "id", int(items.max()) + 1)


class OwnLabel(Op):
    """The row's own label behind some noise."""

    needs_clock = False

    def learnt(self, events: Table, label: np.ndarray) -> Fitted:
        steps = (Step("fill", (self.config.label,), "out", {"value": 0.0}),)
        return Fitted(Feature("row.copy", "numeric", "row", family="aggregate"), Program((self.config.label,), steps, ("out",)))


class PopularityToCome(Op):
    """A "static" feature of items that counts all events: popularity known from the end."""

    def learnt(self, events: Table, label: np.ndarray) -> Fitted:
        return by_item("item.popularity", np.log1p(np.bincount(np.asarray(events["@item"])).astype(np.float64)))


class LateRowsOnly(Op):
    """Nothing for the first nine tenths of the rows; afterwards the mean label of the item over all rows."""

    def learnt(self, events: Table, label: np.ndarray) -> Fitted:
        items = np.asarray(events["@item"])
        values = np.where(np.arange(events.rows) >= 0.9 * events.rows, means(items, label)[items], 0.0)
        return by_row("item.late_mean", events, values)


class TrainingValues(Op):
    """An honest program, and training values that hold the row's own label."""

    def learnt(self, events: Table, label: np.ndarray) -> Fitted:
        measures = (Measure(), Measure(self.config.label, count=False))
        table = AsOfTable.sums(events, 1 + int(np.max(np.asarray(events["@item"]))), key="@item", measures=measures)
        steps = (
            Step("as_of", ("@item", "@clock"), "count", {"table": "events", "column": 0}),
            Step("as_of", ("@item", "@clock"), "total", {"table": "events", "column": 1}),
            Step("ratio", ("total", "count"), "out", {"strength": 2.0}),
        )
        program = Program(("@item", "@clock"), steps, ("out",), tables={"events": table})
        own = {"item.honest": (means(np.asarray(events["@item"]), label)[np.asarray(events["@item"])])[:, None].astype(np.float32)}
        return Fitted(Feature("item.honest", "numeric", "item", True, family="aggregate"), program, own)
