"""The audit of a run: every planted leak is caught by name, and no first-party op ever alarms."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from autorec_kernel.cli.main import main
from autorec_kernel.data import open_dataset
from autorec_kernel.errors import LeakError, UnknownNameError
from autorec_kernel.features import AuditReport, audit, build_features, feature_ops
from autorec_kernel.kernel import Kernel
from autorec_kernel.records.dataset import Dataset
from autorec_kernel.testing.data import tiny_dataset
from autorec_kernel.testing.feature_cases import SETTINGS, example_dataset

LEAKS = Path(__file__).parents[1] / "leaks"
PLANTED = {
    "future-count": ("item.to_come", "future"),
    "item-mean-of-all": ("item.mean_of_all", "future"),
    "late-rows-only": ("item.late_mean", "future"),
    "next-item": ("user.next_item", "future"),
    "own-label": ("row.copy", "own label"),
    "popularity-to-come": ("item.popularity", "future"),
    "target-without-folds": ("user.target", "own label"),
    "training-values": ("item.honest", "own label"),
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the wheel of leaking ops is installed."""
    folder = tmp_path_factory.mktemp("leaks")
    shutil.copytree(LEAKS, folder / "project", ignore=shutil.ignore_patterns("__pycache__"))
    script = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    words = [sys.executable, "-c", script, str(folder)]
    done = subprocess.run(words, cwd=folder / "project", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(folder / done.stdout.strip().splitlines()[-1]) as wheel:
        wheel.extractall(folder / "site")
    return folder / "site"


@pytest.fixture(scope="module")
def with_leaks(site: Path) -> Iterator[Kernel]:
    """A kernel that discovers the wheel; the path is left as it was found."""
    sys.path.insert(0, str(site))
    yield Kernel.discover()
    sys.path.remove(str(site))
    for name in [name for name in sys.modules if name.split(".")[0] == "autorec_leaks"]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def first_party() -> Kernel:
    return Kernel.discover(blocked=["autorec-leaks"])


def frame(rows: int = 3000, seed: int = 0, **columns: Any) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    user, item = rng.integers(0, 150, rows), rng.integers(0, 120, rows) ** 2 // 120
    taste, worth = rng.normal(size=150), rng.normal(size=120)
    score = taste[user] + worth[item] + rng.normal(size=rows)
    stated = {"user_id": user, "item_id": item, "rating": np.clip(np.round(3 + score), 1, 5), "price": rng.lognormal(size=rows)}
    return pd.DataFrame({**stated, "timestamp": 10**9 + 3600 * np.sort(rng.integers(0, rows, rows)), **columns})


def opened(table: pd.DataFrame, task: str = "rate", **more: Any) -> Dataset:
    return open_dataset(table, task=task, **more)


def audited(dataset: Dataset, kernel: Kernel, *extra: str, task: str = "rate", seed: int = 0) -> AuditReport:
    """Audit the first-party ops, and `extra` ones of the wheel."""
    ops = {name: op for name, op in feature_ops(kernel).items() if not name.startswith("leaks/") or name in extra}
    features = build_features(dataset, ops, task=task, seed=seed)
    assert {row["op"] for row in features.plan if row["taken"]} >= set(extra)
    return audit(dataset, features, ops if extra else kernel, seed)


@pytest.mark.parametrize("name", sorted(PLANTED))
def test_every_planted_leak_is_caught_by_name(with_leaks: Kernel, name: str) -> None:
    feature, kind = PLANTED[name]
    dataset = opened(frame(), **({"protocol": "random", "roles": {"timestamp": "ignore"}} if name == "target-without-folds" else {}))
    found = audited(dataset, with_leaks, f"leaks/{name}").findings
    assert {finding.op for finding in found} == {f"leaks/{name}"}
    assert (feature, kind) in {(finding.feature, finding.kind) for finding in found}


def test_a_leaking_wheel_ends_the_command_with_its_name_and_code_3(
    with_leaks: Kernel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame().to_csv(tmp_path / "ratings.csv", index=False)
    words = [str(tmp_path / "ratings.csv"), "--task", "rate", "--out", str(tmp_path / "out")]
    assert main(["features", *words]) == 3
    told = capsys.readouterr().err
    assert "leaks/" in told and "autorec-leaks" in told and "--block autorec-leaks" in told
    assert not (tmp_path / "out").exists()
    assert main(["--block", "autorec-leaks", "features", *words]) == 0
    assert json.loads((tmp_path / "out" / "audit.json").read_text())["findings"] == []


def test_a_leaking_wheel_ends_a_run_before_the_search(with_leaks: Kernel, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame().to_csv(tmp_path / "ratings.csv", index=False)
    words = ["run", str(tmp_path / "ratings.csv"), "--task", "rate", "--trials", "0", "--out", str(tmp_path / "out")]
    assert main(words) == 3
    assert "leaks/" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("clock", "task"), SETTINGS)
def test_first_party_ops_never_alarm(first_party: Kernel, clock: str, task: str) -> None:
    for dataset in (example_dataset(clock, task), tiny_dataset(task=task, clock=clock)):  # type: ignore[arg-type]
        for seed in (0, 1):
            report = audited(dataset, first_party, task=task, seed=seed)
            assert report.findings == []
            assert report.judged.get("future", 0) > 0 or clock == "none"


@pytest.mark.slow
@pytest.mark.parametrize("task", ["rate", "click"])
@pytest.mark.parametrize("clocked", [True, False])
def test_twenty_seeds_give_no_false_alarm(first_party: Kernel, task: str, clocked: bool) -> None:
    more: dict[str, Any] = {"positive_threshold": 4.0} if task == "click" else {}
    more |= {} if clocked else {"protocol": "random", "roles": {"timestamp": "ignore"}}
    for seed in range(20):
        assert audited(opened(frame(seed=seed), task, **more), first_party, task=task, seed=seed).findings == []


def test_a_column_that_is_the_label_is_named_and_can_be_accepted(first_party: Kernel) -> None:
    table = frame()
    dataset = opened(table.assign(refund=(table["rating"] >= 4) * 7.5), "click", positive_threshold=4.0)
    features = build_features(dataset, first_party, task="click")
    report = audit(dataset, features, first_party)
    assert {(finding.kind, finding.columns) for finding in report.findings} == {("too good", ("refund",))}
    with pytest.raises(LeakError, match=r"'refund'.*AUC 1\.0000") as caught:
        report.check()
    assert "--accept-leak refund" in caught.value.hint and caught.value.exit_code == 3
    again = audit(dataset, features, first_party, accepted=["refund"])
    again.check()
    assert {finding.columns for finding in again.accepted} == {("refund",)}
    with pytest.raises(UnknownNameError, match="refnd"):
        audit(dataset, features, first_party, accepted=["refnd"])


def test_the_future_cannot_be_accepted(with_leaks: Kernel) -> None:
    dataset = opened(frame())
    ops = feature_ops(with_leaks)
    features = build_features(dataset, {"leaks/next-item": ops["leaks/next-item"]}, task="rate")
    with pytest.raises(LeakError, match="reads the future"):
        audit(dataset, features, ops, accepted=["user.next_item"]).check()


def test_a_column_that_nearly_gives_the_number_away_is_named(first_party: Kernel) -> None:
    table = frame()
    noise = np.random.default_rng(5).normal(0, 0.05, len(table))
    dataset = opened(table.assign(stars=-2 * table["rating"] + noise))
    found = audit(dataset, build_features(dataset, first_party, task="rate"), first_party).findings
    assert {finding.columns for finding in found} == {("stars",)} and "R²" in found[0].text


def test_what_is_not_judged_is_counted_with_its_reason(first_party: Kernel) -> None:
    dataset = tiny_dataset(task="rate", clock="none")
    report = audited(dataset, first_party)
    assert list(report.skipped["future"]) == ["no clock orders the rows"]
    small = opened(frame(40))
    report = audited(small, first_party)
    assert "the data has fewer than 50 rows" in report.skipped["future"] and report.judged.keys() == set()
    whole = opened(frame())
    features = build_features(whole, first_party, task="rate")
    entities = {"ids of users and items": sum(one.name in ("user_id", "item_id") for one in features.schema.features)}
    report = audit(whole, features, first_party)
    assert report.skipped == {"too good": entities} and entities["ids of users and items"] == 2
    assert any(one.kind == "history" for one in features.schema.features)
    implicit = open_dataset(frame().drop(columns="rating"))
    report = audit(implicit, build_features(implicit, first_party), first_party)
    assert "there is no label column" in report.skipped["own label"]


@pytest.mark.parametrize(("clock", "task"), [("time", "rate"), ("position", "recommend"), ("none", "rate")])
def test_every_feature_is_judged_or_counted_with_a_reason(first_party: Kernel, clock: str, task: str) -> None:
    dataset = tiny_dataset(task=task, clock=clock)  # type: ignore[arg-type]
    features = build_features(dataset, first_party, task=task)
    report = audit(dataset, features, first_party)
    for part in ("future", "own label"):
        assert report.judged.get(part, 0) + sum(report.skipped.get(part, {}).values()) == len(features.schema.features), part
    assert report.judged.get("future", 0) == (0 if clock == "none" else len(features.schema.features))


def test_a_poison_that_reaches_nothing_is_told(first_party: Kernel) -> None:
    dataset = opened(frame())
    ops = feature_ops(first_party)
    only = {"features/time-parts": ops["features/time-parts"]}
    report = audit(dataset, build_features(dataset, only, task="rate"), only)
    assert report.not_reached == [feature.name for feature in build_features(dataset, only, task="rate").schema.features]


def test_audits_repeat(first_party: Kernel) -> None:
    dataset = opened(frame())
    features = build_features(dataset, first_party, task="rate")
    one, two = (audit(dataset, features, first_party, seed=3).to_json() for _ in range(2))
    assert {**one, "seconds": 0} == {**two, "seconds": 0}
