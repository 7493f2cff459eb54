"""Feature ops that look ahead, each beside one that does not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from autorec_defects.ops import Fitted, Texts
from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.features import DataProfile, FeatureProposal
from autorec_kernel.records.as_of import AsOfTable, Measure
from autorec_kernel.records.features import Feature
from autorec_kernel.records.program import Program, Step
from autorec_kernel.records.table import Coded, Table
from autorec_kernel.records.vocabulary import Vocabulary


class MeanBefore:
    """The mean rating of an item before the row, shrunken to 3."""

    class Config(ComponentConfig):
        """No options."""

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    def propose(cls, profile: DataProfile) -> Iterable[FeatureProposal]:
        if profile.clock == "time" and profile.schema.role("label") is not None:
            yield FeatureProposal(cls.Config(), 0.01, "there is a label")

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        measures = (Measure(), Measure("rating", count=False))
        table = AsOfTable.sums(events, 1 + int(np.max(np.asarray(events["@item"]))), key="@item", measures=measures)
        steps = (
            Step("as_of", ("@item", "@clock"), "count", {"table": "events", "column": 0}),
            Step("as_of", ("@item", "@clock"), "total", {"table": "events", "column": 1}),
            Step("ratio", ("total", "count"), "out", {"strength": 2.0, "prior": 3.0}),
        )
        program = Program(("@item", "@clock"), steps, ("out",), tables={"events": table})
        return Fitted((Feature("item.mean", "numeric", "item", True, family="aggregate"),), program)


class WholeMean(MeanBefore):
    """DEFECT (leak through an item mean): the mean over all training rows, the row's own and later ones included."""

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        items, label = np.asarray(events["@item"]), np.asarray(events["rating"])
        counts = np.bincount(items)
        means = (np.bincount(items, weights=label) + 6.0) / (counts + 2.0)
        program = Program(("@item",), (Step("gather", ("@item",), "out", {"table": "means"}),), ("out",), {"means": means})
        return Fitted((Feature("item.mean", "numeric", "item", family="aggregate"),), program)


class HistoryBefore:
    """The last five items of a user before the row."""

    class Config(ComponentConfig):
        """No options."""

    reads = ("@user", "@order")

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    def propose(cls, profile: DataProfile) -> Iterable[FeatureProposal]:
        if profile.clock == "time" and profile.schema.role("user") is not None:
            yield FeatureProposal(cls.Config(), 0.01, "there are users")

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        items = 1 + int(np.max(np.asarray(events["@item"])))
        table = AsOfTable.sequence(events, 1 + int(np.max(np.asarray(events["@user"]))), time=self.reads[-1])
        step = Step("as_of", self.reads, "out", {"table": "events", "length": 5})
        program = Program(self.reads, (step,), ("out",), tables={"events": table})
        return Fitted((Feature("last", "history", "user", True, "item", items, family="history"),), program)


class HistoryAtEnd(HistoryBefore):
    """DEFECT (leak through a history): sorts by clock but reads the next moment, so that events of equal time see each other."""

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        shifted = events.with_columns({"@order": np.asarray(events["@order"]) - 3})
        return super().fit(shifted, tables, rng)


class TextOrdered(Texts):
    """`device` by text."""


class LabelOrdered(Texts):
    """DEFECT (leak through a vocabulary): rows follow the mean rating of the category over all training rows."""

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        column, label = events["device"], np.asarray(events["rating"])
        assert isinstance(column, Coded)
        used = np.unique(column.codes[column.codes >= 0])
        ranked = sorted(used, key=lambda code: (float(label[column.codes == code].mean()), str(column.values[code])))
        return self.finished(Vocabulary.of([str(column.values[code]) for code in ranked]))
