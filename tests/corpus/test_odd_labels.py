"""Odd frames with a label: the operations that read labels, bins and histories of attributes meet every odd column too."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from autorec_kernel.errors import DataError
from autorec_kernel.kernel import Kernel

_SPEC = importlib.util.spec_from_file_location("autorec_odd_frames", Path(__file__).with_name("test_odd_frames.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
odd = importlib.util.module_from_spec(_SPEC)
sys.modules[_SPEC.name] = odd
_SPEC.loader.exec_module(odd)

pytestmark = pytest.mark.plugins
frame, ROWS = odd.frame, odd.ROWS

MORE: Mapping[str, Callable[[], pd.DataFrame]] = {
    "negative-ids": lambda: frame().assign(
        user_id=[-(n % 12) - 1 for n in range(ROWS)], item_id=[(n * 7 // 3) % 20 - 10 for n in range(ROWS)]
    ),
    "equal-columns": lambda: frame(a=lambda n: n * 0.5, b=lambda n: n * 0.5, c=lambda n: f"k{n % 4}", d=lambda n: f"k{n % 4}"),
    "whole-numbers-with-gaps": lambda: frame(a=pd.array([None if n % 5 == 0 else n % 9 for n in range(ROWS)], dtype="Int64")),
    "unicode-values": lambda: frame(kind=lambda n: ("größe", "\u05d0", "\U0001f600", "a\u0301", "\u00e1")[n % 5]),
    "control-characters": lambda: frame(kind=lambda n: ("a\x00b", "a\nb", "a\tb", ",")[n % 4]),
    "dates-with-one-zone": lambda: frame(seen=lambda n: pd.Timestamp("2020-01-01", tz="Europe/Berlin") + pd.Timedelta(hours=n)),
    "mostly-nought": lambda: frame(x=lambda n: 0.0 if n % 6 else float(2 ** (n % 17))),
    "two-values": lambda: frame(x=lambda n: float(n % 2)),
    "nothing-but-infinity": lambda: frame(x=lambda n: np.inf),
    "one-gap": lambda: frame(x=lambda n: None if n == 7 else n * 1.0),
    "ids-of-one-event-each": lambda: frame().assign(user_id=[f"u{n}" for n in range(ROWS)]),
}
TABLES: Mapping[str, Callable[[], pd.DataFrame]] = {**{name: make for name, (make, options, _) in odd.GOOD.items() if not options}, **MORE}


@pytest.fixture(scope="module")
def kernel() -> Kernel:
    return Kernel.discover(blocked=["autorec-leaks"])


def rated(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(rating=[(n * 5 // 3) % 5 + 1 for n in range(len(table))])


@pytest.mark.parametrize("name", TABLES)
def test_an_odd_frame_with_a_label_becomes_an_audited_feature_set(name: str, kernel: Kernel) -> None:
    features = odd.built(rated(TABLES[name]()), {"task": "rate"}, kernel)
    assert all(row["reason"] and not row["reason"].startswith(("failed", "propose raised")) for row in features.plan)
    rows = np.concatenate([features.rows("train"), features.rows("valid")])
    for feature in features.schema.features:
        values = features.row_inputs([feature.name], rows)[feature.name]
        assert np.isfinite(values).all(), feature.name
        if feature.kind == "numeric":
            assert np.abs(values).max(initial=0.0) < 1e6, feature.name
        else:
            assert values.min(initial=0) >= 0, feature.name
            assert values.max(initial=0) < feature.size, feature.name


@pytest.mark.parametrize("rows", [1, 2, 5])
@pytest.mark.parametrize("task", ["recommend", "rate"])
def test_a_frame_of_a_few_rows_says_what_is_needed(rows: int, task: str, kernel: Kernel) -> None:
    options: dict[str, Any] = {"task": task}
    with pytest.raises(DataError, match=r"too few rows|constant") as caught:
        odd.built(rated(frame(rows)), options, kernel)
    assert caught.value.hint


def test_mostly_equal_numbers_get_log_bins_and_two_values_none(kernel: Kernel) -> None:
    plans = {name: odd.built(rated(MORE[name]()), {"task": "rate"}, kernel).plan for name in ("mostly-nought", "two-values")}
    found = {name: [row for row in plan if row["op"] == "features/bins" and row["taken"]] for name, plan in plans.items()}
    assert [row["config"]["scale"] for row in found["mostly-nought"]] == ["log"]
    assert found["two-values"] == []
