"""Runs that are killed, by whatever and wherever, end as if they had not been."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from resume_kit import SCOPES, campaign, differences, kill, orphans, run_once, start

from autorec_kernel.search.journal import read_journal
from autorec_kernel.serving.verify import verify_bundle

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="processes are killed with POSIX signals")


def check(found: Any, undisturbed: Path) -> None:
    assert (found.lost, found.orphans) == (0, 0)
    for run in found.runs:
        assert differences(undisturbed, run) == []
        verify_bundle(run / "bundle")


@pytest.mark.slow
def test_runs_killed_at_random_moments_lose_nothing_and_end_like_an_undisturbed_one(tmp_path: Path, reference: Any) -> None:
    table, undisturbed, length = reference
    check(campaign(tmp_path, table, kills=3, seed=11, length=length), undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("scope", [*SCOPES, "all"])
@pytest.mark.parametrize("workers", [1, 2])
def test_twenty_kills_of_every_kind(tmp_path: Path, reference: Any, scope: Any, workers: int) -> None:
    table, undisturbed, length = reference
    scopes = SCOPES if scope == "all" else (scope,)
    found = campaign(tmp_path, table, kills=20, seed=workers, length=length, scopes=scopes, workers=workers)
    check(found, undisturbed)
    assert len(found.kills) >= 20


def crashing(out: Path, reference: Any, *points: str) -> list[str]:
    """Let one run crash at each point in turn, end it, compare it with the undisturbed one; return the kinds of its records."""
    table, undisturbed, _ = reference
    for point in points:
        assert run_once(out, table, crash=point) == -signal.SIGKILL, (point, Path(f"{out}.stderr").read_text())
        assert orphans(out) == 0
        if (out / "result.json").exists():
            json.loads((out / "result.json").read_text())
    assert run_once(out, table) == 0
    assert differences(undisturbed, out) == []
    return [record["kind"] for record in read_journal(out / "journal.jsonl")]


@pytest.mark.slow
def test_a_crash_between_two_writes_is_repaired_by_resuming(tmp_path: Path, reference: Any) -> None:
    """Artefacts without a record, half a record, a half-written bundle, half a result, a result before its record."""
    kinds = crashing(tmp_path / "run", reference, "unwritten:2", "torn:7", "member:4", "result.json:1", "result.json:2")
    assert (kinds.count("planned"), kinds.count("test_opened")) == (1, 1)
    assert kinds.count("session_test_opened") == 3  # every further look at the test rows is on record


@pytest.mark.slow
def test_a_crash_after_every_kind_of_record_is_repaired_by_resuming(tmp_path: Path, reference: Any) -> None:
    kinds = (
        "session_started",
        "run",
        "session_stage",
        "features",
        "space",
        "batch",
        "result",
        "told",
        "planned",
        "test_opened",
        "finished",
    )
    crashing(tmp_path / "run", reference, *(f"after:{kind}" for kind in kinds))


@pytest.mark.slow
def test_a_crash_while_one_bundle_takes_the_place_of_another_is_repaired_by_resuming(tmp_path: Path, reference: Any) -> None:
    crashing(tmp_path / "run", reference, "result.json:2", "swap:1", "swap:1", "swap:2", "member:2")


@pytest.mark.slow
def test_resuming_a_finished_run_changes_nothing(tmp_path: Path, reference: Any) -> None:
    table, undisturbed, _ = reference
    out = shutil.copytree(undisturbed, tmp_path / "run")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file() and not path.name.startswith("journal")}
    assert run_once(out, table) == 0
    assert {path: path.read_bytes() for path in before} == before
    assert differences(undisturbed, out) == []


@pytest.mark.slow
def test_a_second_run_in_the_same_folder_stops_at_once(tmp_path: Path, reference: Any) -> None:
    table, _, _ = reference
    out = tmp_path / "run"
    first = start(out, table)
    try:
        while not (out / "journal.jsonl.owner").exists():
            assert first.poll() is None
            time.sleep(0.02)
        for resume in (True, False):
            assert run_once(out, table, resume=resume) == 7
        told = Path(f"{out}.stderr").read_text()
        assert f"another run is writing here: process {first.pid}" in told and "Traceback" not in told
        assert first.poll() is None
    finally:
        kill(first, "group")


@pytest.mark.parametrize(
    "change", [{"seed": 4}, {"strategy": "random"}, {"recipe": {"evaluator_options": {"epochs": 3}}}, {"blocked": ["zoo"]}]
)
def test_a_run_is_not_resumed_as_another_one(tmp_path: Path, reference: Any, change: dict[str, Any]) -> None:
    table, undisturbed, _ = reference
    out = shutil.copytree(undisturbed, tmp_path / "run")
    before = (out / "result.json").read_bytes()
    assert run_once(out, table, **change) == 7
    assert "this folder holds another run" in Path(f"{out}.stderr").read_text()
    assert (out / "result.json").read_bytes() == before


def test_a_run_is_not_resumed_with_other_data(tmp_path: Path, reference: Any) -> None:
    table, undisturbed, _ = reference
    out = shutil.copytree(undisturbed, tmp_path / "run")
    other = tmp_path / "other.csv"
    other.write_text(table.read_text().replace(",5,", ",4,", 1))
    assert run_once(out, other) == 7
    assert "data: was" in Path(f"{out}.stderr").read_text()


def test_a_damaged_journal_is_not_resumed_in_silence(tmp_path: Path, reference: Any) -> None:
    table, undisturbed, _ = reference
    out = shutil.copytree(undisturbed, tmp_path / "run")
    data = bytearray((out / "journal.jsonl").read_bytes())
    data[len(data) // 2] ^= 1
    (out / "journal.jsonl").write_bytes(data)
    assert run_once(out, table) == 7
    assert "the journal is damaged" in Path(f"{out}.stderr").read_text()
