"""The kit's laws on crosses that were chosen, and the whole road: a table, its features, the plan, and features built again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import autorec_crosses.plugin
import autorec_features.plugin
from autorec_crosses.crosses import Crosses
from autorec_kernel.data import open_dataset
from autorec_kernel.features import build_features
from autorec_kernel.kernel import Kernel
from autorec_kernel.testing import FeatureOpContract

KERNEL = Kernel({"features": autorec_features.plugin, "crosses": autorec_crosses.plugin})
ROWS = 4000


class TestChosenCrosses(FeatureOpContract):
    component = Crosses
    configs = (
        Crosses.Config(chosen=(("device", "users.country"), ("device", "items.brand", "users.country")), min_count=2),
        Crosses.Config(chosen=(("items.year", "price"), ("users.age", "users.country"), ("price", "when.hour")), min_count=1, levels=4),
        Crosses.Config(chosen=(("item_id", "user_id"), ("device", "user_id")), user="user_id", item="item_id", min_count=1, max_size=20),
    )


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    user, item = rng.integers(0, 200, ROWS), rng.integers(0, 150, ROWS)
    columns = {f"n{k}": rng.integers(0, card, ROWS) for k, card in enumerate((2, 5, 20))}
    device, age = rng.integers(0, 4, ROWS), user % 6
    label = (device + age + item % 3 % 2) % 2
    return pd.DataFrame(
        {
            "user_id": [f"u{one:03d}" for one in user],
            "item_id": [f"i{one:03d}" for one in item],
            "timestamp": 1_600_000_000 + np.arange(ROWS) * 600,
            "device": [f"d{one}" for one in device],
            "age": age,
            **columns,
            "label": np.where(rng.random(ROWS) < 0.02, 1 - label, label),
        }
    )


def sides(frame: pd.DataFrame) -> dict[str, Any]:
    items = pd.DataFrame({"item_id": sorted(frame["item_id"].unique())})
    items["brand"] = [f"b{int(name[1:]) % 3}" for name in items["item_id"]]
    return {"items": items}


def test_the_road_finds_the_cross_and_serves_its_bytes(frame: pd.DataFrame) -> None:
    dataset = open_dataset(frame, task="click", **sides(frame))
    features = build_features(dataset, KERNEL)
    (row,) = (row for row in features.plan if row["op"].endswith("crosses"))
    name = "cross(age,device,items.brand)"
    assert row["taken"] and features.schema[name].depends == "pair"
    assert any(told.startswith(name) for told in row["config"]["told"])
    part = features.parts["valid"]
    rows = features.rows("valid")[:50]
    in_training = features.row_inputs([name], rows)[name]
    assert (in_training > 0).all()
    own = np.asarray(part.events["@item"])[:50, None]
    assert features.pair_inputs([name], rows=rows, candidates=own)[name].reshape(-1).tolist() == in_training.tolist()
    others = features.pair_inputs([name], rows=rows, candidates=np.zeros((50, 1), np.int64))[name]
    assert not others.any()


def test_the_written_plan_rebuilds_the_same_features(frame: pd.DataFrame) -> None:
    dataset = open_dataset(frame, task="click", **sides(frame))
    first = build_features(dataset, KERNEL)
    again = build_features(dataset, KERNEL, plan=first.plan)
    assert again.digest == first.digest


def test_nothing_is_proposed_without_a_label(frame: pd.DataFrame) -> None:
    features = build_features(open_dataset(frame.drop(columns="label")), KERNEL)
    assert not any(row["op"].endswith("crosses") for row in features.plan)
