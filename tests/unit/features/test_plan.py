"""The plan: cheapest first, ids always, and a reason for everything that was left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.features import DataProfile, FeatureProposal, RejectColumn
from autorec_kernel.errors import PluginError
from autorec_kernel.features import build_features
from autorec_kernel.features.plan import Budget, Candidate, free_disk
from autorec_kernel.records.features import Feature
from autorec_kernel.records.program import Program, Step
from autorec_kernel.records.table import Table
from autorec_kernel.testing.data import tiny_dataset


class Fitted:
    def __init__(self, feature: Feature, program: Program, training: Mapping[str, np.ndarray] | None = None) -> None:
        self.outputs, self.made, self.training = (feature,), program, training

    def program(self) -> Program:
        return self.made

    def training_values(self, events: Table) -> Mapping[str, np.ndarray] | None:
        return self.training


class Op:
    """A row feature made from the price; subclasses cost more or misbehave."""

    class Config(ComponentConfig):
        pass

    cost = 1.0
    feature = Feature("price", "numeric", "row", family="scale")
    output = "filled"
    training: Mapping[str, np.ndarray] | None = None

    def __init__(self, config: ComponentConfig) -> None:
        self.config = config

    @classmethod
    def propose(cls, profile: DataProfile) -> Iterable[FeatureProposal]:
        yield FeatureProposal(cls.Config(), cls.cost, "there is a price")

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        return Fitted(
            self.feature, Program(("price",), (Step("fill", ("price",), "filled", {"value": 0.0}),), (self.output,)), self.training
        )


class Twin(Op):
    cost = 2.0


class Dear(Op):
    cost = 50.0
    feature = Feature("dear", "numeric", "row", family="scale")


class Picky(Op):
    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        raise RejectColumn("the column is constant")


class Broken(Op):
    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        raise ZeroDivisionError("one by none")


class Mute(Op):
    @classmethod
    def propose(cls, profile: DataProfile) -> Iterable[FeatureProposal]:
        raise KeyError("price")


class Wide(Op):
    feature = Feature("wide", "numeric", "row", width=3)


class Wrong(Op):
    feature = Feature("wrong", "id", "row", size=5, vocabulary="wrong")


class Uneven(Op):
    feature = Feature("uneven", "numeric", "row")
    training: Mapping[str, np.ndarray] | None = MappingProxyType({"uneven": np.zeros((3, 1), np.float32)})


def plan_of(ops: Mapping[str, Any], **more: Any) -> tuple[dict[str, dict[str, Any]], Any]:
    features = build_features(tiny_dataset(), ops, **more)
    return {row["op"]: row for row in features.plan}, features


def test_what_is_taken_is_in_the_schema_with_its_op() -> None:
    plan, features = plan_of({"mine/op": Op})
    assert plan["mine/op"]["taken"] and plan["mine/op"]["reason"] == "there is a price"
    assert [f.name for f in features.schema.features] == ["price"] and features.schema["price"].op == "mine/op"


def test_the_cheapest_come_first_until_the_budget_is_spent() -> None:
    plan, features = plan_of({"a/dear": Dear, "b/op": Op}, budget_seconds=10.0)
    assert list(plan) == ["b/op", "a/dear"]
    assert not plan["a/dear"]["taken"] and "50.00 s, 9.00 s are left" in plan["a/dear"]["reason"]
    assert [f.name for f in features.schema.features] == ["price"]


def test_ids_are_taken_whatever_they_cost() -> None:
    plan, _ = plan_of({"mine/id": Dear, "mine/op": Op}, budget_seconds=0.0)
    assert plan["mine/id"]["taken"] and not plan["mine/op"]["taken"]


@pytest.mark.parametrize(
    ("op", "reason"),
    [
        (Picky, "rejected: the column is constant"),
        (Broken, "failed: ZeroDivisionError: one by none"),
        (Mute, "propose raised KeyError"),
        (Wide, "shape"),
        (Wrong, "expected id"),
        (Uneven, "expected (336, 1)"),
    ],
)
def test_an_op_that_rejects_or_misbehaves_is_a_row_with_its_reason(op: type[Op], reason: str) -> None:
    plan, features = plan_of({"bad/op": op, "good/op": Op})
    assert not plan["bad/op"]["taken"] and reason in plan["bad/op"]["reason"]
    assert plan["good/op"]["taken"]
    assert features.row_inputs(["price"], np.arange(3))["price"].shape == (3, 1)


def test_a_second_feature_of_one_name_is_turned_down() -> None:
    plan, _ = plan_of({"a/op": Op, "b/twin": Twin})
    assert plan["b/twin"]["reason"] == "rejected: features ['price'] exist already"


def test_each_decision_is_reported_and_nothing_at_all_still_gives_a_set() -> None:
    told: list[Mapping[str, Any]] = []
    plan_of({"mine/op": Op}, report=told.append)
    assert [row["op"] for row in told] == ["mine/op"]
    _, features = plan_of({})
    assert features.schema.features == () and features.schema.user == "" and len(features.rows("train")) == 336


class Heavy(Op):
    feature = Feature("heavy", "numeric", "row", family="scale")

    @classmethod
    def propose(cls, profile: DataProfile) -> Iterable[FeatureProposal]:
        yield FeatureProposal(cls.Config(), 0.5, "it is large", 2_000_000_000)


class Decided(Op):
    """Chooses its column in `fit` and writes it down; what it drew is its output's place."""

    feature = Feature("decided", "numeric", "row", family="scale")
    asked = 0

    class Config(ComponentConfig):
        column: str = ""

    @classmethod
    def propose(cls, profile: DataProfile) -> Iterable[FeatureProposal]:
        cls.asked += 1
        yield FeatureProposal(cls.Config(), 3.0, "it decides")

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        program = Program(("price",), (Step("fill", ("price",), "filled", {"value": float(rng.random())}),), ("filled",))
        found = Fitted(self.feature, program)
        found.config = self.Config(column=self.config.column or "price")  # type: ignore[attr-defined]
        return found


def test_memory_has_a_budget_of_its_own_and_says_what_is_left() -> None:
    plan, features = plan_of({"a/heavy": Heavy, "b/op": Op}, budget_bytes=1e9)
    assert not plan["a/heavy"]["taken"] and plan["a/heavy"]["reason"] == "needs about 2 GB of memory, 1 GB are left"
    assert plan["a/heavy"]["bytes"] == 2_000_000_000
    assert plan["b/op"]["taken"] and plan["b/op"]["bytes"] >= features.parts["train"].values["price"].nbytes > 0


def test_without_a_stated_budget_half_of_the_available_memory_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("Memory", (), {"available": 2_000_000_000})())
    plan, _ = plan_of({"a/heavy": Heavy})
    assert plan["a/heavy"]["reason"] == "needs about 2 GB of memory, 1 GB are left"


def test_the_plan_records_what_an_op_decided() -> None:
    plan, _ = plan_of({"mine/decided": Decided, "mine/op": Op})
    assert plan["mine/decided"]["config"] == {"column": "price"}
    assert plan["mine/op"]["config"] == {}


def test_a_plan_is_fitted_again_as_it_stands_and_nobody_is_asked() -> None:
    ops = {"a/dear": Dear, "b/mute": Mute, "c/op": Op, "d/decided": Decided}
    first = build_features(tiny_dataset(), ops, seed=7, budget_seconds=10.0)
    asked = Decided.asked
    again = build_features(tiny_dataset(), ops, seed=7, plan=first.plan)
    assert Decided.asked == asked
    assert again.digest == first.digest and again.schema == first.schema
    told = ("op", "config", "taken", "reason", "bytes")
    assert [[row[name] for name in told] for row in again.plan] == [[row[name] for name in told] for row in first.plan]
    assert build_features(tiny_dataset(), ops, seed=7, plan=again.plan).digest == first.digest


def test_a_plan_whose_op_is_gone_names_it() -> None:
    first = build_features(tiny_dataset(), {"c/op": Op, "d/decided": Decided})
    with pytest.raises(PluginError, match="d/decided"):
        build_features(tiny_dataset(), {"c/op": Op}, plan=first.plan)
    dear = build_features(tiny_dataset(), {"a/dear": Dear, "c/op": Op}, budget_seconds=10.0)
    assert build_features(tiny_dataset(), {"c/op": Op}, plan=dear.plan).digest == dear.digest  # what was left out need not be there


def test_in_a_folder_memory_is_that_of_one_op_and_the_disk_holds_them_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = (Candidate("a/op", Op, FeatureProposal(Op.Config(), 0.0, "", size)) for size in (400_000_000, 700_000_000))
    budget = Budget(bytes=1e9, disk=7e8)
    assert budget.refuses(two) == "needs about 1.4 GB of memory, 1 GB are left"
    assert budget.refuses(one) == ""
    assert budget.refuses(one) == "needs about 400 MB of files, 300 MB are left"
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Disk", (), {"free": 600})())
    assert free_disk(tmp_path / "not" / "there yet") == 300
