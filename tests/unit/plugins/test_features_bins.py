"""Numbers as categories: the edges of quantiles and of powers of two, and what a linear model makes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from autorec_features.bins import Bins
from autorec_kernel.contracts.features import DataProfile, RejectColumn
from autorec_kernel.records.program import ReadContext, run_program
from autorec_kernel.records.schema import Column, Schema
from autorec_kernel.records.table import ColumnData, Table
from autorec_kernel.testing.data import coded


def fit(column: ColumnData, **options: Any) -> Any:
    none = {"users": Table(), "items": Table()}
    return Bins(Bins.Config(column="x", **options)).fit(Table({"x": column}, len(column)), none, np.random.default_rng(0))


def rows_of(fitted: Any, column: ColumnData) -> list[int]:
    return np.asarray(run_program(fitted.program(), {"x": column}, ReadContext(len(column)))[".bin"]).tolist()


def test_quantile_bins_hold_equally_many_training_rows() -> None:
    column = np.random.default_rng(0).lognormal(size=1000)
    fitted = fit(column, bins=8, scale="quantile")
    found = np.array(rows_of(fitted, column))
    assert np.bincount(found).tolist() == [0] + [125] * 8
    order = np.argsort(column)
    assert (np.diff(found[order]) >= 0).all()
    assert fitted.outputs[0].size == 9


def test_few_different_values_keep_a_bin_each() -> None:
    column = np.repeat([1.0, 2.0, 7.0, 9.0], [300, 5, 5, 90])
    fitted = fit(column, bins=100)
    assert rows_of(fitted, np.array([1.0, 2.0, 7.0, 9.0])) == [1, 2, 3, 4]


def test_log_bins_end_at_powers_of_two_and_at_nought() -> None:
    column = np.array([-5.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 900.0])
    fitted = fit(column, scale="log")
    edges = [-4.0, -2.0, -1.0, 0.0, *(2.0**n for n in range(10))]
    expected = [1 + sum(edge <= value for edge in edges) for value in column]
    assert rows_of(fitted, column) == expected
    assert rows_of(fitted, np.array([2.0, 3.0])) == [expected[4]] * 2


def test_numbers_that_are_mostly_equal_get_log_bins_and_others_quantiles() -> None:
    rng = np.random.default_rng(0)
    counts = np.where(rng.random(3000) < 0.8, 0.0, rng.geometric(0.02, 3000))
    fitted = fit(counts, bins=9)
    assert fitted.config.scale == "log"
    assert fitted.outputs[0].size > 8
    for column in (counts[counts > 0], np.exp(2 * rng.normal(size=3000)), np.repeat([1.0, 2.0, 3.0], 50)):
        assert fit(column, bins=9).config.scale == "quantile"


def test_missing_numbers_read_row_zero_and_far_ones_the_outer_bins() -> None:
    fitted = fit(np.arange(100.0), bins=4)
    assert rows_of(fitted, np.array([np.nan, -np.inf, -5.0, 1e300, np.inf])) == [0, 1, 1, 4, 4]
    assert not np.asarray(run_program(fitted.program(), {}, ReadContext(3))[".bin"]).any()


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        (np.array([1.0, 2.0, 2.0]), "fewer than three"),
        (np.array([np.nan, np.inf]), "fewer than three"),
        (np.array([0.0] * 98 + [1.0, 2.0]), "nearly all"),
        (coded(["a", "b"]), "no numbers"),
    ],
)
def test_columns_that_bins_tell_nothing_of_are_rejected(column: ColumnData, reason: str) -> None:
    with pytest.raises(RejectColumn, match=reason):
        fit(column, scale="quantile")


def test_a_linear_model_of_bins_follows_a_curve() -> None:
    rng = np.random.default_rng(0)
    column = rng.uniform(-2, 2, 2000)
    label = column**2 + 0.1 * rng.normal(size=2000)
    found = np.array(rows_of(fit(column, bins=10), column))
    means = np.bincount(found, label) / np.maximum(np.bincount(found), 1)
    told = 1 - ((label - means[found]) ** 2).mean() / label.var()
    assert told > 0.9
    assert abs(np.corrcoef(column, label)[0, 1]) < 0.1


def test_bins_are_proposed_for_numbers_where_there_is_a_label_and_rows_enough() -> None:
    numbers = (
        Column("n", "feature", "numeric"),
        Column("age", "feature", "numeric", "users"),
        Column("two", "feature", "numeric", distinct=2),
    )
    label = Column("y", "label", "numeric")
    found = list(Bins.propose(DataProfile(Schema((*numbers, label)), 1000, 100, 40, "time", "click")))
    assert [(p.config.column, p.config.bins) for p in found] == [("n", 10), ("age", 5)]  # type: ignore[attr-defined]
    assert all("linear model" in p.reason and p.bytes > 0 for p in found)
    assert not list(Bins.propose(DataProfile(Schema(numbers), 1000, 200, 40, "time", "recommend")))
    assert not list(Bins.propose(DataProfile(Schema((*numbers, label)), 50, 20, 40, "time", "click")))
    many = [Column(f"n{place}", "feature", "numeric") for place in range(31)]
    assert not list(Bins.propose(DataProfile(Schema((*many, label)), 1000, 100, 40, "time", "click")))
    assert len(list(Bins.propose(DataProfile(Schema((*many[1:], label)), 1000, 100, 40, "time", "click")))) == 30
