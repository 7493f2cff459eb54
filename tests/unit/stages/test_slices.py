"""Slices of the test rows: known and new users and items."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from autorec_kernel.cli import summary
from autorec_kernel.deploy.quality import Quality
from autorec_kernel.stages.slices import slices_of

USERS, ITEMS = np.array([1, 0, 2, 0, 0, 3]), np.array([4, 4, 4, 4, 0, 4])


def features(item: str = "film") -> Any:
    return SimpleNamespace(
        rows=lambda split: np.arange(6),
        rows_at=lambda side, rows: {"user": USERS, "item": ITEMS}[side][rows],
        schema=SimpleNamespace(user="who", item=item, users=4),
        evaluation=lambda split: SimpleNamespace(users=np.array([1, 0, 2, 7, 0, 3])),  # 7: a stranger whom a side table names
    )


def test_users_of_lists_are_told_apart_by_what_training_knows() -> None:
    quality = Quality("ndcg@10", 0.5, np.array([1.0, 0.2, 0.5, 0.4, 0.0, 0.6]))
    assert slices_of(quality, features(), "recommend") == {
        "known-users": {"count": 3, "value": pytest.approx(0.7)},
        "new-users": {"count": 3, "value": pytest.approx(0.2)},
    }


def test_rows_are_judged_within_their_slice() -> None:
    labels, scores = np.array([1, 1, 0, 0, 1, 1]), np.array([0.9, 0.1, 0.4, 0.6, 0.8, 0.3])
    found = slices_of(Quality("auc", 0.5, scores, labels), features(), "click")
    assert found["known-users"] == {"count": 3, "value": 0.5}, "of .9 and .3 one is above .4"
    assert found["new-users"] == {"count": 3, "value": 0.5}, "of .1 and .8 one is above .6"
    assert found["new-items"] == {"count": 1, "value": None}, "one class alone has no area"
    assert found["known-items"]["count"] == 5


def test_the_slices_of_a_squared_error_are_its_root() -> None:
    found = slices_of(Quality("rmse", 2.0, np.array([4.0, 9.0, 4.0, 9.0, 9.0, 4.0]), higher=False), features(item=""), "rate")
    assert found == {"known-users": {"count": 3, "value": 2.0}, "new-users": {"count": 3, "value": 3.0}}


def test_predictions_are_no_figure_of_a_slice() -> None:
    assert {row["value"] for row in slices_of(Quality("gauc", 0.6, np.full(6, 0.4)), features(), "click").values()} == {None}


@pytest.mark.parametrize(("metric", "best"), [("auc", "ease"), ("rmse", "bias")])
def test_the_summary_names_the_best_baseline_of_each_slice(metric: str, best: str) -> None:
    slices = {"new-users": {"count": 1200, "value": 0.5}}
    baselines = {"bias": {"slices": {"new-users": {"count": 1200, "value": 0.6}}}, "slow": {"slices": {}}}
    baselines["ease"] = {"slices": {"new-users": {"count": 1200, "value": 0.7}}}
    (line,) = summary._slices({"metric": metric, "compressed": {"slices": slices}, "baselines": baselines})
    assert line == ("new users", "1,200", "0.5000", {"ease": "0.7000", "bias": "0.6000"}[best], best)


def test_the_summary_is_silent_where_nothing_is_new() -> None:
    assert summary._slices({"metric": "auc", "compressed": {"slices": {"known-users": {"count": 3, "value": 0.5}}}, "baselines": {}}) == []
