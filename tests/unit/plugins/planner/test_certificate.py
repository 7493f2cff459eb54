"""The certificate: one rule for a loss, slices, a cold start, and what is measured beside."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from serving_toys import TOYS, sample, schema, write_toy

from autorec_kernel.contracts import Candidate, Checked, Evidence, Target
from autorec_kernel.deploy.plan import exported
from autorec_kernel.deploy.quality import Quality
from autorec_kernel.records.architecture import Architecture
from autorec_kernel.records.model import TrainedModel
from autorec_kernel.records.trial import Cost, Trial
from autorec_kernel.space import Genotype
from autorec_planner import certificate as paper
from autorec_planner.certificate import certificate
from autorec_planner.cold import cold_start
from autorec_planner.slices import by_slice, masks
from autorec_planner.verdict import judged

TARGET = Target("kit", max_drop=0.01, max_doubt=0.05)
BASE = np.linspace(0.2, 0.8, 400)


def quality(parts: np.ndarray) -> Quality:
    return Quality("ndcg@10", float(parts.mean()), parts)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (np.zeros(400), "accepted"),
        (np.full(400, 0.1), "accepted"),
        (np.full(400, -0.004), "accepted"),
        (np.full(400, -0.006), "refused"),
        (np.resize([0.4, -0.4], 400), "not enough data"),
    ],
)
def test_a_loss_is_accepted_refused_or_not_to_be_told(change: np.ndarray, word: str) -> None:
    found = judged(quality(BASE + change), quality(BASE), TARGET, 0)
    assert found.word == word
    assert found.gain == pytest.approx(change.mean() / 0.5, abs=1e-6)
    assert found.low <= found.gain <= found.high


def test_other_users_cannot_be_compared() -> None:
    found = judged(quality(BASE[:3]), quality(BASE), TARGET, 0)
    assert (found.word, found.to_json()["gain"]) == ("not enough data", None)


def asked(histories: list[int], positives: list[list[int]], users: list[int]) -> Any:
    class Asked(SimpleNamespace):
        def __len__(self) -> int:
            return len(self.users)

    return Asked(
        users=np.array(users),
        history_offsets=np.cumsum([0, *histories]),
        positive_offsets=np.cumsum([0, *map(len, positives)]),
        positive_items=np.array([item for row in positives for item in row]),
    )


def features_of(items: list[int], users: list[int], test: tuple[list[int], list[int]] = ([], [])) -> Any:
    columns = {"item": np.array([*items, *test[1]]), "user": np.array([*users, *test[0]])}
    rows = {"train": np.arange(len(items)), "test": len(items) + np.arange(len(test[0]))}
    return SimpleNamespace(
        schema=SimpleNamespace(item="item_id", user="user_id", users=4, items=9),
        rows=lambda split: rows[split],
        rows_at=lambda side, rows: columns[side][rows],
    )


def test_lists_are_sliced_by_items_to_find_histories_and_strangers() -> None:
    """Item 1 holds half of the events; a user with one of two items in the tail counts as tail."""
    features = features_of([1, 1, 1, 1, 2, 2, 3, 4], [1] * 8)
    found = masks(features, "recommend", asked([1, 5, 9], [[1], [1, 4], [8]], [1, 2, 0]))
    assert {name: mask.tolist() for name, mask in found.items()} == {
        "head-items": [True, False, False],
        "tail-items": [False, True, True],
        "short-histories": [True, True, False],
        "long-histories": [False, False, True],
        "cold-users": [False, False, True],
    }


def test_rows_are_sliced_alike() -> None:
    features = features_of([1, 1, 1, 2, 3, 3], [1, 1, 1, 1, 2, 2], ([1, 2, 0], [1, 2, 0]))
    found = masks(features, "click", None)
    assert {name: mask.tolist() for name, mask in found.items()} == {
        "head-items": [True, False, False],
        "tail-items": [False, True, False],
        "new-items": [False, False, True],
        "short-histories": [False, True, True],
        "long-histories": [True, False, False],
        "cold-users": [False, False, True],
    }


def test_each_slice_has_its_own_verdict_and_empty_ones_are_left_out() -> None:
    half = np.arange(400) < 200
    qualities = {"before": quality(BASE), "after": quality(BASE - 0.1 * half)}
    found = by_slice(qualities, {"first": half, "second": ~half, "none": np.zeros(400, bool)}, TARGET, 0)
    assert {name: (row["count"], row["verdict"]) for name, row in found.items()} == {"first": (200, "refused"), "second": (200, "accepted")}
    assert found["first"]["before"] - found["first"]["after"] == pytest.approx(0.1)


def test_areas_and_errors_are_computed_on_the_slice() -> None:
    labels, scores = np.array([0.0, 1.0, 0.0, 1.0]), np.array([0.1, 0.9, 0.8, 0.2])
    both = {name: Quality("auc", 0.5, scores, labels) for name in ("before", "after")}
    found = by_slice(both, {"one": np.array([1, 1, 0, 0], bool), "flat": np.array([1, 0, 0, 0], bool)}, TARGET, 0)
    assert found["one"]["after"] == 1.0 and "flat" not in found
    errors = {name: Quality("rmse", 1.0, np.array([4.0, 4.0, 0.0]), None, False) for name in ("before", "after")}
    assert by_slice(errors, {"one": np.array([1, 1, 0], bool)}, TARGET, 0)["one"]["before"] == 2.0


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "bundle"
    write_toy(folder, "factors")
    return folder


def test_a_cold_start_is_measured_without_torch(written: Path) -> None:
    found = cold_start(written, "retriever")
    assert found["torch"] is False
    assert 0.02 < found["cpu_seconds"] < 20 and 20_000_000 < found["peak_bytes"] < 300_000_000


def test_a_start_that_fails_says_why(tmp_path: Path) -> None:
    assert "no-bundle" in cold_start(tmp_path / "no-bundle", "retriever")["error"]


def test_the_certificate_has_all_of_it(written: Path, monkeypatch: Any) -> None:
    start: Candidate = exported(TrainedModel(Architecture((), {}), TOYS["factors"](), schema()), sample(("user_id",)))
    monkeypatch.setattr(paper, "masks", lambda *told: {"all": np.ones(400, bool)})
    features: Any = None
    target = Target("kit", max_drop=0.01, batch=4, max_memory=1000)
    qualities = {"before": quality(BASE), "after": quality(BASE - 0.001)}
    evidence = Evidence(target, "recommend", start, start, sample(("user_id",)), features, None, qualities, Checked(), written)
    found = certificate(evidence)
    assert json.loads(json.dumps(found, allow_nan=False))["verdict"] == "accepted"
    assert (round(found["before"], 9), found["slices"]["all"]["n"], found["bytes"]["after"]) == (0.5, 400, start.bytes)
    manifest = json.loads((written / "manifest.json").read_bytes())
    assert found["content_digest"] == manifest["content_digest"]
    assert set(found["measured"]["one"]) == set(found["measured"]["batch"]) == {"torch", "onnxruntime", "served"}
    assert all(row["p50_ms"] > 0 and row["p99_ms"] >= row["p50_ms"] for row in found["measured"]["batch"].values())
    assert found["missed"]["max_memory"]["measured"] > 1000  # no process answers from a kilobyte
    assert found["not_compared_with"] and not found["small"]


def test_the_best_trial_of_as_few_bytes_is_named(written: Path, monkeypatch: Any) -> None:
    """1,000 bytes served: trials of up to 4,000 in float32 are as small in eight bits; no other kinds of trials count."""
    start: Candidate = exported(TrainedModel(Architecture((), {}), TOYS["factors"](), schema()), sample(("user_id",)))
    monkeypatch.setattr(paper, "masks", lambda *told: {"all": np.ones(400, bool)})
    values = {0: (0.50, 9000), 1: (0.44, 3000), 2: (0.45, 4000), 3: (0.49, 4001), 4: (0.45, 2000)}
    trials = [Trial(number, Genotype(), "complete", (value,), cost=Cost(bytes=size)) for number, (value, size) in values.items()]
    few = {"cost": Cost(bytes=100)}
    trials.append(Trial(5, Genotype(), "failed", **few))
    trials.append(Trial(6, Genotype(), "stopped", (0.9,), **few))
    trials.append(Trial(7, Genotype(), "complete", (0.5,), details={"same_as": 0}, **few))
    trials.append(Trial(8, Genotype(), "complete", (0.8,), rung=-1, **few))
    trials.append(Trial(9, Genotype(), "complete", (float("nan"),), **few))
    features: Any = None
    given = (Target("kit"), "recommend", start, replace(start, bytes=1000), sample(("user_id",)), features, None)
    qualities = {"before": quality(BASE), "after": quality(BASE)}
    found = certificate(Evidence(*given, qualities, Checked(), written, trials=trials, trial=0))
    assert found["small"] == {"trial": 2, "architecture": "", "bytes": 1000, "gain": -0.1}
