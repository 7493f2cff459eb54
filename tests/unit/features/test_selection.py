from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from autorec_kernel.contracts.selector import Ranking
from autorec_kernel.errors import PluginError
from autorec_kernel.features import FeatureSet
from autorec_kernel.features.selection import apply_selection, read_selection, select_features


class _Shelf:
    """A kernel with one selector, which keeps and ranks what it is told to."""

    def __init__(self, rank: Callable[[FeatureSet, np.random.Generator], Ranking], curve: Any = None) -> None:
        self.made = SimpleNamespace(rank=rank, curve=curve)

    def components(self, kind: str) -> list[Any]:
        return [SimpleNamespace(id="kit/first", usable=True, tags=()), SimpleNamespace(id="kit/best", usable=True, tags=("default",))]

    def find(self, kind: str, name: str) -> Any:
        return SimpleNamespace(id=f"kit/{name}")

    def create(self, kind: str, name: str, **config: Any) -> Any:
        return self.made


def _by_name(features: FeatureSet, rng: np.random.Generator) -> Ranking:
    """Rank by name, backwards, and keep nothing but the ones that end in `count`."""
    names = sorted(feature.name for feature in features.schema.features)
    scores = {name: float(place) for place, name in enumerate(names)}
    return Ranking(scores, {name: f"place {scores[name]:g}" for name in names}, tuple(n for n in reversed(names) if n.endswith("count")))


def _broken(features: FeatureSet, rng: np.random.Generator) -> Ranking:
    raise ValueError("no")


def test_ids_and_histories_stay_whatever_the_selector_says(build: Callable[..., FeatureSet]) -> None:
    features = build("click")
    found = select_features(features, _Shelf(_by_name), seed=1)  # type: ignore[arg-type]
    assert found.selector == "kit/best" and {"user_id", "item_id", "history"} <= set(found.structure)
    left = found.schema(features.schema)
    names = {feature.name for feature in left.features}
    assert names == {*found.structure, *(n for n in found.scores if n.endswith("count") and n not in found.structure)}
    assert found.dropped and not set(found.dropped) & names
    assert all(reason == f"place {found.scores[name]:g}" for name, reason in found.dropped.items())
    assert left.ranked == found.kept == tuple(sorted(found.kept, reverse=True))


def test_a_selector_without_an_opinion_keeps_everything_in_its_order(build: Callable[..., FeatureSet]) -> None:
    features = build("click")

    def silent(features: FeatureSet, rng: np.random.Generator) -> Ranking:
        ranking = _by_name(features, rng)
        return Ranking(ranking.scores, ranking.reasons)

    found = select_features(features, _Shelf(silent))  # type: ignore[arg-type]
    assert found.dropped == {} and list(found.kept) == sorted(found.kept, reverse=True)
    assert found.schema(features.schema).features == features.schema.features


def test_no_selection_leaves_schema_and_ranking_alone(build: Callable[..., FeatureSet]) -> None:
    features = build("click")
    found = select_features(features, _Shelf(_broken), "none")  # type: ignore[arg-type]
    assert found.schema(features.schema) == features.schema and found.note == "not asked for"


def test_a_broken_selector_stops_only_who_asked_for_it_by_name(build: Callable[..., FeatureSet]) -> None:
    features = build("click")
    found = select_features(features, _Shelf(_broken))  # type: ignore[arg-type]
    assert found.dropped == {} and "ValueError: no" in found.note
    assert found.schema(features.schema) == features.schema
    with pytest.raises(PluginError, match="ValueError: no"):
        select_features(features, _Shelf(_broken), "first")  # type: ignore[arg-type]


def test_the_curve_is_asked_for_the_candidates_in_their_order_and_can_be_left_out(build: Callable[..., FeatureSet]) -> None:
    features, asked = build("click"), list[Any]()

    def curve(features: FeatureSet, names: list[str], rng: np.random.Generator, seconds: float) -> list[dict[str, Any]]:
        asked.append((names, seconds))
        return [{"features": 1, "metric": "auc", "value": 0.5}]

    found = select_features(features, _Shelf(_by_name, curve), curve_seconds=3.0)  # type: ignore[arg-type]
    ((names, seconds),) = asked
    assert names == sorted(names, reverse=True) and not set(names) & set(found.structure) and seconds == 3.0
    assert found.curve == ({"features": 1, "metric": "auc", "value": 0.5},)
    assert select_features(features, _Shelf(_by_name, curve), curve_seconds=0).curve == () and len(asked) == 1  # type: ignore[arg-type]


def test_an_applied_selection_travels_with_the_folder_of_the_feature_set(build: Callable[..., FeatureSet], tmp_path: Path) -> None:
    features = FeatureSet.load(_saved(build("click"), tmp_path))
    before, selection = features.digest, select_features(features, _Shelf(_by_name))  # type: ignore[arg-type]
    assert read_selection(tmp_path) is None
    apply_selection(features, selection, tmp_path)
    again = FeatureSet.load(tmp_path)
    assert again.schema == features.schema == selection.schema(features.schema) and again.schema.ranked
    assert again.digest == features.digest != before
    assert read_selection(tmp_path) == selection
    names, rows = [feature.name for feature in again.schema.features], again.rows("train")[:5]
    assert set(again.row_inputs(names, rows)) == set(again.state().inputs(names, users=rows, items=rows)) == set(names)


def _saved(features: FeatureSet, folder: Path) -> Path:
    features.save(folder)
    return folder
