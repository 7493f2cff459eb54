"""Rates of pairs: the shrunk mean of a cell, out of fold where rows are learnt from, of the pairs that tell more than their columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from autorec_crosses.rates import Rates
from autorec_kernel.contracts.features import DataProfile, RejectColumn
from autorec_kernel.evaluation.rows import auc
from autorec_kernel.records.program import ReadContext, run_program
from autorec_kernel.records.schema import Column, Schema
from autorec_kernel.records.table import Coded, Table
from autorec_kernel.testing.snapshots import digest

NONE = {"users": Table(), "items": Table()}
PAIR = "rate(a,b)"


def texts(codes: np.ndarray) -> Coded:
    return Coded(np.asarray(codes, np.int32), np.array([f"v{code}" for code in range(int(np.max(codes)) + 1)], dtype=object))


def table(label: np.ndarray, users: np.ndarray | None = None, **columns: np.ndarray) -> Table:
    rows = len(label)
    kernel = {"@order": np.arange(rows), "@user": np.zeros(rows, np.int64) if users is None else users}
    return Table({**{name: texts(codes) for name, codes in columns.items()}, "label": label.astype(np.float64), **kernel}, rows)


def fit(events: Table, **options: Any) -> Any:
    columns = tuple(name for name in events if name not in ("label", "@order", "@user"))
    return Rates(Rates.Config(columns=columns, **options)).fit(events, NONE, np.random.default_rng(0))


def read(fitted: Any, events: Table) -> dict[str, np.ndarray]:
    columns = {name: events[name] for name in fitted.program().inputs if name in events}
    return {name: np.asarray(value)[:, 0] for name, value in run_program(fitted.program(), columns, ReadContext(events.rows)).items()}


@pytest.fixture
def clicks() -> Table:
    rng = np.random.default_rng(3)
    a, b = rng.integers(-1, 4, 800), rng.integers(-1, 3, 800)
    return table((rng.random(800) < 0.2 + 0.6 * ((a + b) % 2)).astype(np.float64), a=a, b=b)


@pytest.mark.parametrize("users", [False, True])
def test_a_rate_is_the_shrunk_mean_of_the_cell_and_of_other_folds_for_training_rows(clicks: Table, users: bool) -> None:
    owner = np.arange(800) // 3 + 1 if users else np.arange(800)
    events = clicks.with_columns({"@user": owner}) if users else clicks
    fitted = fit(events, chosen=(("a", "b"),), strength=4.0)
    label, prior = np.asarray(events["label"]), float(np.asarray(events["label"]).mean())
    a, b = events["a"].codes, events["b"].codes  # type: ignore[union-attr]
    found, training = read(fitted, events)[PAIR], fitted.training_values(events)[PAIR][:, 0]

    def told(rows: np.ndarray) -> float:
        mean = (label[rows].sum() + 4.0 * prior) / (rows.sum() + 4.0)
        return float(np.log(mean / (1 - mean)) - np.log(prior / (1 - prior)))

    for row in range(0, 800, 11):
        cell = (a == a[row]) & (b == b[row])
        assert found[row] == pytest.approx(told(cell), abs=1e-5)
        assert training[row] == pytest.approx(told(cell & (owner % 8 != owner[row] % 8)), abs=1e-5)


def test_a_cell_that_was_rare_or_never_seen_reads_as_the_prior(clicks: Table) -> None:
    fitted = fit(clicks, chosen=(("a", "b"),), min_count=3)
    new = Coded(np.array([0, 1], np.int32), np.array(["new", "v1"], dtype=object))
    assert run_program(fitted.program(), {"a": new, "b": new}, ReadContext(2))[PAIR][1, 0] != 0
    few = table(np.tile([0.0, 1.0], 200), a=np.r_[np.arange(398) % 3, 3, 3], b=np.r_[np.zeros(199, int), np.ones(201, int)])
    assert read(fit(few, chosen=(("a", "b"),), min_count=3), few)[PAIR][-1] == 0.0
    assert read(fit(few, chosen=(("a", "b"),), min_count=2, strength=0.5), few)[PAIR][-1] == 0.0
    uneven = few.with_columns({"label": np.r_[np.asarray(few["label"])[:398], 1.0, 1.0]})
    assert read(fit(uneven, chosen=(("a", "b"),), min_count=2), uneven)[PAIR][-1] > 0.0
    assert read(fit(uneven, chosen=(("a", "b"),), min_count=3), uneven)[PAIR][-1] == 0.0


def test_labels_that_are_not_binary_are_told_in_deviations() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.integers(0, 3, 600), rng.integers(0, 3, 600)
    label = a * b + rng.normal(size=600)
    events = table(label, a=a, b=b)
    found = read(fit(events, chosen=(("a", "b"),), task="rate", strength=1.0), events)[PAIR]
    cell = (a == 2) & (b == 2)
    expected = (label[cell].sum() + label.mean()) / (cell.sum() + 1) - label.mean()
    assert found[cell][0] == pytest.approx(expected / label.std(), abs=1e-5)


def test_the_planted_pair_comes_first_and_predicts_new_rows() -> None:
    rng = np.random.default_rng(5)
    columns = {f"x{number}": rng.integers(0, (2, 5, 20)[number % 3], 6000) for number in range(12)}
    label = ((columns["x3"] + columns["x6"]) % 2).astype(np.float64)
    half = {name: codes[:3000] for name, codes in columns.items()}
    fitted = fit(table(label[:3000], **half), limit=5)
    assert fitted.config.chosen[0] == ("x3", "x6")
    later = table(label[3000:], **{name: codes[3000:] for name, codes in columns.items()})
    assert float(auc(label[3000:], read(fitted, later)["rate(x3,x6)"]) or 0) > 0.99


def test_a_column_is_in_few_pairs_and_pairs_that_tell_no_more_than_a_column_are_none() -> None:
    rng = np.random.default_rng(6)
    columns = {f"x{number}": rng.integers(0, 4, 4000) for number in range(8)}
    label = (rng.random(4000) < 0.1 + 0.2 * columns["x0"]).astype(np.float64)
    strong = {**columns, "x1": np.where(rng.random(4000) < 0.5, columns["x0"], columns["x1"])}
    fitted = fit(table((label + (columns["x2"] > 1) > 0).astype(np.float64), **strong), spread=2)
    names = [name for pair in fitted.config.chosen for name in pair]
    assert max(names.count(name) for name in names) <= 2
    with pytest.raises(RejectColumn, match="no pair of 8 columns"):
        fit(table(rng.permutation(np.tile([0.0, 1.0], 2000)), **columns), strength=1.0)


def test_limits_of_pairs_and_of_their_cells_are_kept() -> None:
    rng = np.random.default_rng(8)
    columns = {f"x{number}": rng.integers(0, 4, 4000) for number in range(5)}
    label = (sum(codes > 1 for codes in columns.values()) > 2).astype(np.float64)  # every pair tells more than its columns
    events = table(label, **columns)
    assert len(fit(events).config.chosen) == 10
    assert fit(events, limit=3).config.chosen == fit(events).config.chosen[:3]
    with pytest.raises(RejectColumn, match="no pair"):
        fit(events, max_size=15)  # a pair has 16 cells


def test_rows_without_a_label_say_nothing(clicks: Table) -> None:
    lost = np.arange(800) % 5 == 0
    label = np.where(lost, np.nan, np.asarray(clicks["label"]))
    some = fit(clicks.with_columns({"label": label}), chosen=(("a", "b"),))
    fewer = fit(clicks.take(np.flatnonzero(~lost)), chosen=(("a", "b"),))
    assert np.allclose(read(some, clicks)[PAIR], read(fewer, clicks)[PAIR], atol=1e-6)
    told = some.training_values(clicks)[PAIR][~lost, 0]
    owner = fewer.training_values(clicks)[PAIR][:, 0]
    assert np.allclose(told, owner, atol=1e-6)


def test_what_a_search_decided_is_written_down_and_decides_the_same(clicks: Table) -> None:
    rng = np.random.default_rng(7)
    events = clicks.with_columns({"number": rng.normal(size=800)})
    fitted = fit(events)
    again = Rates(fitted.config).fit(events, NONE, np.random.default_rng(99))
    state = [[one.outputs, one.program().to_json(), one.program().stored(), one.config.model_dump_json()] for one in (fitted, again)]
    assert digest(state[0]) == digest(state[1])


def test_labels_of_a_row_do_not_reach_its_own_training_value(clicks: Table) -> None:
    before = fit(clicks, chosen=(("a", "b"),)).training_values(clicks)[PAIR][:, 0]
    label = np.asarray(clicks["label"]).copy()
    ones, zeros = (next(row for row in range(0, 800, 8) if label[row] == value) for value in (1.0, 0.0))
    label[[ones, zeros]] = label[[zeros, ones]]  # two labels of one fold change places: the mean of all stays
    after = fit(clicks.with_columns({"label": label}), chosen=(("a", "b"),)).training_values(clicks)[PAIR][:, 0]
    inside = np.arange(800) % 8 == 0
    assert np.array_equal(after[inside], before[inside])
    assert not np.array_equal(after[~inside], before[~inside])


def test_rates_are_for_tables_without_a_clock_and_with_a_label() -> None:
    kinds = {"y": ("label", "numeric"), "a": ("feature", "categorical"), "b": ("feature", "categorical")}
    columns = tuple(Column(name, role=role, kind=kind, distinct=4) for name, (role, kind) in kinds.items())  # type: ignore[arg-type]
    told = {"label_mean": 0.5, "label_std": 0.5}
    for clock, facts, expected in (("none", told, 1), ("time", told, 0), ("none", {**told, "label_std": 0.0}, 0)):
        found = list(Rates.propose(DataProfile(Schema(columns), 1000, 0, 0, clock, "click", facts)))
        assert len(found) == expected
    with pytest.raises(RejectColumn, match="tell no rates"):
        fit(table(np.ones(800), a=np.arange(800) % 3, b=np.arange(800) % 2))
