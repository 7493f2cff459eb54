"""The first feature operations: known answers, and what each does with odd columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from autorec_features.bag import Bag
from autorec_features.counts import Counts
from autorec_features.history import History
from autorec_features.identity import Identity
from autorec_features.means import Means
from autorec_features.scale import Scale
from autorec_features.time_parts import TimeParts
from autorec_features.vector import Vector
from autorec_kernel.contracts.features import DataProfile, RejectColumn
from autorec_kernel.records.dataset import MISSING_TIME
from autorec_kernel.records.program import ReadContext, run_program
from autorec_kernel.records.schema import Column, Schema
from autorec_kernel.records.table import ColumnData, Table
from autorec_kernel.testing.data import coded, ragged

RNG = np.random.default_rng(0)
NONE = {"users": Table(), "items": Table()}
DAY = 86_400_000_000_000


def fit(op: Any, tables: Mapping[str, Table] = NONE, **columns: ColumnData) -> Any:
    rows = len(next(iter(columns.values()))) if columns else 0
    return op.fit(Table(kernel_columns(columns), rows), tables, RNG)


def values(fitted: Any, rows: int, **columns: ColumnData) -> np.ndarray:
    program = fitted.program()
    return np.asarray(run_program(program, kernel_columns(columns), ReadContext(rows))[program.outputs[0]])


def kernel_columns(columns: Mapping[str, ColumnData]) -> dict[str, ColumnData]:
    """Return `at_user` as `@user` and `@user_key`, others likewise."""
    named = {name.replace("at_", "@"): column for name, column in columns.items()}
    return {**named, **{f"{name}_key": named[name] for name in ("@user", "@item") if name in named}}


def scaled(column: np.ndarray, new: np.ndarray | None = None, **options: Any) -> np.ndarray:
    fitted = fit(Scale(Scale.Config(column="x", **options)), x=column)
    return values(fitted, len(column if new is None else new), x=column if new is None else new)


class TestIdentity:
    def test_rows_follow_the_order_of_texts_and_unseen_is_zero(self) -> None:
        fitted = fit(Identity(Identity.Config(column="x")), x=coded(["pear", "apple", "pear"]))
        assert values(fitted, 4, x=coded(["apple", "pear", "kiwi", None])).tolist() == [1, 2, 0, 0]
        assert fitted.outputs[0].size == 3

    def test_rare_categories_read_as_unknown_but_ids_are_kept_whole(self) -> None:
        column = coded(["a", "a", "b", "b", "c"])
        assert fit(Identity(Identity.Config(column="x", min_count=2)), x=column).outputs[0].size == 3
        assert fit(Identity(Identity.Config(column="x", min_count=2, entity="item")), x=column).outputs[0].size == 4

    def test_a_constant_category_is_rejected_but_a_single_item_is_not(self) -> None:
        with pytest.raises(RejectColumn, match="1 categories"):
            fit(Identity(Identity.Config(column="x")), x=coded(["a", "a", None]))
        assert fit(Identity(Identity.Config(column="x", entity="item")), x=coded(["a", "a"])).outputs[0].size == 2

    def test_numbers_and_their_texts_are_one_category(self) -> None:
        fitted = fit(Identity(Identity.Config(column="x")), x=np.array([1.0, 2.0, 2.0]))
        assert values(fitted, 2, x=coded(["2", "1.0"])).tolist() == [2, 0]
        assert values(fitted, 1, x=np.array([2.0])).tolist() == [2]

    def test_leading_zeros_make_another_id(self) -> None:
        fitted = fit(Identity(Identity.Config(column="x", entity="user")), x=coded(["007", "7"]))
        assert values(fitted, 2, x=coded(["7", "007"])).tolist() == [2, 1]

    def test_texts_of_no_training_row_are_not_learnt(self) -> None:
        column = coded(["a", "b", "z"])
        fitted = fit(Identity(Identity.Config(column="x")), x=type(column)(column.codes[:2], column.values))
        assert fitted.outputs[0].size == 3


class TestScale:
    def test_plain_numbers_get_mean_zero_and_deviation_one(self) -> None:
        column = np.random.default_rng(0).normal(50, 7, 5000)
        found = scaled(column)
        assert found.mean() == pytest.approx(0, abs=1e-4) and found.std() == pytest.approx(1, abs=1e-3)

    def test_heavy_tails_go_on_a_log_scale_and_others_do_not(self) -> None:
        rng = np.random.default_rng(0)
        heavy, light = np.exp(2 * rng.normal(size=3000)), rng.uniform(size=3000)
        assert np.array_equal(scaled(heavy), scaled(heavy, log="yes")) and not np.array_equal(scaled(heavy), scaled(heavy, log="no"))
        assert np.array_equal(scaled(light), scaled(light, log="no"))

    def test_missing_values_take_the_mean_and_are_flagged(self) -> None:
        column = np.array([1.0, 3.0, np.nan])
        assert scaled(column).tolist() == [[-1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]

    def test_a_gap_that_training_never_had_takes_the_mean(self) -> None:
        assert scaled(np.array([1.0, 3.0]), np.array([np.nan])).tolist() == [[0.0]]

    @pytest.mark.parametrize("column", [[1.0, 2.0, np.inf], [1e308, -1e308, 0.0], [5e-324, 0.0], [1e308, 1.7e308, 1e307]])
    def test_hostile_numbers_stay_small_and_finite(self, column: list[float]) -> None:
        wild = np.array([np.inf, -np.inf, np.nan, 1.7e308, -1.7e308])
        found = scaled(np.array(column), wild)
        assert np.isfinite(found).all() and np.abs(found).max() <= 10

    @pytest.mark.parametrize(("column", "reason"), [([2.0, 2.0], "constant"), ([np.nan, np.inf], "no finite value")])
    def test_columns_of_no_use_are_rejected(self, column: list[float], reason: str) -> None:
        with pytest.raises(RejectColumn, match=reason):
            scaled(np.array(column))

    def test_text_is_rejected(self) -> None:
        with pytest.raises(RejectColumn, match="holds no numbers"):
            fit(Scale(Scale.Config(column="x")), x=coded(["a", "b"]))

    def test_times_scale_like_numbers(self) -> None:
        column = np.array([0, DAY, 2 * DAY, MISSING_TIME])
        assert scaled(column)[3].tolist() == [0.0, 1.0] and scaled(column)[1, 0] == pytest.approx(0, abs=1e-6)


def test_a_bag_keeps_its_longest_row_up_to_the_limit() -> None:
    column = ragged([["a", "b", "c"], ["b"], []])
    tables = {**NONE, "items": Table({"g": column}, 3)}
    fitted = fit(Bag(Bag.Config(column="g")), tables)
    assert fitted.outputs[0].width == 3 and fitted.outputs[0].depends == "item"
    short = fit(Bag(Bag.Config(column="g", max_length=2)), tables)
    assert run_program(short.program(), {"items.g": column}, ReadContext(3))[".rows"].tolist() == [[1, 2], [2, 0], [0, 0]]  # type: ignore[union-attr]
    with pytest.raises(RejectColumn, match="1 values"):
        fit(Bag(Bag.Config(column="g", min_count=2)), tables)


def test_vectors_are_standardised_and_gaps_are_zero() -> None:
    column = np.array([[1.0, 5.0], [3.0, 5.0], [np.nan, 5.0]], dtype=np.float32)
    fitted = fit(Vector(Vector.Config(column="v", source="events")), v=column)
    assert values(fitted, 3, v=column).tolist() == [[-1.0, 0.0], [1.0, 0.0], [0.0, 0.0]]
    assert values(fitted, 1).tolist() == [[0.0, 0.0]]
    with pytest.raises(RejectColumn, match="same vector"):
        fit(Vector(Vector.Config(column="v", source="events")), v=column[2:])


def test_time_parts_are_those_that_training_can_teach() -> None:
    hours = np.arange(0, 40 * 24, 5) * (DAY // 24)
    told = {output.name for output in fit(TimeParts(TimeParts.Config(column="t")), t=hours).outputs}
    assert told == {"t.hour", "t.weekday"}
    days = np.arange(0, 800, 3) * DAY  # dates without hours
    assert {o.name for o in fit(TimeParts(TimeParts.Config(column="t")), t=days).outputs} == {"t.weekday", "t.month"}
    with pytest.raises(RejectColumn, match="spans too little"):
        fit(TimeParts(TimeParts.Config(column="t")), t=hours[:5])


def events(clock: list[int], users: list[int], items: list[int], labels: list[float]) -> dict[str, np.ndarray]:
    return {
        "at_user": np.array(users),
        "at_item": np.array(items),
        "at_clock": np.array(clock),
        "at_order": np.arange(len(clock)),
        "at_positive": np.ones(len(clock), np.int64),
        "rating": np.array(labels),
    }


def test_means_are_shrunk_to_the_prior_and_see_only_earlier_labels() -> None:
    data = events([1, 2, 2, 3], [1, 2, 3, 4], [1, 1, 1, 1], [5.0, 3.0, np.nan, 1.0])
    fitted = fit(Means(Means.Config(entity="item", prior=3.0, spread=2.0, strength=2.0)), **data)
    expected = [0.0, 1 / 3, 1 / 3, 1 / 4]  # (sum of (label - 3) / 2) / (count + 2)
    assert values(fitted, 4, **data)[:, 0] == pytest.approx(expected)
    assert fitted.training_values(Table()) is None
    plain = run_program(fitted.program(), kernel_columns(data), ReadContext(4))["plain"]
    assert np.asarray(plain)[:, 0] == pytest.approx([0.0, 1.0, 1.0, 0.5])


def test_counts_are_logarithms_of_what_came_before() -> None:
    data = events([1, 2, 2, 3], [1, 1, 1, 1], [1, 2, 3, 1], [0.0] * 4)
    fitted = fit(Counts(Counts.Config(entity="user")), **data)
    assert values(fitted, 4, **data)[:, 0] == pytest.approx((np.log1p([0, 1, 1, 3]) - 2) / 2)


@pytest.mark.parametrize("entity", ["user", "item"])
def test_without_a_clock_counts_leave_out_the_row_or_its_user(entity: str) -> None:
    data = events([0] * 5, [1, 1, 2, 2, 3], [1, 1, 1, 2, 2], [0.0] * 5)
    fitted = fit(Counts(Counts.Config(entity=entity, clock="none")), **data)
    expected = [1, 1, 1, 1, 0] if entity == "user" else [1, 1, 2, 1, 1]
    training = fitted.training_values(Table())[f"{entity}.count"][:, 0]
    assert training == pytest.approx((np.log1p(expected) - 2) / 2)
    everything = [2, 2, 2, 2, 1] if entity == "user" else [3, 3, 3, 2, 2]
    assert values(fitted, 5, **data)[:, 0] == pytest.approx((np.log1p(everything) - 2) / 2)


@pytest.mark.parametrize(("entity", "clock"), [("user", "none"), ("item", "none"), ("item", "position")])
def test_without_a_clock_a_rows_mean_does_not_change_with_its_own_label(entity: str, clock: str) -> None:
    rng = np.random.default_rng(1)
    data = events([0] * 60, rng.integers(1, 9, 60).tolist(), rng.integers(1, 5, 60).tolist(), rng.integers(1, 6, 60).tolist())
    op = Means(Means.Config(entity=entity, clock=clock, prior=3.0))
    before = fit(op, **data).training_values(Table())[f"{entity}.mean"]
    for row in range(0, 60, 7):
        changed = data["rating"].astype(float)
        changed[row] += 100
        after = fit(op, **{**data, "rating": changed}).training_values(Table())[f"{entity}.mean"]
        assert after[row] == before[row]
    assert np.ptp(before) > 0


@pytest.mark.parametrize("clock", ["none", "position"])
def test_without_a_common_clock_an_items_mean_leaves_out_all_labels_of_the_rows_user(clock: str) -> None:
    rng = np.random.default_rng(3)
    data = events([0] * 90, rng.integers(1, 9, 90).tolist(), rng.integers(1, 5, 90).tolist(), rng.integers(1, 6, 90).tolist())
    op = Means(Means.Config(entity="item", clock=clock, prior=3.0))
    before = fit(op, **data).training_values(Table())
    mine = data["at_user"] == 4
    after = fit(op, **{**data, "rating": np.where(mine, 6.0 - data["rating"], data["rating"])}).training_values(Table())
    for name in ("item.mean", "item.mean.plain"):
        assert np.array_equal(after[name][mine], before[name][mine])
        assert not np.array_equal(after[name][~mine], before[name][~mine])


@pytest.mark.parametrize("entity", ["user", "item"])
@pytest.mark.parametrize("clock", ["time", "position", "none"])
def test_shuffled_labels_teach_nothing(entity: str, clock: str) -> None:
    rng = np.random.default_rng(2)
    rows = 4000
    data = events(
        list(range(rows)), rng.integers(1, 80, rows).tolist(), rng.integers(1, 80, rows).tolist(), rng.integers(0, 2, rows).tolist()
    )
    fitted = fit(Means(Means.Config(entity=entity, clock=clock, prior=0.5, spread=0.5)), **data)
    training = fitted.training_values(Table())
    found = values(fitted, rows, **data)[:, 0] if training is None else training[f"{entity}.mean"][:, 0]
    positive = data["rating"] == 1
    ranks = found.argsort().argsort() + 1.0
    for value in np.unique(found):
        ranks[found == value] = ranks[found == value].mean()
    ones, zeros = positive.sum(), (~positive).sum()
    auc = (ranks[positive].sum() - ones * (ones + 1) / 2) / (ones * zeros)
    deviation = np.sqrt((rows + 1) / (12 * ones * zeros))
    assert abs(auc - 0.5) < 4 * deviation


def test_planted_taste_shows_in_item_means() -> None:
    rng = np.random.default_rng(3)
    items = rng.integers(1, 11, 2000)
    data = events(list(range(2000)), [1] * 2000, items.tolist(), (items >= 6).astype(float).tolist())
    fitted = fit(Means(Means.Config(entity="item", prior=0.5, spread=0.5)), **data)
    late = values(fitted, 2000, **data)[500:, 0]
    assert (late[items[500:] >= 6] > 0.5).all() and (late[items[500:] < 6] < -0.5).all()


def test_histories_hold_positive_items_only() -> None:
    data = {**events([1, 2, 3, 4], [1, 1, 1, 1], [4, 5, 6, 7], [0.0] * 4), "at_positive": np.array([1, 0, 1, 1])}
    fitted = fit(History(History.Config(length=2)), **data)
    assert values(fitted, 4, **data).tolist() == [[0, 0], [4, 0], [4, 0], [4, 6]]


def profile(*columns: Column, task: str = "recommend", **facts: float) -> DataProfile:
    return DataProfile(Schema(columns), 1000, 50, 40, "time", task, facts)


def test_every_op_proposes_where_it_applies_and_nowhere_else() -> None:
    full = profile(
        Column("u", "user", "id"),
        Column("i", "item", "id"),
        Column("y", "label", "numeric"),
        Column("t", "time", "time"),
        Column("c", "feature", "categorical"),
        Column("g", "feature", "multi", "items"),
        Column("n", "feature", "numeric", "users"),
        Column("v", "feature", "vector", "items"),
        Column("words", "feature", "text", "items"),
        Column("x", "ignore", "numeric"),
        label_mean=3.0,
        label_std=1.0,
    )
    found = {op.__name__: [p.config for p in op.propose(full)] for op in (Identity, Bag, Scale, Vector, TimeParts, Counts, Means, History)}  # type: ignore[attr-defined]
    assert [c.column for c in found["Identity"]] == ["u", "i", "c"]
    assert [(c.column, c.source) for c in found["Bag"] + found["Scale"] + found["Vector"]] == [
        ("g", "items"),
        ("n", "users"),
        ("v", "items"),
    ]
    assert [c.column for c in found["TimeParts"]] == ["t"] and len(found["History"]) == 1
    assert [c.entity for c in found["Means"]] == [c.entity for c in found["Counts"]] == ["user", "item"]
    bare = profile(Column("n", "feature", "numeric"))
    assert [op.__name__ for op in (Identity, Bag, Scale, Vector, TimeParts, Counts, Means, History) if list(op.propose(bare))] == ["Scale"]  # type: ignore[attr-defined]


def test_means_need_a_label_that_varies() -> None:
    columns = Column("u", "user", "id"), Column("y", "label", "numeric")
    assert not list(Means.propose(profile(*columns, label_mean=1.0, label_std=0.0)))
    assert not list(Means.propose(profile(columns[0])))


def test_long_histories_are_proposed_as_asked() -> None:
    columns = Column("u", "user", "id"), Column("i", "item", "id")
    assert next(iter(History.propose(profile(*columns, history_length=20.0)))).config.length == 20  # type: ignore[attr-defined]
