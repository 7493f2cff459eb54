"""Odd frames through the feature stage: every one becomes an audited feature set, or is refused with the column named and a way out."""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

from autorec_kernel.data import open_dataset
from autorec_kernel.errors import DataError
from autorec_kernel.features import FeatureSet, audit, build_features
from autorec_kernel.kernel import Kernel

pytestmark = pytest.mark.plugins

ROWS = 240
Column = Callable[[int], Any]


def frame(rows: int = ROWS, **columns: Any) -> pd.DataFrame:
    """A table of 12 users and 20 items; a function gives a column row by row."""
    stated: dict[str, Any] = {
        "user_id": [f"u{n % 12}" for n in range(rows)],
        "item_id": [f"i{(n * 7 // 3) % 20}" for n in range(rows)],
        "timestamp": [1_000_000_000 + 3600 * n for n in range(rows)],
    }
    more = {name: [value(n) for n in range(rows)] if callable(value) else value for name, value in columns.items()}
    return pd.DataFrame({**stated, **more})


def repeated(table: pd.DataFrame, name: str) -> pd.DataFrame:
    return pd.concat([table, table[[name]]], axis=1)


def zone(n: int) -> datetime.datetime:
    hours = (-8, 0, 5)[n % 3]
    return datetime.datetime(2020, 1, 1 + n % 27, n % 24, tzinfo=datetime.timezone(datetime.timedelta(hours=hours)))


# name -> (table, options, features that must be there)
GOOD: Mapping[str, tuple[Callable[[], pd.DataFrame], Mapping[str, Any], tuple[str, ...]]] = {
    "mixed-types": (lambda: frame(mix=lambda n: (n, f"t{n % 5}", 2.5, None, True)[n % 5]), {}, ("mix",)),
    "missing-here-and-there": (
        lambda: frame(price=lambda n: np.nan if n % 3 else n * 0.5, kind=lambda n: None if n % 4 else f"k{n % 3}"),
        {},
        ("price", "kind"),
    ),
    "lists": (lambda: frame(tags=lambda n: [f"t{n % 3}", f"t{n % 7}"][: n % 3]), {}, ("tags",)),
    "sets-and-tuples": (lambda: frame(tags=lambda n: (f"t{n % 3}",) if n % 2 else {f"s{n % 4}"}), {}, ()),
    "nested-lists": (lambda: frame(deep=lambda n: [[n % 3, 1], [2]]), {}, ()),
    "dictionaries": (lambda: frame(extra=lambda n: {"a": n}), {}, ()),
    "vectors": (lambda: frame(image=lambda n: np.array([n % 5, 1.0, n / 7], np.float32)), {}, ("image",)),
    "vectors-of-unequal-length": (lambda: frame(image=lambda n: [0.5] * (1 + n % 3)), {}, ()),
    "dates": (lambda: frame(seen=lambda n: pd.Timestamp("2020-01-01") + pd.Timedelta(days=n)), {}, ("seen",)),
    "dates-without-times": (lambda: frame(seen=lambda n: datetime.date(2020, 1, 1 + n % 28)), {}, ()),
    "dates-with-mixed-zones": (lambda: frame(seen=zone), {}, ()),
    "dates-before-1970": (lambda: frame().assign(timestamp=[-2_000_000_000 + 3600 * n for n in range(ROWS)]), {}, ("user.count",)),
    "durations": (lambda: frame(took=lambda n: pd.Timedelta(seconds=n)), {}, ()),
    "decimals": (lambda: frame(price=lambda n: decimal.Decimal(n) / 3), {}, ()),
    "complex-numbers": (lambda: frame(z=lambda n: complex(n, 1)), {}, ()),
    "bytes": (lambda: frame(raw=lambda n: b"\xff\xfe" + bytes([n % 7])), {}, ()),
    "constants": (lambda: frame(same=lambda n: "x", one=lambda n: 1.0, empty=lambda n: ""), {}, ()),
    "all-unique-texts": (lambda: frame(key=lambda n: f"key-{n}"), {}, ()),
    "all-missing": (lambda: frame(nothing=lambda n: None, nan=lambda n: np.nan, nat=lambda n: pd.NaT), {}, ()),
    "ids-only": (lambda: frame()[["user_id", "item_id"]], {}, ("user_id", "item_id")),
    "ids-and-a-label-only": (lambda: frame(rating=lambda n: n % 5)[["user_id", "item_id", "rating"]], {"task": "rate"}, ("user.mean",)),
    "empty-strings": (lambda: frame(kind=lambda n: ("", " ", "a", "b")[n % 4]), {}, ("kind",)),
    "booleans": (lambda: frame(flag=lambda n: n % 3 == 0), {}, ("flag",)),
    "booleans-with-gaps": (
        lambda: frame(flag=pd.array([None if n % 5 == 0 else n % 2 == 0 for n in range(ROWS)], dtype="boolean")),
        {},
        ("flag",),
    ),
    "unicode-names": (
        lambda: frame(**{"größe \N{SNOWMAN}": lambda n: n * 1.5, "\u05d0": lambda n: f"v{n % 3}", "a.b": lambda n: n % 7}),
        {},
        ("größe \N{SNOWMAN}",),
    ),
    "names-of-the-kernel": (
        lambda: frame(**{"@user": lambda n: n % 3, "history": lambda n: n * 0.5, "user.count": lambda n: n * 1.5}),
        {},
        (),
    ),
    "names-of-linked-data": (
        lambda: frame(
            **{"@type": lambda n: f"t{n % 3}", "@id": lambda n: f"x{n}", "@clock": lambda n: n * 0.5, "kind": lambda n: f"k{n % 3}"}
        ),
        {},
        ("kind",),
    ),
    "names-of-steps": (
        lambda: frame(
            **{"out": lambda n: n * 0.5 % 7, "row": lambda n: f"r{n % 3}", "log": lambda n: n % 5 * 1.5, ".value": lambda n: n * 1.0}
        ).assign(rows=[[f"a{n % 3}", "b"] for n in range(ROWS)]),
        {},
        ("out", "row", "log", "rows"),
    ),
    "names-with-commas": (
        lambda: frame(
            **{"a": lambda n: f"v{n % 2}", "b,c": lambda n: f"v{n % 3}", "a,b": lambda n: f"v{n % 5}", "c": lambda n: f"v{n % 7}"}
        ),
        {},
        ("a", "b,c", "a,b", "c"),
    ),
    "names-that-are-numbers": (lambda: frame(**{"0": lambda n: n * 0.5}).rename(columns={"0": 0}), {}, ()),
    "infinities": (lambda: frame(price=lambda n: (np.inf, -np.inf, 1.0, 2.0, np.nan)[n % 5]), {}, ("price",)),
    "huge-integers": (lambda: frame(big=lambda n: 2**63 + n, small=lambda n: -(2**62) + n), {}, ()),
    "integers-beyond-64-bits": (lambda: frame(big=lambda n: 10**30 + n), {}, ()),
    "unsigned-and-tiny-floats": (
        lambda: frame(a=np.arange(ROWS, dtype=np.uint8), b=np.full(ROWS, 5e-324) * np.arange(ROWS), c=np.arange(ROWS, dtype=np.float16)),
        {},
        ("a",),
    ),
    "categories-of-pandas": (lambda: frame(kind=pd.Categorical([f"k{n % 4}" for n in range(ROWS)], ordered=True)), {}, ("kind",)),
    "strings-of-arrow": (
        lambda: frame(kind=pd.array([None if n % 9 == 0 else f"k{n % 4}" for n in range(ROWS)], dtype="string")),
        {},
        ("kind",),
    ),
    "sparse-numbers": (lambda: frame(rare=pd.arrays.SparseArray([float(n % 10 == 0) for n in range(ROWS)])), {}, ()),
    "intervals-and-periods": (
        lambda: frame(age=pd.cut(np.arange(ROWS), 5), month=pd.period_range("2020-01", periods=ROWS, freq="D")),
        {},
        (),
    ),
    "an-odd-index": (
        lambda: frame(price=lambda n: n * 0.5).set_index(pd.MultiIndex.from_arrays([[1] * ROWS, ["x"] * ROWS])),
        {},
        ("price",),
    ),
    "one-busy-user": (lambda: frame().assign(user_id=["a"] * 230 + [f"u{n}" for n in range(10)]), {}, ("user_id",)),
    "clock-with-a-zone": (
        lambda: frame().assign(timestamp=pd.date_range("2024-03-30 22:00", periods=ROWS, freq="h", tz="Europe/Berlin")),
        {},
        ("user.count",),
    ),
    "clock-in-mixed-zones": (lambda: frame().assign(timestamp=[zone(n) for n in range(ROWS)]), {}, ("user.count",)),
    "clock-at-nought": (lambda: frame().assign(timestamp=[n - 120 for n in range(ROWS)]), {}, ("user.count",)),
    "clock-of-one-moment": (lambda: frame().assign(timestamp=1_700_000_000), {"protocol": "random"}, ("user_id",)),
    "clock-with-gaps": (lambda: frame().assign(timestamp=[None if n == 7 else 10**9 + 60 * n for n in range(ROWS)]), {}, ("user.count",)),
    "clock-in-text": (lambda: frame().assign(timestamp=[f"2024-05-{1 + n // 24:02d} {n % 24:02d}:00" for n in range(ROWS)]), {}, ()),
    "clock-in-milliseconds": (lambda: frame().assign(timestamp=[1000 * (10**9 + 60 * n) for n in range(ROWS)]), {}, ("user.count",)),
    "lists-of-lists-and-nothing": (lambda: frame(deep=lambda n: None if n % 2 else [[f"t{n % 3}"], []]), {}, ()),
    "lists-of-dictionaries": (lambda: frame(deep=lambda n: [{"a": n}, {"b": "x"}]), {}, ()),
    "lists-with-gaps": (lambda: frame(tags=lambda n: (None, [], ["a", None, f"t{n % 4}"], ["", "b"])[n % 4]), {}, ("tags",)),
    "lists-of-ten-thousand": (lambda: frame(tags=lambda n: [f"t{k % 9}" for k in range(10_000 if n == 5 else 1)]), {}, ("tags",)),
    "lists-of-dates": (lambda: frame(seen=lambda n: [datetime.date(2020, 1, 1 + n % 28)] * (n % 3)), {}, ()),
    "dictionaries-with-gaps": (lambda: frame(extra=lambda n: None if n % 3 else {"a": {"b": n}}), {}, ()),
    "booleans-with-none": (lambda: frame(flag=lambda n: (None, True, False)[n % 3]), {}, ("flag",)),
    "booleans-in-text": (lambda: frame(flag=lambda n: ("True", "false", "")[n % 3]), {}, ("flag",)),
    "decimals-with-gaps": (lambda: frame(price=lambda n: None if n % 4 == 0 else decimal.Decimal(n) / 7), {}, ("price",)),
    "decimals-beyond-floats": (lambda: frame(price=lambda n: decimal.Decimal(f"1E{300 + n}")), {}, ()),
    "infinity-in-text": (lambda: frame(price=lambda n: ("inf", "-inf", "1.5", "nan", "2")[n % 5]), {}, ("price",)),
    "infinite-nearly-always": (lambda: frame(price=lambda n: 1.0 * n if n % 60 == 0 else np.inf), {}, ()),
    "numbers-near-the-end-of-floats": (lambda: frame(price=lambda n: (1.7e308, -1.7e308, 1e-308, 0.0)[n % 4]), {}, ()),
    "whole-numbers-of-pandas-with-gaps": (
        lambda: frame(count=pd.array([None if n % 6 == 0 else n for n in range(ROWS)], dtype="Int64")),
        {},
        ("count",),
    ),
    "floats-of-pandas-with-gaps": (
        lambda: frame(price=pd.array([None if n % 6 == 0 else n / 3 for n in range(ROWS)], dtype="Float64")),
        {},
        ("price",),
    ),
    "columns-of-arrow": (
        lambda: frame(price=lambda n: n * 0.5, kind=lambda n: f"k{n % 3}").convert_dtypes(dtype_backend="pyarrow"),
        {},
        ("price", "kind"),
    ),
    "categories-that-are-numbers": (lambda: frame(kind=pd.Categorical([n % 4 for n in range(ROWS)])), {}, ()),
    "categories-never-used": (
        lambda: frame(kind=pd.Categorical([f"k{n % 3}" for n in range(ROWS)], categories=[f"k{n}" for n in range(500)])),
        {},
        ("kind",),
    ),
    "categories-with-gaps": (lambda: frame(kind=pd.Categorical([None if n % 5 else f"k{n % 4}" for n in range(ROWS)])), {}, ("kind",)),
    "names-with-spaces-and-quotes": (
        lambda: frame(
            **{" price in \u20ac ": lambda n: n * 0.5, 'a "b"': lambda n: f"v{n % 3}", "it's": lambda n: n % 7, "a,b;c": lambda n: n * 2.5}
        ),
        {},
        ("price in \u20ac", 'a "b"'),
    ),
    "names-of-emoji": (
        lambda: frame(**{"\N{GRINNING FACE}": lambda n: n * 0.5, "\u200b": lambda n: f"v{n % 3}"}),
        {},
        ("\N{GRINNING FACE}",),
    ),
    "names-that-are-reserved": (
        lambda: frame(**{name: lambda n: n * 0.5 for name in ("class", "None", "select", "__class__", "order", "@clock", "users.age")}),
        {},
        ("class", "select"),
    ),
    "names-that-are-paths": (
        lambda: frame(**{"../x": lambda n: n * 0.5, "C:\\y": lambda n: f"v{n % 3}", "a/b": lambda n: n % 9}),
        {},
        ("../x",),
    ),
    "names-of-two-levels": (
        lambda: pd.DataFrame({("a", "user_id"): frame()["user_id"], ("a", "item_id"): frame()["item_id"]}).droplevel(0, axis=1),
        {},
        ("user_id", "item_id"),
    ),
    "names-longer-than-a-line": (lambda: frame(**{"x" * 5000: lambda n: n * 0.5}), {}, ("x" * 5000,)),
    "very-long-texts": (lambda: frame(story=lambda n: f"word{n % 50} " * 20_000), {}, ()),
    "texts-with-every-control-character": (lambda: frame(story=lambda n: f"{chr(n % 32)}\u202e\x00a{n % 5}"), {}, ()),
    "texts-that-look-like-commands": (
        lambda: frame(note=lambda n: ("=1+1", "{{7*7}}", "__import__('os')", "'; DROP TABLE x")[n % 4]),
        {},
        ("note",),
    ),
    "ids-beyond-floats": (lambda: frame().assign(user_id=[2**53 + 1 + n % 12 for n in range(ROWS)]), {}, ("user_id",)),
    "ids-of-64-bits": (
        lambda: frame().assign(user_id=np.array([2**64 - 1 - n % 12 for n in range(ROWS)], dtype=np.uint64)),
        {},
        ("user_id",),
    ),
    "ids-that-are-floats-with-gaps": (
        lambda: frame().assign(user_id=[np.nan if n % 50 == 0 else float(n % 12) for n in range(ROWS)]),
        {},
        ("user_id",),
    ),
    "ids-of-pandas-with-gaps": (
        lambda: frame().assign(user_id=pd.array([None if n % 50 == 0 else n % 12 for n in range(ROWS)], dtype="Int64")),
        {},
        ("user_id",),
    ),
    "ids-that-are-bytes": (lambda: frame().assign(user_id=[f"u{n % 12}".encode() for n in range(ROWS)]), {}, ("user_id",)),
    "ids-that-are-emoji": (lambda: frame().assign(user_id=[chr(0x1F600 + n % 12) for n in range(ROWS)]), {}, ("user_id",)),
    "ids-that-are-booleans": (lambda: frame().assign(user_id=[n % 2 == 0 for n in range(ROWS)]), {}, ("user_id",)),
    "ids-that-are-negative": (lambda: frame().assign(user_id=[-(n % 12) for n in range(ROWS)]), {}, ("user_id",)),
    "ids-that-are-categories": (lambda: frame().assign(user_id=pd.Categorical([f"u{n % 12}" for n in range(ROWS)])), {}, ("user_id",)),
    "ids-with-blanks": (lambda: frame().assign(user_id=[(" ", "", "a", "a ", "b", "c")[n % 6] for n in range(ROWS)]), {}, ("user_id",)),
    "ids-of-mixed-types": (lambda: frame().assign(user_id=[n % 6 if n % 2 else f"u{n % 6}" for n in range(ROWS)]), {}, ("user_id",)),
    "ids-of-ten-thousand-characters": (
        lambda: frame().assign(user_id=[f"u{n % 12}" + "x" * 10_000 for n in range(ROWS)]),
        {},
        ("user_id",),
    ),
    "every-user-once": (lambda: frame().assign(user_id=[f"u{n}" for n in range(ROWS)]), {}, ("item_id",)),
    "every-item-once": (lambda: frame().assign(item_id=[f"i{n}" for n in range(ROWS)]), {}, ("user_id",)),
    "the-same-row-again-and-again": (lambda: pd.concat([frame(30)] * 8, ignore_index=True), {}, ("user_id",)),
    "ratings-with-gaps": (lambda: frame(rating=lambda n: None if n % 7 == 0 else n % 5), {"task": "rate"}, ("user.mean",)),
    "a-hundred-columns": (lambda: frame(**{f"x{k}": (lambda n, k=k: (n * (k + 3)) % 17) for k in range(100)}), {}, ("x1",)),
    "clicks-nearly-always": (lambda: frame(click=lambda n: int(n % 40 != 0)), {"task": "click"}, ("user_id",)),
}

# name -> (table, options, what the error names, a phrase of the way out)
BAD: Mapping[str, tuple[Callable[[], pd.DataFrame], Mapping[str, Any], str]] = {
    "one-user": (lambda: frame().assign(user_id="u1"), {}, "user"),
    "one-item": (lambda: frame().assign(item_id="i1"), {}, "item"),
    "two-rows": (lambda: frame(2), {}, "too few rows"),
    "no-rows": (lambda: frame(0), {}, "no rows"),
    "duplicate-column-names": (lambda: repeated(frame(price=lambda n: n * 0.5), "price"), {}, "'price'"),
    "label-of-lists": (lambda: frame(rating=lambda n: [1, 2]), {"task": "rate"}, "rating"),
    "all-items-missing": (lambda: frame().assign(item_id=np.nan), {}, "item"),
    "all-clicks-equal": (lambda: frame(click=lambda n: 1), {"task": "click"}, "click"),
    "ratings-all-missing": (lambda: frame(rating=lambda n: None), {"task": "rate"}, "rating"),
    "ratings-infinite": (lambda: frame(rating=lambda n: np.inf), {"task": "rate"}, "rating"),
    "ratings-in-words": (lambda: frame(rating=lambda n: ("good", "bad")[n % 2]), {"task": "rate"}, "rating"),
    "clicks-of-three-values": (lambda: frame(click=lambda n: n % 3), {"task": "click"}, "click"),
    "no-columns": (lambda: pd.DataFrame(index=range(20)), {}, "no columns"),
    "numbers-without-names-of-roles": (
        lambda: pd.DataFrame(np.random.default_rng(0).normal(size=(50, 3)), columns=["a", "b", "c"]),
        {},
        "user",
    ),
    "ids-that-are-lists": (lambda: frame().assign(user_id=[[n % 5] for n in range(ROWS)]), {}, "user"),
    "names-equal-but-for-blanks": (lambda: frame(**{"price": lambda n: n * 0.5, "price ": lambda n: n * 1.5}), {}, "'price'"),
    "a-clock-beyond-its-years": (
        lambda: frame().assign(timestamp=[datetime.datetime(3000, 1, 1 + n % 28) for n in range(ROWS)]),
        {},
        "1678 to 2261",
    ),
    "all-ratings-equal": (lambda: frame(rating=lambda n: 3.0), {"task": "rate"}, "'rating' is constant"),
    "ratings-without-bounds": (lambda: frame(rating=lambda n: (-1) ** n * 10.0 ** (n % 200)), {"task": "rate"}, "'rating', data row 40"),
    "lone-surrogates": (lambda: frame(note=pd.Series(["\ud800"] * ROWS, dtype=object)), {}, "'note'"),
    "all-users-missing": (lambda: frame().assign(user_id=None), {}, "user"),
}


@pytest.fixture(scope="module")
def kernel() -> Kernel:
    return Kernel.discover(blocked=["autorec-leaks"])


def built(table: pd.DataFrame, options: Mapping[str, Any], kernel: Kernel) -> FeatureSet:
    dataset = open_dataset(table, kernel=kernel, **options)
    features = build_features(dataset, kernel, task=options.get("task", "recommend"))
    report = audit(dataset, features, kernel)
    assert [finding for finding in report.findings if finding.kind != "too good"] == []
    return features


def test_there_are_as_many_odd_frames_as_promised() -> None:
    assert len(GOOD) + len(BAD) >= 110


@pytest.mark.parametrize("name", GOOD)
def test_an_odd_frame_becomes_an_audited_feature_set(name: str, kernel: Kernel) -> None:
    make, options, wanted = GOOD[name]
    features = built(make(), options, kernel)
    names = {feature.name for feature in features.schema.features}
    assert {"user_id", "item_id", *wanted} <= names
    assert all(row["reason"] and not row["reason"].startswith(("failed", "propose raised")) for row in features.plan)
    rows = np.concatenate([features.rows("train"), features.rows("valid")])
    for feature in features.schema.features:
        values = features.row_inputs([feature.name], rows)[feature.name]
        assert np.isfinite(values).all(), feature.name
        if feature.kind == "numeric":
            assert np.abs(values).max(initial=0.0) < 1e6, feature.name


@pytest.mark.parametrize("name", BAD)
def test_a_frame_that_cannot_be_used_names_the_column_and_the_way_out(name: str, kernel: Kernel) -> None:
    make, options, phrase = BAD[name]
    with pytest.raises(DataError) as caught:
        built(make(), options, kernel)
    assert phrase in str(caught.value)
    assert caught.value.hint


@pytest.mark.slow
def test_a_million_categories_are_a_feature_set_too(kernel: Kernel) -> None:
    rng = np.random.default_rng(0)
    rows = 1_200_000
    table = pd.DataFrame(
        {"user_id": rng.integers(0, 5000, rows), "item_id": rng.integers(0, 9000, rows), "page": rng.permutation(rows) % 1_000_000}
    )
    table["timestamp"] = 10**9 + np.arange(rows)
    table["page"] = "p" + table["page"].astype(str)
    features = built(table, {}, kernel)
    assert {"user_id", "item_id", "page"} <= {row["config"].get("column") for row in features.plan}
