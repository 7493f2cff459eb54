"""`autorec status` reads a run's folder: while the run goes on, after it was killed and when it has finished."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from autorec_kernel.cli.main import main
from autorec_kernel.records.trial import Evaluation
from autorec_kernel.search.journal import Journal

Status = Callable[..., tuple[int, Any, str]]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def status(run: Path, capsys: pytest.CaptureFixture[str]) -> Status:
    def call(*words: str) -> tuple[int, Any, str]:
        code = main(["--no-plugins", "status", str(run), *words])
        out, err = capsys.readouterr()
        return code, json.loads(out) if "--json" in words and not code else out, err

    return call


def begun(run: Path, task: str = "recommend", metric: str = "") -> Journal:
    journal = Journal.open(run / "journal.jsonl")
    journal.append("session_started", time=0.0, spent=0.0)
    journal.append("run", recipe={"task": task, "metric": metric}, protocol="temporal", data="abc")
    return journal


def batch(journal: Journal, index: int, *trials: int) -> None:
    journal.append("batch", batch=index, proposals=[{"trial": trial, "genotype": {}, "parent": None, "reason": ""} for trial in trials])


def ended(
    journal: Journal,
    trial: int,
    value: float | None = None,
    status: Any = "complete",
    rung: int = 0,
    error: str = "",
    metric: str = "ndcg@10",
) -> None:
    metrics = {} if value is None else {metric: value}
    found = Evaluation(status, metrics, error=error, details={"blueprint": f"zoo/{trial}"})
    journal.append("result", trial=trial, rung=rung, evaluation=found.to_json())


@pytest.fixture
def killed(run: Path) -> Iterator[Path]:
    """Leave what a killed run leaves: the journal with a torn last line, and the note of a process that is no more."""
    journal = begun(run)
    batch(journal, 0, 0, 1)
    ended(journal, 0, 0.2)
    ended(journal, 1, status="failed", error="Traceback\nValueError: too \x1b[31mred")
    batch(journal, 1, 2, 3, 4)
    ended(journal, 2, 0.4)
    ended(journal, 2, 0.3, rung=1)
    ended(journal, 3, status="timeout", error="it ran longer")
    journal.close()
    with (run / "journal.jsonl").open("ab") as file:
        file.write(b'{"crc":"12')
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    note(run, dead.pid)
    yield run


def note(run: Path, pid: int, host: str = "", since: str = "2100-01-01T00:00:00+00:00") -> None:
    (run / "journal.jsonl.owner").write_text(json.dumps({"pid": pid, "host": host or socket.gethostname(), "since": since}))


@pytest.mark.usefixtures("killed")
def test_a_killed_run_is_interrupted_and_says_how_to_go_on(status: Status, run: Path) -> None:
    before = (run / "journal.jsonl").read_bytes()
    code, found, _ = status("--json")
    assert code == 0
    assert (found["state"], found["writer"], found["result"], found["bundle"]) == ("interrupted", None, None, None)
    assert found["resume"] == f"autorec run … --out {run} --resume"
    assert (found["task"], found["metric"], found["protocol"]) == ("recommend", "ndcg@10", "temporal")
    assert (run / "journal.jsonl").read_bytes() == before


@pytest.mark.usefixtures("killed")
def test_trials_are_counted_once_by_the_status_of_their_last_rung(status: Status) -> None:
    _, found, _ = status("--json")
    assert found["trials"] == {"proposed": 5, "ended": 4, "waiting": 1, "by_status": {"complete": 2, "failed": 1, "timeout": 1}}
    assert found["problems"][0] == {"status": "failed", "reason": "ValueError: too �[31mred", "trials": 1}


@pytest.mark.usefixtures("killed")
def test_the_best_is_the_best_result_of_any_rung(status: Status) -> None:
    best = status("--json")[1]["best"]
    assert (best["trial"], best["rung"], best["value"], best["blueprint"]) == (2, 0, 0.4, "zoo/2")


def test_of_an_error_metric_the_smallest_value_is_the_best(status: Status, run: Path) -> None:
    with begun(run, task="rate") as journal:
        batch(journal, 0, 0, 1)
        ended(journal, 0, 0.9, metric="rmse")
        ended(journal, 1, 1.1, metric="rmse")
    assert status("--json")[1]["best"]["trial"] == 0


def test_a_run_that_another_process_writes_is_running(status: Status, run: Path) -> None:
    with begun(run) as journal:
        batch(journal, 0, 0)
        _, found, _ = status("--json")
        assert (found["state"], found["writer"]["pid"], found["resume"]) == ("running", os.getpid(), None)
    assert status("--json")[1]["state"] == "interrupted"


def test_a_process_that_is_younger_than_the_note_is_not_the_writer(status: Status, run: Path) -> None:
    begun(run).close()
    note(run, os.getpid(), since="2001-01-01T00:00:00+00:00")
    assert status("--json")[1]["state"] == "interrupted"


def test_a_note_of_another_machine_counts_as_running(status: Status, run: Path) -> None:
    begun(run).close()
    note(run, 1, host="elsewhere.example")
    assert status("--json")[1]["writer"]["host"] == "elsewhere.example"


def test_a_finished_run_names_its_result_and_bundle(status: Status, run: Path) -> None:
    with begun(run) as journal:
        batch(journal, 0, 0, 1)
        ended(journal, 0, 0.2)
        ended(journal, 1, 0.1)
        (run / "result.json").write_text(json.dumps({"trials": {"complete": 1, "stopped": 1}, "bundle": {"path": "bundle"}}))
        journal.append("finished", bundle="d", trial=0)
        journal.append("session_ended", elapsed=12.5, time=0.0)
    _, found, _ = status("--json")
    assert (found["state"], found["seconds"], found["resume"]) == ("finished", 12.5, None)
    assert (found["result"], found["bundle"]) == (str(run / "result.json"), str(run / "bundle"))
    assert found["trials"]["by_status"] == {"complete": 1, "stopped": 1}
    with Journal.open(run / "journal.jsonl") as journal:
        batch(journal, 1, 2)
    assert status("--json")[1]["state"] == "interrupted"


@pytest.mark.usefixtures("killed")
def test_people_read_the_same_in_a_few_lines(status: Status, run: Path) -> None:
    code, out, _ = status()
    assert code == 0
    for text in (f"{run}: interrupted", "4 of 5 proposed have ended (2 complete, 1 failed, 1 timeout)", "ndcg@10 0.4000", "--resume"):
        assert text in out
    assert "\x1b" not in out


def test_a_run_that_has_only_begun_has_a_status(status: Status, run: Path) -> None:
    Journal.open(run / "journal.jsonl").close()
    code, found, _ = status("--json")
    assert (code, found["best"], found["trials"]["proposed"], found["metric"]) == (0, None, 0, None)
    assert "0 of 0" in status()[1]


def test_a_folder_without_a_run_is_a_usage_error(status: Status) -> None:
    code, out, err = status()
    assert (code, out) == (2, "")
    assert "no journal.jsonl" in err
    assert "hint: name the folder given as --out" in err


@pytest.mark.usefixtures("killed")
def test_a_damaged_journal_is_reported_with_exit_code_seven(status: Status, run: Path) -> None:
    path = run / "journal.jsonl"
    path.write_bytes(path.read_bytes().replace(b"temporal", b"timporal", 1))
    code, _, err = status()
    assert code == 7
    assert "the journal is damaged" in err
