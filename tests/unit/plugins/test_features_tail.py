"""Ids with a tail: frequent categories keep a row each, rare and unseen ones share hashed rows that rare ones of training taught."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from autorec_features.identity import Identity
from autorec_kernel.contracts.features import DataProfile, RejectColumn
from autorec_kernel.data import open_dataset
from autorec_kernel.features import build_features
from autorec_kernel.kernel import Kernel
from autorec_kernel.records.program import ReadContext, Step, run_program
from autorec_kernel.records.schema import Column, Schema
from autorec_kernel.records.table import Coded, Table
from autorec_kernel.testing.checks.feature_leaks import check_future_changes_no_past, check_unused_values_teach_nothing
from autorec_kernel.testing.checks.feature_ops import check_fit_is_deterministic, check_many_rows_equal_one_by_one
from autorec_kernel.testing.data import coded
from autorec_kernel.testing.feature_cases import example_dataset, fitted_on, world


def draws(rows: int = 4000, seed: int = 0) -> list[str | None]:
    ranks = np.random.default_rng(seed).zipf(1.3, rows)
    return [None if rank == 5 else f"c{rank}" for rank in ranks]


def fit(column: Coded, **options: Any) -> Any:
    none = {"users": Table(), "items": Table()}
    return Identity(Identity.Config(column="x", **options)).fit(Table({"x": column}, len(column)), none, np.random.default_rng(0))


def rows_of(fitted: Any, texts: list[str | None]) -> np.ndarray:
    program = fitted.program()
    return np.asarray(run_program(program, {"x": coded(texts)}, ReadContext(len(texts)))[program.outputs[0]])


def bucket(text: str, buckets: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"x{text}".encode(), digest_size=8).digest(), "little") % buckets


def test_frequent_categories_keep_rows_and_all_others_are_hashed_behind_them() -> None:
    texts = draws()
    fitted = fit(coded(texts), min_count=5, tail_buckets=8)
    counts = Counter(text for text in texts if text is not None)
    own = sorted(text for text, count in counts.items() if count >= 5)
    expected = [0 if text is None else own.index(text) + 1 if text in own else len(own) + 1 + bucket(text, 8) for text in texts]
    assert rows_of(fitted, texts).tolist() == expected
    assert fitted.outputs[0].size == len(own) + 1 + 8


def test_a_category_that_training_never_saw_reads_a_bucket_and_a_missing_one_row_zero() -> None:
    texts = draws()
    fitted = fit(coded(texts), min_count=5, tail_buckets=8)
    size = fitted.outputs[0].size
    found = rows_of(fitted, ["never", "seen", "before", None])
    assert found.tolist() == [*(size - 8 + bucket(text, 8) for text in ("never", "seen", "before")), 0]
    assert not run_program(fitted.program(), {}, ReadContext(3))[fitted.program().outputs[0]].any()  # type: ignore[union-attr]


def test_every_bucket_was_taught_by_rare_categories_of_training() -> None:
    texts = draws(3000)
    counts = Counter(text for text in texts if text is not None)
    rare = [text for text, count in counts.items() if count < 5]
    fitted = fit(coded(texts), min_count=5, tail_buckets=2**20)
    buckets = fitted.config.tail_buckets
    assert 2 <= buckets <= len(rare) // 16
    first = fitted.outputs[0].size - buckets
    assert set(rows_of(fitted, rare)) == set(range(first, first + buckets))


def test_a_short_tail_reads_as_unknown() -> None:
    texts: list[str | None] = [*["a", "b"] * 9, *[f"rare {i}" for i in range(31)]]
    fitted = fit(coded(texts), min_count=5, tail_buckets=8)
    assert fitted.config.tail_buckets == 0
    assert rows_of(fitted, ["a", "b", "rare 1", "new"]).tolist() == [1, 2, 0, 0]
    with pytest.raises(RejectColumn, match="0 categories"):
        fit(coded(texts[18:]), min_count=5, tail_buckets=8)


def test_users_and_items_are_never_hashed() -> None:
    fitted = fit(coded([f"u{i}" for i in range(100)]), entity="user", min_count=5, tail_buckets=8)
    assert fitted.outputs[0].size == 101
    assert rows_of(fitted, ["stranger"]).tolist() == [0]


def test_fitting_with_the_written_config_decides_the_same() -> None:
    column = coded(draws())
    fitted = fit(column, min_count=5, tail_buckets=64)
    again = Identity(fitted.config).fit(Table({"x": column}, len(column)), {}, np.random.default_rng(1))
    assert again.config == fitted.config
    assert again.outputs == fitted.outputs
    assert "bytes a dimension" in fitted.config.told


def test_a_program_without_a_tail_is_what_it_was() -> None:
    assert fit(coded(["a", "b", "a"])).program().steps == (Step("lookup", ("x",), ".row", {"vocabulary": "ids"}),)
    assert fit(coded(["a", "b", "a"])).config is None


def test_a_tail_is_proposed_for_very_large_columns_only() -> None:
    columns = [Column(f"c{n}", "feature", "categorical", distinct=n) for n in (50, 5_000, 500_000)]
    profile = DataProfile(Schema(tuple(columns)), 10**6, 0, 0, "none", "click")
    found = {p.config.column: (p.config.min_count, p.config.tail_buckets, p.bytes) for p in Identity.propose(profile)}  # type: ignore[attr-defined]
    assert [found[f"c{n}"][:2] for n in (50, 5_000, 500_000)] == [(1, 0), (2, 0), (5, 1024)]
    assert found["c500000"][2] > found["c50"][2]


@pytest.mark.parametrize(
    "law", [check_fit_is_deterministic, check_future_changes_no_past, check_many_rows_equal_one_by_one, check_unused_values_teach_nothing]
)
def test_a_hashed_tail_keeps_the_laws_of_the_kit(law: Callable[[Any, Any], None]) -> None:
    config = Identity.Config(column="price", min_count=3, tail_buckets=4)
    assert fitted_on(Identity, config, world(example_dataset(), "recommend"))[0].config.tail_buckets == 4
    law(Identity, config)


def test_training_and_serving_hash_alike_and_the_plan_tells_what_it_costs(kernel: Kernel) -> None:
    rng = np.random.default_rng(0)
    pages = [f"p{n}" for n in rng.zipf(1.15, 120_000) % 10**6]
    table = pd.DataFrame({"page": pages, "click": rng.integers(0, 2, len(pages))})
    features = build_features(
        open_dataset(table, kernel=kernel, task="click", roles={"click": "label"}, kinds={"page": "categorical"}), kernel, task="click"
    )
    row = next(row for row in features.plan if row["config"].get("column") == "page" and row["op"] == "features/id")
    assert row["taken"]
    assert row["config"]["tail_buckets"] > 0
    assert "rare categories" in row["config"]["told"]
    asked = [*pages[:200], "never seen"]
    column = coded(list(asked))
    served = features.state().inputs(["page"], columns={"page": column})["page"]
    program = next(op for op in features.fitted if op.features[0].name == "page").program
    assert np.array_equal(served, run_program(program, {"page": column}, ReadContext(len(asked)))[program.outputs[0]])  # type: ignore[arg-type]
    assert served[-1] > features.schema["page"].size - 1 - row["config"]["tail_buckets"]
