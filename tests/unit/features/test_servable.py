"""What serving cannot answer from the latest states is refused, by name; what it can is answered in full."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.features import FeatureProposal
from autorec_kernel.errors import ContractError
from autorec_kernel.features import build_features
from autorec_kernel.features.compute import Fitted
from autorec_kernel.features.state import check_servable
from autorec_kernel.records.as_of import AsOfTable, Measure
from autorec_kernel.records.features import Feature
from autorec_kernel.records.program import Program, Step
from autorec_kernel.records.table import Table
from autorec_kernel.testing.data import tiny_dataset

EVENTS = {name: np.zeros(0, np.int64) for name in ("@user_key", "@item_key", "@item", "@clock", "@order")}
READ = ("@item_key", "@clock")


def op_of(*steps: Step, features: tuple[Feature, ...] = (Feature("near", "numeric", "pair", dynamic=True, op="x/near"),)) -> Fitted:
    tables = {
        "items": AsOfTable.sums(EVENTS, 40, key="@item_key", measures=(Measure(),)),
        "users": AsOfTable.sequence(EVENTS, 50, key="@user_key"),
    }
    return Fitted(features, Program(("@user_key", "@item_key", "@clock", "@order"), steps, ("out",) * len(features), tables=tables))


@pytest.mark.parametrize("more", [{"window": 10}, {"newest": 3}, {"since": "first"}, {"since": "last"}])
@pytest.mark.parametrize(
    "feature",
    [
        Feature("near", "numeric", "pair", dynamic=True, op="x/near"),
        Feature("near", "numeric", "row", dynamic=True, op="x/near"),
        Feature("near", "history", "user", dynamic=True, vocabulary="item", size=40, width=4, op="x/near"),
    ],
    ids=["pair", "row", "history"],
)
def test_a_feature_that_is_computed_when_asked_may_not_read_events(more: dict[str, Any], feature: Feature) -> None:
    steps = Step("as_of", READ, "lately", {"table": "items", **more}), Step("log1p", ("lately",), "out")
    with pytest.raises(ContractError, match="'near'") as caught:
        check_servable(op_of(*steps, features=(feature,)))
    told = str(caught.value)
    assert "'x/near'" in told
    assert "'lately'" in told
    assert repr(next(iter(more))) in told
    assert "hint: read the table without" in told


def test_steps_that_lead_elsewhere_and_features_that_are_computed_ahead_may() -> None:
    lately = Step("as_of", READ, "lately", {"table": "items", "window": 10})
    all_time = Step("as_of", READ, "out", {"table": "items"})
    check_servable(op_of(lately, all_time))
    ahead = Feature("lately", "numeric", "item", dynamic=True, op="x/near")
    check_servable(op_of(lately, Step("log1p", ("lately",), "out"), features=(ahead,)))


@dataclass(frozen=True, eq=False)
class Made:
    """A fitted op."""

    outputs: tuple[Feature, ...]
    made: Program

    def program(self) -> Program:
        return self.made

    def training_values(self, events: Table) -> Mapping[str, np.ndarray] | None:
        return None


class Lately:
    """Says of a pair how many events the item had in the last day, which serving cannot know."""

    more: Mapping[str, Any] = {"window": 86_400_000_000_000}

    class Config(ComponentConfig):
        """No options."""

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    def propose(cls, profile: Any) -> Iterable[FeatureProposal]:
        return (FeatureProposal(cls.Config(), 0.0, "always"),)

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Any:
        table = AsOfTable.sums(events, 40, key="@item_key", measures=(Measure(),))
        step = Step("as_of", READ, "out", {"table": "items", **self.more})
        return Made((Feature("near", "numeric", "pair", dynamic=True),), Program(READ, (step,), ("out",), tables={"items": table}))


class Forever(Lately):
    """The same of all time."""

    more: Mapping[str, Any] = {}


def test_an_op_that_cannot_be_served_is_left_out_when_it_is_built_and_the_reason_is_told() -> None:
    features = build_features(tiny_dataset(), {"x/near": Lately, "y/ever": Forever})
    reasons = {row["op"]: row["reason"] for row in features.plan}
    assert [feature.op for feature in features.schema.features] == ["y/ever"]
    assert "'near'" in reasons["x/near"]
    assert "'window'" in reasons["x/near"]


def test_a_state_is_never_made_of_what_cannot_be_served() -> None:
    features = build_features(tiny_dataset(), {"x/near": Forever})
    (op,) = features.fitted
    (step,) = op.program.steps
    windowed = replace(op.program, steps=(replace(step, params={**step.params, "window": 10}),))
    with pytest.raises(ContractError, match="'near'"):
        replace(features, fitted=(replace(op, program=windowed),), _cache={}).state()


class Beside(Lately):
    """Says how far an item's row is from the mean of the rows of the user's newest five items: a pair feature of a sequence."""

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Any:
        steps = (
            Step("as_of", ("@user_key", "@order"), "newest", {"table": "users", "length": 5}),
            Step("pool", ("newest", "newest"), "mean"),
            Step("minus", ("mean", "@item"), "out"),
        )
        users = {"users": AsOfTable.sequence(events, 50, key="@user_key")}
        program = Program(("@user_key", "@order", "@item"), steps, ("out",), tables=users)
        return Made((Feature("beside", "numeric", "pair", dynamic=True),), program)


def test_a_pair_feature_reads_as_much_of_a_sequence_in_serving_as_in_training() -> None:
    features = build_features(tiny_dataset(), {"x/beside": Beside})
    users, items = np.repeat(np.arange(1, 41), 30), np.tile(np.arange(1, 31), 40)
    found = features.state().inputs(["beside"], users=users, items=items)["beside"]
    part = features.parts["train"]
    for user, item, value in zip(users, items, found[:, 0], strict=True):
        newest = part.ints("@item")[part.ints("@user") == user][-5:]
        assert value == pytest.approx(newest.mean() - item, abs=1e-6), (user, item)
