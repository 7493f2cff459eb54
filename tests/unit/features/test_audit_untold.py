"""What the audit cannot judge is named: in its report, in one line of summary, in the log and in what the command prints."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from autorec_features.base import Fitted
from autorec_features.factors import Factors
from autorec_features.time_parts import TimeParts
from autorec_kernel.cli.explain import print_features
from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.features import FeatureProposal, RejectColumn
from autorec_kernel.data import open_dataset
from autorec_kernel.features import audit, build_features
from autorec_kernel.records.dataset import Dataset
from autorec_kernel.records.features import Feature
from autorec_kernel.records.program import Program, Step
from autorec_kernel.records.table import Table
from tests.unit.features.audit_ops import data, ints, noise, planted, report_of


def only_whole(rows: int) -> Any:
    """Return an op that turns down fewer rows than these."""

    def made(events: Table) -> np.ndarray:
        if events.rows < rows:
            raise RejectColumn(f"fewer than {rows} rows teach nothing")
        return noise(events)

    return planted(made)


def test_a_feature_that_the_sample_is_too_small_for_is_named(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        report = report_of(data(9000, users=3000), only_whole(5001))
    told = "rejected: fewer than 5001 rows teach nothing"
    assert report.unfitted == {"planted": told} and report.judged["future"] == report.judged["own label"] == 0
    for part in ("future", "own label"):
        assert report.skipped[part] == {"the sample has nothing to fit": 1}
    assert report.judged["too good"] == 1 and report.findings == []
    assert "not judged: planted" in report.summary()
    assert [row.message for row in caplog.records if "planted" in row.message and told in row.message]
    assert json.loads(json.dumps(report.to_json()))["unfitted"] == report.unfitted


def test_what_the_sample_can_be_asked_is_not_named(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        report = report_of(data(9000, users=3000), only_whole(5000))
    assert report.unfitted == {} and "not judged:" not in report.summary() and not caplog.records
    assert report.judged["future"] == report.judged["own label"] == 1
    assert "nothing to fit" not in json.dumps(report.to_json())


def test_the_command_names_them_and_what_no_poison_changed(capsys: pytest.CaptureFixture[str]) -> None:
    report = report_of(data(9000, users=3000), only_whole(5001))
    report.not_reached = ["hour"]
    selection = {"selector": "", "note": "", "dropped": {}, "curve": []}
    print_features({"task": "rate", "seconds": 0.0, "plan": [], "features": [], "selection": selection, "audit": report.to_json()})
    told = capsys.readouterr().out
    assert "audit: not judged: planted: rejected: fewer than 5001 rows" in told and "no poison changed hour" in told


def test_an_op_that_makes_other_features_of_the_sample_is_named() -> None:
    class Other(only_whole(0)):  # type: ignore[misc]
        def fit(self, events: Table, tables: Any, rng: np.random.Generator) -> Any:
            made = super().fit(events, tables, rng)
            if events.rows > 5000:
                return made
            from dataclasses import replace

            return replace(made, outputs=(replace(made.outputs[0], name="other"),), training={"other": made.training["planted"]})

    report = report_of(data(9000, users=3000), Other)
    assert list(report.unfitted) == ["planted"] and "rejected" not in report.unfitted["planted"]


def test_columns_of_one_op_are_named_each_with_its_own_reason() -> None:
    class Config(ComponentConfig):
        which: str = "a"

    class Two:
        def __init__(self, config: Config) -> None:
            self.config = config

        @classmethod
        def propose(cls, profile: Any) -> Iterable[FeatureProposal]:
            return [FeatureProposal(Config(which=which), 0.01, "always") for which in "abc"]

        def fit(self, events: Table, tables: Any, rng: np.random.Generator) -> Fitted:
            name = self.config.which
            if events.rows <= 5000 and name != "c":
                raise RejectColumn(f"too few for {name}")
            told = Step("gather", ("@order",), "out", {"table": "zeros"})
            return Fitted((Feature(name, "numeric", "row"),), Program(("@order",), (told,), ("out",), {"zeros": np.zeros((1, 1))}))

    Two.Config = Config  # type: ignore[attr-defined]
    dataset, ops = data(9000, users=3000), {"tests/two": Two}
    report = audit(dataset, build_features(dataset, ops, task="rate"), ops)  # type: ignore[arg-type]
    assert report.unfitted == {"a": "rejected: too few for a", "b": "rejected: too few for b"}


def many(rows: int = 45_000) -> Dataset:
    rng = np.random.default_rng(0)
    pairs = {"user_id": rng.integers(0, 600, rows), "item_id": rng.integers(0, 500, rows)}
    table = pd.DataFrame({**pairs, "rating": rng.integers(1, 6, rows), "timestamp": 10**9 + 40 * np.arange(rows)})
    return open_dataset(table, task="rate", protocol="temporal", deduplicate="none")


class Ahead(Factors):
    """DEFECT: each row reads the factors of the moment after its own."""

    def fit(self, events: Table, tables: Any, rng: np.random.Generator) -> Any:
        fitted = super().fit(events, tables, rng)
        moments = fitted.made.arrays["moments"]
        fitted.made.arrays["moments"][:] = np.append(ints(events, "@clock")[0], moments[:-1])
        return fitted


@pytest.mark.parametrize(("op", "kinds"), [(Factors, set()), (Ahead, {"future"})])
def test_factors_are_judged_though_their_moments_lie_before_the_sample(op: Any, kinds: set[str]) -> None:
    dataset = many()
    features = build_features(dataset, {"tests/factors": op}, task="rate")
    (row,) = features.plan
    clock = np.asarray(dataset.train["@clock"])
    assert row["config"]["moments"][-2] < clock[-5000], "else nothing is shown"
    report = audit(dataset, features, {"tests/factors": op})
    assert report.not_reached == [] and {finding.kind for finding in report.findings} == kinds


def test_parts_of_the_time_that_the_training_rows_teach_are_those_of_the_sample() -> None:
    """The newest rows span two days: alone they would teach neither hour nor weekday."""
    dataset = many()
    ops = {"tests/time": TimeParts}
    features = build_features(dataset, ops, task="rate")
    assert [feature.name for feature in features.schema.features] == ["timestamp.hour", "timestamp.weekday"]
    report = audit(dataset, features, ops)
    assert report.unfitted == {} and report.judged["future"] == 2
    assert report.not_reached == ["timestamp.hour", "timestamp.weekday"]  # the clock stays as it is


def test_a_label_that_the_sample_never_knows_is_asked_for_nothing() -> None:
    dataset = data(9000, users=3000, liked=np.where(np.arange(9000) < 1000, np.arange(9000) % 2, np.nan))
    roles: Any = {"liked": "label"}
    columns = tuple(column if column.name not in roles else _label(column) for column in dataset.schema.columns)
    from dataclasses import replace

    both = replace(dataset, schema=replace(dataset.schema, columns=columns))
    assert [column.name for column in both.schema.labels] == ["rating", "liked"]
    report = report_of(both, planted(noise))
    assert report.judged["own label"] == 1 and report.findings == []


def _label(column: Any) -> Any:
    from dataclasses import replace

    return replace(column, role="label")
