"""Which features a run keeps: where a selector is asked, and that a refit goes by what was kept then."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from autorec_kernel.contracts.selector import Ranking
from autorec_kernel.features import FeatureSet
from autorec_kernel.features.selection import read_selection
from autorec_kernel.kernel import Kernel
from autorec_kernel.recipe import Recipe
from autorec_kernel.records.dataset import Dataset
from autorec_kernel.records.features import Feature, FeatureSchema
from autorec_kernel.stages.prepare import features_of, narrowed, ops_of, selected
from autorec_kernel.testing.data import tiny_dataset


class Shelf:
    """A kernel with one selector, the default one: it ranks by name, backwards, drops the last third, and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def components(self, kind: str) -> list[Any]:
        return [SimpleNamespace(id="kit/usual", usable=True, tags=("default",))]

    def find(self, kind: str, name: str) -> Any:
        return SimpleNamespace(id=f"kit/{name}")

    def create(self, kind: str, name: str, **config: Any) -> Any:
        self.asked.append(name)
        return self

    def rank(self, features: FeatureSet, rng: np.random.Generator) -> Ranking:
        names = sorted((feature.name for feature in features.schema.features), reverse=True)
        scores = {name: 1.0 / place for place, name in enumerate(names, 1)}
        return Ranking(scores, dict.fromkeys(names, "by name"), tuple(names[: len(names) * 2 // 3]))


def blank(rows: int) -> Any:
    schema = FeatureSchema(tuple(Feature(name, "numeric", "row") for name in "abc"))
    return SimpleNamespace(schema=schema, digest="", rows=lambda split: np.arange(rows))


def ask(rows: int, **recipe: Any) -> tuple[list[str], Any]:
    shelf, features = Shelf(), blank(rows)
    selected(features, shelf, Recipe(**recipe), None, 0.0)  # type: ignore[arg-type]
    return shelf.asked, features.schema


def test_the_default_selector_is_asked_where_there_is_enough_to_learn_from() -> None:
    asked, schema = ask(5000, task="click")
    assert asked == ["kit/usual"]
    assert schema.ranked == ("c", "b")
    assert [feature.name for feature in schema.features] == ["b", "c"]


@pytest.mark.parametrize(
    ("rows", "recipe"),
    [
        (5000, {"task": "click", "features": "raw"}),
        (5000, {"task": "recommend"}),
        (4999, {"task": "click"}),
        (4999, {"task": "rate"}),
        (5000, {"task": "rate", "selector": "none"}),
    ],
)
def test_raw_columns_recommendations_and_small_data_keep_everything_unranked(rows: int, recipe: dict[str, Any]) -> None:
    asked, schema = ask(rows, **recipe)
    assert asked == []
    assert schema == blank(rows).schema


@pytest.mark.parametrize("recipe", [{"task": "click", "features": "raw"}, {"task": "recommend"}, {"task": "rate"}])
def test_a_selector_that_is_asked_for_by_name_is_asked_anywhere(recipe: dict[str, Any]) -> None:
    asked, schema = ask(100, selector="other", **recipe)
    assert asked == ["kit/other"]
    assert schema.ranked == ("c", "b")


def test_raw_takes_the_columns_as_they_are_and_auto_every_op() -> None:
    plugin = pytest.importorskip("autorec_features.plugin")
    kernel = Kernel({"features": plugin})
    assert ops_of(kernel, Recipe(task="rate")) is kernel
    raw = ops_of(kernel, Recipe(task="rate", features="raw"))
    assert set(raw) == {f"features/{name}" for name in ("bag", "history", "id", "scale", "vector")}  # type: ignore[arg-type]


@pytest.fixture
def place() -> Any:
    plugin = pytest.importorskip("autorec_features.plugin")
    recipe = Recipe(task="click", selector="usual")
    return SimpleNamespace(kernel=Kernel({"features": plugin}), recipe=recipe, first_share=lambda _: None, first_memory=lambda: None)


@pytest.fixture
def dataset() -> Dataset:
    return tiny_dataset(task="click")


def test_a_refit_keeps_what_the_search_kept_and_asks_nobody_again(
    place: Any, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf, folder = Shelf(), tmp_path / "features"
    features = features_of(place, dataset, folder)
    before = {feature.name for feature in features.schema.features}
    selected(features, shelf, place.recipe, folder, 0.0)  # type: ignore[arg-type]
    again = features_of(place, dataset.final(), None, plan=features.plan)
    assert {feature.name for feature in again.schema.features} == before
    for name in ("labels", "labels_at", "rows", "positive_rows", "row_inputs"):
        monkeypatch.setattr(FeatureSet, name, forbidden)
    built = again.digest
    final = narrowed(again, folder)
    assert shelf.asked == ["kit/usual"]
    assert [feature.name for feature in final.schema.features] == [feature.name for feature in features.schema.features]
    assert len(before) > len(final.schema.features) > 2
    assert final.schema.ranked == features.schema.ranked
    assert final.digest != built


def test_a_resumed_run_reads_the_narrowed_features_and_their_order(place: Any, dataset: Dataset, tmp_path: Path) -> None:
    features = features_of(place, dataset, tmp_path)
    selected(features, Shelf(), place.recipe, tmp_path, 0.0)  # type: ignore[arg-type]
    back = FeatureSet.load(tmp_path)
    assert (back.schema, back.digest) == (features.schema, features.digest)
    kept = read_selection(tmp_path)
    assert kept is not None
    assert kept.kept == features.schema.ranked


def test_labels_of_the_refit_do_not_change_what_is_kept(place: Any, dataset: Dataset, tmp_path: Path) -> None:
    features = features_of(place, dataset, tmp_path)
    selected(features, Shelf(), place.recipe, tmp_path, 0.0)  # type: ignore[arg-type]
    whole = dataset.final()
    labels = np.asarray(whole.train["rating"])
    for label in (labels, np.random.default_rng(0).permutation(labels)):
        train = whole.train.with_columns({"rating": label})
        again = features_of(place, replace(whole, train=train), None, plan=features.plan)
        assert [f.name for f in narrowed(again, tmp_path).schema.features] == [f.name for f in features.schema.features]


def test_a_folder_without_a_selection_leaves_the_features_as_they_are(place: Any, dataset: Dataset, tmp_path: Path) -> None:
    features = features_of(place, dataset, None)
    schema, digest = features.schema, features.digest
    found = narrowed(features, tmp_path)
    assert (found.schema, found.digest) == (schema, digest)


def forbidden(*_: Any, **__: Any) -> Any:
    raise AssertionError("a refit that reuses a selection has nothing to read")
