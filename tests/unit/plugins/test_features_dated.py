"""Dated values (tags): read strictly before the row, the same in serving, and a naive join of them is caught."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

from autorec_features.dated import Dated
from autorec_kernel.contracts.features import RejectColumn
from autorec_kernel.data import open_dataset
from autorec_kernel.errors import DataError
from autorec_kernel.features import audit, build_features, feature_ops
from autorec_kernel.features.feature_set import FeatureSet
from autorec_kernel.kernel import Kernel
from autorec_kernel.records.dataset import Dataset
from autorec_kernel.records.dated import NEVER, dated_parts
from autorec_kernel.records.features import Feature
from autorec_kernel.records.program import Program, ReadContext, Step, run_program
from autorec_kernel.records.table import Coded, Ragged, Table

BILLION = 10**9
TAGS = ("slow", "funny", "dark", "classic", "twist")


def frames(rows: int = 3000, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Ratings, and tags that their users write a minute after them: `good` after a high one, `bad` after a low one; some other tags."""
    rng = np.random.default_rng(seed)
    ratings = pd.DataFrame({"user_id": rng.integers(0, 150, rows), "item_id": rng.integers(0, 60, rows)}).drop_duplicates()
    ratings["rating"] = rng.integers(1, 6, len(ratings))
    ratings["timestamp"] = BILLION + 3600 * np.arange(len(ratings))
    own = ratings.assign(tag=np.where(ratings.rating > 3, "good", "bad"), timestamp=ratings.timestamp + 60)
    other = ratings.sample(400, random_state=seed).assign(tag=rng.choice(TAGS, 400))
    return ratings, pd.concat([own, other])[["user_id", "item_id", "tag", "timestamp"]]


def films(tags: pd.DataFrame, count: int = 60) -> pd.DataFrame:
    said = "@" + tags.timestamp.astype(str) + " " + tags.tag
    lists = said.groupby(tags.item_id).apply(list)
    return pd.DataFrame({"item_id": range(count), "tags": [lists.get(item, []) for item in range(count)]})


def opened(task: str = "rate", **more: Any) -> tuple[Dataset, pd.DataFrame, pd.DataFrame]:
    ratings, tags = frames()
    return open_dataset(ratings, items=films(tags), task=task, **more), ratings, tags  # type: ignore[arg-type]


def text(features: FeatureSet, rows: np.ndarray) -> list[list[str]]:
    """Return the tags that rows read, as texts: the vocabulary is in order of code points."""
    vocabulary = sorted((*TAGS, "good", "bad"))
    assert features.schema["items.tags"].size == len(vocabulary) + 1
    return [[vocabulary[row - 1] for row in bag if row] for bag in rows]


@pytest.fixture(scope="module")
def ops() -> dict[str, Any]:
    found = feature_ops(Kernel.discover(blocked=["autorec-leaks"]))
    return {name: op for name, op in found.items() if name in ("features/id", "features/dated", "features/bag", "features/scale")}


def test_dated_values_are_seen_for_what_they_are_and_told_in_words() -> None:
    dataset, *_ = opened()
    column = next(column for column in dataset.schema.columns if column.name == "tags")
    assert (column.role, column.kind) == ("feature", "dated")
    assert column.reason == "lists of values, each with the moment from which it is known"


def test_lists_that_only_begin_like_dated_values_are_lists() -> None:
    ratings, tags = frames()
    table = films(tags)
    table["tags"] = [[*lists, "@home alone"] for lists in table["tags"]]
    assert next(c.kind for c in open_dataset(ratings, items=table).schema.columns if c.name == "tags") == "multi"
    with pytest.raises(DataError, match="'tags' does not hold lists of dated values"):
        open_dataset(ratings, items=table, kinds={"items.tags": "dated"})


def test_moments_are_unix_seconds_and_what_has_none_is_never_known() -> None:
    moments, said = dated_parts(np.array(["@12 a b", "@-3 c", "@x d", "e", "@9999999999 f", "@5 two\nlines"], dtype=object))
    assert moments.tolist() == [12 * BILLION, -3 * BILLION, NEVER, NEVER, NEVER, 5 * BILLION]
    assert said == ["a b", "c", "", "", "", "two\nlines"]


def test_a_row_reads_the_tags_of_its_film_written_before_it_and_no_others(ops: Mapping[str, Any]) -> None:
    dataset, _, tags = opened()
    features = build_features(dataset, ops, task="rate")
    width = features.schema["items.tags"].width
    rows = np.arange(features.parts["train"].rows)
    found = features.row_inputs(["items.tags", "items.tags.count"], rows)
    end = int(np.asarray(dataset.train["@clock"]).max()) // BILLION
    items, clock = dataset.train["item_id"].text(), np.asarray(dataset.train["@clock"]) // BILLION  # type: ignore[union-attr]
    by_film = {str(item): part.sort_values("timestamp", kind="stable") for item, part in tags[tags.timestamp < end].groupby("item_id")}
    expected = [by_film[item].tag[by_film[item].timestamp < when].tolist() for item, when in zip(items, clock, strict=True)]
    assert text(features, found["items.tags"]) == [before[-width:] for before in expected]
    counted = np.array([(np.log1p(len(before)) - 1.0) * 0.5 for before in expected])
    np.testing.assert_allclose(found["items.tags.count"][:, 0], counted, atol=1e-6)


def test_the_tag_that_came_with_a_rating_is_unknown_to_its_row(ops: Mapping[str, Any]) -> None:
    """The user's own tag of the rated film names the rating; a row whose film nobody tagged before reads nothing."""
    dataset, ratings, tags = opened()
    features = build_features(dataset, ops, task="rate")
    first = ratings.drop_duplicates("item_id")
    silent = {str(row.item_id) for row in first.itertuples() if not (tags[tags.item_id == row.item_id].timestamp < row.timestamp).any()}
    items = dataset.train["item_id"].text()  # type: ignore[union-attr]
    rows = np.array([np.flatnonzero(items == item)[0] for item in silent])
    assert len(rows) > 20
    assert not features.row_inputs(["items.tags"], rows)["items.tags"].any()


def test_nothing_said_after_the_newest_training_event_is_known_to_anything(ops: Mapping[str, Any]) -> None:
    ratings, tags = frames()
    dataset = open_dataset(ratings, items=films(tags), task="recommend")
    end = int(np.asarray(dataset.train["@clock"]).max()) // BILLION
    later = pd.concat([tags, pd.DataFrame({"item_id": range(60), "tag": "slow", "timestamp": end + np.arange(60)})])
    same = open_dataset(ratings, items=films(later), task="recommend")
    first, second = (build_features(one, ops, task="recommend") for one in (dataset, same))
    for part in ("train", "valid"):
        states = [one.state(part).tables["items.tags"].tolist() for one in (first, second)]  # type: ignore[arg-type]
        assert states[0] == states[1]


def test_case_and_blanks_do_not_make_another_tag() -> None:
    column = Ragged(
        Coded(np.array([0, 1, 2, 3], np.int32), np.array(["@1 Dark ", "@2 dark", "@3 Slow", "@4 slow"], object)), np.array([0, 2, 4])
    )
    events = Table({"@item": np.array([1, 2]), "@item_key": np.array([1, 2]), "@clock": np.array([9, 9]) * BILLION}, 2)
    fitted = Dated(Dated.Config(column="tags")).fit(events, {"items": Table({"tags": column}, 2)}, np.random.default_rng(0))
    columns = {"@item_key": np.array([1, 2, 1, 7]), "@clock": np.array([9, 9, 2, 9]) * BILLION}
    found = run_program(fitted.program(), columns, ReadContext(4))
    assert np.asarray(found["newest"]).tolist() == [[1, 1], [2, 2], [1, 0], [0, 0]]


@pytest.mark.parametrize("said", [["@1 a", "@2 b"], ["@1 a", "@2 a"], ["@8 a", "@9 a", "@8 b", "@9 b"]])
def test_values_that_do_not_recur_in_training_reject_the_column(said: list[str]) -> None:
    column = Ragged(Coded(np.arange(len(said), dtype=np.int32), np.array(said, object)), np.array([0, len(said)]))
    events = Table({"@item": np.array([1]), "@item_key": np.array([1]), "@clock": np.array([5 * BILLION])}, 1)
    with pytest.raises(RejectColumn, match="values that occur 2 times or more before the newest event"):
        Dated(Dated.Config(column="tags")).fit(events, {"items": Table({"tags": column}, 1)}, np.random.default_rng(0))


def test_events_folded_in_later_add_no_tags(ops: Mapping[str, Any]) -> None:
    dataset, *_ = opened("click", positive_threshold=4.0)
    features = build_features(dataset, ops, task="click")
    program = next(op.program for op in features.fitted if op.features[0].name == "items.tags")
    later = program.fold({"@item_key": np.array([1, 2, 3]), "@clock": np.array([3, 3, 3]) * 10**18})
    for name, table in program.tables.items():
        assert later.tables[name].values.tolist() == table.values.tolist()


class _Fitted:
    def __init__(self, outputs: tuple[Feature, ...], made: Program) -> None:
        self.outputs, self.made = outputs, made

    def program(self) -> Program:
        return self.made

    def training_values(self, events: Table) -> None:
        return None


class Naive(Dated):
    """The join that lacks the clock: all tags of a film, whenever they were written."""

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Any:
        fitted = super().fit(events, tables, rng)
        feature = Feature(
            "naive", "bag", "item", vocabulary="naive", size=fitted.outputs[0].size, width=fitted.outputs[0].width, family="bag"
        )
        made = fitted.program()
        table = made.tables["said"].latest(np.arange(made.tables["said"].keys), feature.width)
        program = Program(("@item_key",), (Step("gather", ("@item_key",), "all", {"table": "rows"}),), ("all",), {"rows": table})
        return _Fitted((feature,), program)


def test_a_join_of_tags_without_the_clock_is_caught(ops: Mapping[str, Any]) -> None:
    dataset, *_ = opened()
    planted = {**ops, "leaks/naive": Naive}
    report = audit(dataset, build_features(dataset, planted, task="rate"), planted)
    assert {(finding.feature, finding.kind) for finding in report.findings} == {("naive", "future")}


def test_a_join_on_user_and_film_is_caught() -> None:
    """The user's own tag beside the rating that it came with: the raw column gives the label away."""
    ratings, tags = frames()
    own = tags[tags.tag.isin(["good", "bad"])][["user_id", "item_id", "tag"]]
    joined = ratings.merge(own, on=["user_id", "item_id"]).assign(rating=lambda table: (table.rating > 3).astype(int))
    dataset = open_dataset(joined, task="click")
    kernel = Kernel.discover(blocked=["autorec-leaks"])
    report = audit(dataset, build_features(dataset, kernel, task="click"), kernel)
    assert "tag" in {column for finding in report.findings for column in finding.columns if finding.kind == "too good"}


@pytest.mark.parametrize("task", ["rate", "recommend"])
def test_the_join_by_the_clock_passes_the_audit(task: str, ops: Mapping[str, Any]) -> None:
    dataset, *_ = opened(task)
    features = build_features(dataset, ops, task=task)
    report = audit(dataset, features, ops)
    assert report.findings == []
    assert "items.tags" not in report.not_reached


def test_a_served_state_holds_the_newest_tags_of_every_film(ops: Mapping[str, Any]) -> None:
    dataset, _, tags = opened()
    features = build_features(dataset, ops, task="rate")
    end = int(np.asarray(dataset.train["@clock"]).max()) // BILLION
    state, width = features.state("train"), features.schema["items.tags"].width
    rows = state.items.row_of([str(one) for one in range(60)])
    found = state.inputs(["items.tags"], users=np.zeros(60, np.int64), items=rows, columns={})["items.tags"]
    known = tags[tags.timestamp < end].sort_values("timestamp", kind="stable")
    assert text(features, found) == [known[known.item_id == item].tag.tolist()[-width:] for item in range(60)]
