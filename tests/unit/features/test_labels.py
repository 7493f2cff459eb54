from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autorec_kernel.errors import UnknownNameError
from autorec_kernel.features import FeatureSet, build_features
from autorec_kernel.features.labels import settled, shares_of
from autorec_kernel.kernel import Kernel
from autorec_kernel.records.dataset import Dataset
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.records.table import Table
from autorec_kernel.testing.data import tiny_dataset

NAMES = ("rating", "like", "minutes")


@pytest.fixture(scope="module")
def features(kernel: Kernel) -> FeatureSet:
    return build_features(tiny_dataset(task="click", further=True), kernel, task="click")


def _with(dataset: Dataset, name: str, values: np.ndarray) -> Dataset:
    """Return the data set with another further label in training and validation."""
    first = dataset.train.rows

    def changed(table: Table, part: np.ndarray) -> Table:
        return table.with_columns({name: part})

    return replace(
        dataset,
        train=changed(dataset.train, values[:first]),
        valid=changed(dataset.valid, values[first : first + dataset.valid.rows]),
    )


def test_every_label_is_a_task_and_the_primary_one_comes_first(features: FeatureSet) -> None:
    assert list(features.schema.tasks.items()) == [("rating", "logit"), ("like", "logit"), ("minutes", "value")]
    assert features.schema.label_range["like"][:2] == (0.0, 1.0)
    low, high, mean = features.schema.label_range["minutes"]
    assert low < mean < high > 1.0


@pytest.mark.parametrize(("task", "links"), [("rate", ["value", "logit", "value"]), ("recommend", ["logit", "logit", "value"])])
def test_the_task_of_the_run_decides_about_the_primary_label_only(kernel: Kernel, task: str, links: list[str]) -> None:
    schema = build_features(tiny_dataset(task=task, further=True), kernel, task=task).schema  # type: ignore[arg-type]
    assert list(schema.tasks.values()) == links


def test_labels_are_read_by_name_and_unknown_ones_are_nan(features: FeatureSet) -> None:
    dataset = tiny_dataset(task="click", further=True)
    rows = features.rows("train")
    for name in NAMES:
        assert np.array_equal(features.labels(name)[rows], np.asarray(dataset.train[name], dtype=np.float32), equal_nan=True)
    assert np.isnan(features.labels("like")[rows]).any()
    assert np.array_equal(features.labels(), features.labels("rating"))
    assert np.array_equal(features.labels("click"), features.labels("rating"))
    with pytest.raises(UnknownNameError, match="likes"):
        features.labels("likes")


def test_no_feature_is_made_of_a_label(features: FeatureSet, kernel: Kernel) -> None:
    """Whatever stands in a further label, every value of every feature is what it is without that column."""
    dataset = tiny_dataset(task="click", further=True)
    noise = np.random.default_rng(9).normal(size=dataset.train.rows + dataset.valid.rows)
    plain, other = build_features(tiny_dataset(task="click"), kernel, task="click"), _with(dataset, "minutes", noise)
    found = build_features(other, kernel, task="click")
    assert found.schema.features == plain.schema.features == features.schema.features
    for split in ("train", "valid"):
        assert all(np.array_equal(value, found.parts[split].values[name]) for name, value in plain.parts[split].values.items())
        assert not set(NAMES[1:]) & set(found.parts[split].events)
    assert all(np.array_equal(value, found.static[name]) for name, value in plain.static.items())
    assert not {name for op in found.fitted for name in op.program.inputs} & set(NAMES[1:])


def test_further_labels_are_part_of_the_digest_and_a_single_label_has_the_old_one(features: FeatureSet, kernel: Kernel) -> None:
    dataset = tiny_dataset(task="click", further=True)
    noise = np.random.default_rng(9).normal(size=dataset.train.rows + dataset.valid.rows)
    assert build_features(_with(dataset, "minutes", noise), kernel, task="click").digest != features.digest
    assert build_features(dataset, kernel, task="click").digest == features.digest
    columns = dataset.schema.columns
    swapped = replace(dataset.schema, columns=(*columns[:3], columns[4], columns[3], *columns[5:]))
    assert build_features(replace(dataset, schema=swapped), kernel, task="click").digest != features.digest


def test_a_stored_feature_set_has_all_its_labels(features: FeatureSet, tmp_path: Path) -> None:
    features.save(tmp_path)
    loaded = FeatureSet.load(tmp_path)
    assert list(loaded.schema.tasks) == list(NAMES)
    for name in NAMES:
        assert np.array_equal(loaded.labels(name), features.labels(name), equal_nan=True)


def test_the_share_after_an_event_is_the_same_whether_other_rows_are_zero_or_unknown() -> None:
    click, buy = np.array([1, 1, 1, 1, 0, 0, 0, 0], np.float32), np.array([1, 0, 0, 0, 0, 0, 0, 0], np.float32)
    tasks = {"click": "logit", "buy": "logit", "minutes": "value"}
    for told in (buy, np.where(click == 1, buy, np.nan).astype(np.float32)):
        shares = shares_of({"click": click, "buy": told, "minutes": click}, tasks)
        assert shares == {"click": {"buy": 1.0}, "buy": {"click": 0.25}}
    assert shares_of({"click": click}, {"click": "logit"}) is None
    assert shares_of({"click": click * 0, "buy": buy}, {"click": "logit", "buy": "logit"}) == {"click": {"buy": 0.0}, "buy": {}}


def test_an_unknown_label_is_settled_by_a_zero_of_what_it_implies_and_a_known_one_stays() -> None:
    label, click = np.array([np.nan, np.nan, np.nan, 1, 0], np.float32), np.array([0, 1, np.nan, 0, 1], np.float32)
    assert np.array_equal(settled(label, [click]), np.array([0, np.nan, np.nan, 1, 0], np.float32), equal_nan=True)
    assert np.array_equal(settled(label, []), label, equal_nan=True)


def test_the_schema_holds_shares_of_several_labels_and_says_nothing_of_one(features: FeatureSet, kernel: Kernel) -> None:
    rating, like = features.labels("rating"), features.labels("like")
    rows = features.rows("train")
    after = like[rows][(rating[rows] == 1) & ~np.isnan(like[rows])]
    assert features.schema.shares is not None
    assert features.schema.shares["like"]["rating"] == pytest.approx(after.mean())
    assert FeatureSchema.from_json(features.schema.to_json()) == features.schema
    assert "shares" not in build_features(tiny_dataset(task="click"), kernel, task="click").schema.to_json()


def test_test_labels_come_with_the_opened_test_rows(kernel: Kernel) -> None:
    dataset = tiny_dataset(task="click", further=True)
    features = build_features(dataset, kernel, task="click")
    before = {name: len(features.labels(name)) for name in NAMES}
    dataset.test.fix_plan("test")
    table = dataset.test.open("test")
    features.open_test(table)
    rows = features.rows("test")
    for name in NAMES:
        assert before[name] == len(features.labels(name)) - table.rows
        assert np.array_equal(features.labels(name)[rows], np.asarray(table[name], dtype=np.float32), equal_nan=True)
