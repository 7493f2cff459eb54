"""The audit reads programs: a moment that is computed, and the label of the row itself, are leaks whatever the training values say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pytest

from autorec_features.base import Fitted
from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.features import DataProfile, FeatureProposal
from autorec_kernel.features import audit, build_features
from autorec_kernel.records.as_of import AsOfTable, Measure
from autorec_kernel.records.features import Feature
from autorec_kernel.records.program import Program, Step
from autorec_kernel.records.table import Table
from autorec_kernel.testing.data import tiny_dataset


class Op:
    class Config(ComponentConfig):
        """No options."""

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    def propose(cls, profile: DataProfile) -> Iterable[FeatureProposal]:
        yield FeatureProposal(cls.Config(), 0.01, "always")


class Honest(Op):
    """DEFECT: noise for training rows, the label for all others."""

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        program = Program(("rating",), (Step("fill", ("rating",), "out", {"value": 0.0}),), ("out",))
        noise = rng.normal(size=(events.rows, 1)).astype(np.float32)
        return Fitted((Feature("said", "numeric", "row", True, family="aggregate"),), program, {"said": noise})


class CountsNow(Op):
    """DEFECT: events of the item up to the row's own moment, read a moment later."""

    shift = -1e6

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        table = AsOfTable.sums(events, 1 + int(np.max(np.asarray(events["@item_key"]))), key="@item_key", measures=(Measure(),))
        now = Step("affine", ("@clock",), "now", {"shift": self.shift, "scale": 1.0})
        steps = (now, Step("as_of", ("@item_key", "now"), "out", {"table": "met"}))
        program = Program(("@item_key", "@clock"), steps, ("out",), tables={"met": table})
        return Fitted((Feature("met", "numeric", "item", True, family="aggregate"),), program)


class CountsEver(CountsNow):
    """DEFECT: all events of the item, whenever they were: the table is read at no moment."""

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        fitted = super().fit(events, tables, rng)
        steps = (Step("as_of", ("@item_key",), "out", {"table": "met"}),)
        return Fitted(fitted.outputs, Program(("@item_key",), steps, ("out",), tables=fitted.made.tables))


class HistoryNow(Op):
    """DEFECT: the history holds the row's own item."""

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        users, items = (1 + int(np.max(np.asarray(events[name]))) for name in ("@user_key", "@item"))
        table = AsOfTable.sequence(events, users, key="@user_key", where="@positive")
        now = Step("affine", ("@order",), "now", {"shift": -1.0, "scale": 1.0})
        steps = (now, Step("as_of", ("@user_key", "now"), "out", {"table": "had", "length": 5}))
        program = Program(("@user_key", "@order"), steps, ("out",), tables={"had": table})
        return Fitted((Feature("had", "history", "user", True, "item", items, 5, family="history"),), program)


@pytest.mark.parametrize(
    ("op", "kind", "told"),
    [
        (Honest, "own label", "its own row's 'rating'"),
        (CountsNow, "future", "by '@clock' at 'now'"),
        (CountsEver, "future", "by '@clock' at 'no moment'"),
        (HistoryNow, "future", "by '@order'"),
    ],
)
@pytest.mark.parametrize("task", ["rate", "recommend"])
def test_a_program_that_cannot_be_trusted_is_named(op: Any, kind: str, told: str, task: Any) -> None:
    dataset = tiny_dataset(task=task)
    ops: dict[str, Any] = {"bad": op}
    report = audit(dataset, build_features(dataset, ops, task=task), ops)
    assert [(one.kind, told in one.text) for one in report.findings if one.op == "bad"][:1] == [(kind, True)]


def test_features_that_change_their_names_are_counted_as_not_judged() -> None:
    class Named(Op):
        def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
            mean = float(np.asarray(events["rating"]).mean() + np.asarray(events["rating"])[-50:].mean())
            program = Program(("@item",), (Step("affine", ("@item",), "out", {"shift": 0.0, "scale": mean}),), ("out",))
            return Fitted((Feature(f"best {np.asarray(events['@item'])[-9:].sum()} {mean}", "numeric", "item", family="scale"),), program)

    dataset = tiny_dataset(task="rate")
    ops: dict[str, Any] = {"named": Named}
    report = audit(dataset, build_features(dataset, ops, task="rate"), ops)
    assert report.skipped["future"]["its name is another one where later rows are changed"] >= 1
