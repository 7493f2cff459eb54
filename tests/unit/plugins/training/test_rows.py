from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from autorec_kernel.data import open_dataset
from autorec_kernel.features import FeatureSet, build_features
from autorec_kernel.kernel import Kernel
from autorec_kernel.records.table import Coded
from autorec_training.rows import row_map


def events(items: list[str], **columns: list[Any]) -> pd.DataFrame:
    """Return one event a row, each of the next of five users, a minute apart."""
    count = len(items)
    users, times = [f"u{n % 5}" for n in range(count)], 1_600_000_000 + 60 * np.arange(count)
    return pd.DataFrame({"user_id": users, "item_id": items, "timestamp": times, "rating": [1.0 + n % 5 for n in range(count)], **columns})


def built(kernel: Kernel, frame: pd.DataFrame, *plan: tuple[str, dict[str, Any]], **sides: pd.DataFrame) -> FeatureSet:
    """Build the features that a plan names, beside users and items; all events but the last two are training rows."""
    frame = frame.assign(part=["train"] * (len(frame) - 2) + ["valid", "test"])
    kinds = {"tags": "multi"} if sides else {}
    dataset = open_dataset(frame, task="rate", protocol="given", roles={"part": "split"}, kinds=kinds, kernel=kernel, **sides)
    ids = [("features/id", {"column": f"{entity}_id", "entity": entity}) for entity in ("user", "item")]
    rows = [{"op": op, "config": config, "seconds": 0.0, "reason": "", "taken": True} for op, config in (*ids, *plan)]
    return build_features(dataset, kernel, plan=rows, task="rate")


def coded(*values: str) -> Coded:
    """Return a column of texts."""
    return Coded(np.arange(len(values), dtype=np.int32), np.array([*values, None], dtype=object)[:-1])


def texts(features: FeatureSet, name: str) -> dict[str, int]:
    """Return text → row of a feature whose program is one look-up."""
    op = next(op for op in features.fitted if name in [feature.name for feature in op.features])
    column = np.array(op.program.arrays["ids.bytes"])
    bounds = op.program.arrays["ids.offsets"]
    return {bytes(column[a:b]).decode(): row for row, (a, b) in enumerate(pairwise(bounds), 1)}


def test_ids_are_told_apart_by_their_text_whatever_their_row(kernel: Kernel) -> None:
    before = built(kernel, events(["b", "c", "d"] * 4))
    after = built(kernel, events(["a", "d", "c"] * 4))
    found = row_map(before, after, "item")
    assert found.rows.tolist() == [0, 0, 2, 3]  # a is new, c was row 2, d was row 3; b is gone
    assert (found.known, found.size) == (2, 4)
    assert row_map(before, after, "user").rows.tolist() == [0, 1, 2, 3, 4, 5]


def test_of_what_is_unrelated_nothing_is_known(kernel: Kernel) -> None:
    one = built(kernel, events(["b", "c", "d"] * 4))
    assert row_map(one, one, "item", ("item",)).rows.tolist() == [0, 0, 0, 0]
    assert row_map(one, one, "item", ("user",)).rows.tolist() == [0, 1, 2, 3]
    assert row_map(one, one, "brand").reason == "the run has no such vocabulary"


def test_categories_and_members_of_lists_go_by_their_text(kernel: Kernel) -> None:
    plan = ("features/id", {"column": "shop"}), ("features/bag", {"column": "tags", "source": "items"})
    items = pd.DataFrame({"item_id": ["i", "j"], "tags": ["red|blue", "blue|green"]})
    before = built(kernel, events(["i", "j"] * 8, shop=["x", "y"] * 8), *plan, items=items)
    later = pd.DataFrame({"item_id": ["i", "j"], "tags": ["amber|green", "red|amber"]})
    after = built(kernel, events(["i", "j"] * 8, shop=["w", "y"] * 8), *plan, items=later)
    shop, tags = row_map(before, after, "shop"), row_map(before, after, "items.tags")
    assert shop.rows.tolist() == [0, 0, 2]
    assert tags.rows.tolist() == [0, 0, 2, 3]  # amber is new; green and red behind blue


def test_a_text_that_was_hashed_was_its_bucket_and_buckets_stay_buckets(kernel: Kernel) -> None:
    rng = np.random.default_rng(0)
    rare = [f"r{n}" for n in range(200)]
    plan = ("features/id", {"column": "shop", "min_count": 3, "tail_buckets": 4})
    first = ["x"] * 100 + ["y"] * 100 + rare
    before = built(kernel, events(["i"] * 402, shop=[*rng.permutation(first), "x", "x"]), plan)
    second = ["y"] * 100 + ["r7"] * 50 + ["new"] * 50 + [f"s{n}" for n in range(200)]
    after = built(kernel, events(["i"] * 402, shop=[*rng.permutation(second), "y", "y"]), plan)
    found, now, was = row_map(before, after, "shop").rows, texts(after, "shop"), texts(before, "shop")
    program = next(op.program for op in before.fitted if op.features[0].name == "shop")
    asked = program.computed([program.outputs[0]], {"shop": coded("r7", "new")})
    buckets = asked[program.outputs[0]].tolist()
    assert found[now["y"]] == was["y"] and [found[now["r7"]], found[now["new"]]] == buckets and min(buckets) > len(was)
    assert found[len(now) + 1 :].tolist() == [len(was) + 1 + n for n in range(4)]


def test_a_bin_was_the_bin_that_its_middle_lies_in(kernel: Kernel) -> None:
    plan = ("features/bins", {"column": "price", "bins": 4, "scale": "quantile"})
    before = built(kernel, events(["i", "j"] * 21, price=[float(n) for n in range(42)]), plan)
    same = built(kernel, events(["j", "k"] * 21, price=[float(n) for n in range(42)]), plan)
    after = built(kernel, events(["i", "j"] * 21, price=[float(2 * n) for n in range(42)]), plan)
    assert row_map(before, same, "price.bin").rows.tolist() == [0, 1, 2, 3, 4]
    found = row_map(before, after, "price.bin").rows.tolist()  # edges 10, 20, 30 were; 20, 40, 60 are: middles 10, 30, 50, 70
    assert found == [0, 2, 4, 4, 4]


def test_a_cross_goes_by_the_texts_that_it_combines(kernel: Kernel) -> None:
    op = next(row.id for row in kernel.components("feature-op") if row.id.startswith("crosses/"))
    plan = (op, {"columns": ["shop", "day"], "chosen": [["shop", "day"]], "min_count": 1})
    first = events(["i", "j"] * 10, shop=["x", "y"] * 10, day=["m", "m", "t", "t"] * 5)
    second = events(["i", "j"] * 10, shop=["a", "y"] * 10, day=["m", "m", "t", "t"] * 5)
    before, after = built(kernel, first, plan), built(kernel, second, plan)
    name = next(feature.vocabulary for feature in after.schema.features if feature.family == "cross")
    found = row_map(before, after, name).rows
    assert sorted(found.tolist()) == [0, 0, 0, 3, 4]  # y with m and with t; what has a is new
