"""`autorec run` and `AutoRec` on the whole road, with small data: results, files, resuming, Ctrl-C, errors."""

from __future__ import annotations

import copy
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
from json_schema import faults
from resume_kit import write_table

from autorec_kernel import AutoRec
from autorec_kernel.cli.main import main
from autorec_kernel.search.journal import compare, read_journal

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "reference" / "result.schema.json").read_text(encoding="utf-8"))
RECIPE = "trials = 1\nworkers = 1\nseed = 3\n[evaluator_options]\nepochs = 2\n"
WORDS = ("run", "events.csv", "--recipe", "recipe.toml")
Autorec = Callable[..., tuple[int, str, str]]


class Finished(NamedTuple):
    home: Path
    folder: Path
    out: str
    err: str


def _process(*words: str, cwd: Path, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "autorec_kernel.cli", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """One run to the end, in a process of its own."""
    home = tmp_path_factory.mktemp("home")
    write_table(home / "events.csv")
    (home / "recipe.toml").write_text(RECIPE)
    process = _process(*WORDS, "--out", "done", "--json", cwd=home)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return Finished(home, home / "done", out, err)


@pytest.fixture
def autorec(finished: Finished, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Autorec:
    monkeypatch.chdir(finished.home)

    def run(*words: object) -> tuple[int, str, str]:
        code = main([str(word) for word in words])
        return (code, *capsys.readouterr())

    return run


def test_the_result_is_printed_kept_and_follows_its_schema(finished: Finished) -> None:
    result = json.loads(finished.out)
    assert result == json.loads((finished.folder / "result.json").read_text(encoding="utf-8"))
    assert list(faults(result, SCHEMA)) == []
    assert set(result) == set(SCHEMA["properties"])
    assert (result["seed"], result["recipe"]["trials"]) == (3, 1)


def test_the_schema_notices_what_is_wrong(finished: Finished) -> None:
    for path, value in ((("best", "trial"), "one"), (("data", "rows"), {}), (("bundle", "content_digest"), "abc"), (("version",), 2)):
        result = copy.deepcopy(json.loads(finished.out))
        inner = result
        for name in path[:-1]:
            inner = inner[name]
        inner[path[-1]] = value
        assert list(faults(result, SCHEMA)), path


def test_the_folder_holds_what_is_promised(finished: Finished) -> None:
    names = {path.name for path in finished.folder.iterdir()}
    assert {"result.json", "journal.jsonl", "splits", "bundle", "log.jsonl", "plan.json"} <= names
    stages = json.loads(finished.out)["stages"]
    parts = sum(seconds for name, seconds in stages.items() if name != "total")
    assert parts == pytest.approx(stages["total"], rel=0.05)


def test_the_log_has_stages_and_trials_in_order(finished: Finished) -> None:
    events = [json.loads(line) for line in (finished.folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    stages = [event["stage"] for event in events if event.get("event") == "stage"]
    assert stages[:3] == ["data", "features", "search"]
    assert stages[-1] == "deploy"
    results = [
        (record["trial"], record["rung"]) for record in read_journal(finished.folder / "journal.jsonl") if record["kind"] == "result"
    ]
    assert {(event["trial"], event["rung"]) for event in events if event.get("event") == "trial"} == set(results)


def test_piped_progress_is_one_plain_line_an_event(finished: Finished) -> None:
    assert "\x1b" not in finished.err
    assert "\r" not in finished.err
    lines = [line.split(maxsplit=1)[1] for line in finished.err.splitlines()]
    assert "search: searching" in lines
    assert any(line.startswith("trial 0 ") and "best ndcg@10" in line for line in lines)


def test_resuming_a_finished_run_prints_its_result_and_changes_nothing(autorec: Autorec, finished: Finished) -> None:
    before = {path: path.read_bytes() for path in finished.folder.rglob("*") if path.is_file() and path.parent.name == "bundle"}
    result = (finished.folder / "result.json").read_bytes()
    code, out, _ = autorec(*WORDS, "--out", "done", "--resume")
    assert code == 0
    assert (finished.folder / "result.json").read_bytes() == result
    assert {path: path.read_bytes() for path in before} == before
    told = json.loads(result)
    for text in ("task:", "protocol:", "verdict:", told["verdict"], "bundle:", "served (compressed)", *told["baselines"]):
        assert text in out
    assert f"{told['best']['test']['ndcg@10']:.4f}" in out


def test_the_next_command_that_is_printed_works(autorec: Autorec, finished: Finished) -> None:
    _, out, _ = autorec(*WORDS, "--out", "done", "--resume")
    (following,) = [line.removeprefix("next:").strip() for line in out.splitlines() if line.startswith("next:")]
    code, out, _ = autorec(*shlex.split(following)[1:])
    assert (code, len(out.splitlines())) == (0, 11)


def test_a_folder_with_a_run_needs_resume_and_stays_as_it_is(autorec: Autorec, finished: Finished) -> None:
    before = (finished.folder / "journal.jsonl").read_bytes()
    code, _, err = autorec(*WORDS, "--out", "done")
    assert code == 7
    assert "--resume" in err
    assert (finished.folder / "journal.jsonl").read_bytes() == before


def test_a_folder_with_another_run_is_not_resumed(autorec: Autorec, finished: Finished) -> None:
    code, _, err = autorec(*WORDS, "--out", "done", "--resume", "--seed", 4)
    assert code == 7
    assert "another run" in err


def test_a_dry_run_says_what_would_be_done_and_leaves_nothing(autorec: Autorec, finished: Finished) -> None:
    before = sorted(finished.home.iterdir())
    code, out, _ = autorec(*WORDS, "--dry-run")
    assert code == 0
    for text in ("protocol:", "strategy:", "space:", "baselines/popularity", "user_id is the user"):
        assert text in out
    plan = json.loads(autorec(*WORDS, "--dry-run", "--json")[1])
    assert (plan["task"], plan["budget"], plan["rows"]["train"] > 0) == ("recommend", {"seconds": None, "trials": 1}, True)
    assert sorted(finished.home.iterdir()) == before


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("run", "nothing.csv", "--out", "new"), 3, "no such file"),
        (("run", "events.csv", "--out", "new", "--task", "click"), 3, ""),
        (("run", "events.csv", "--out", "new", "--role", "user_idd=user"), 2, "did you mean 'user_id'"),
        (("run", "events.csv", "--out", "new", "--strategy", "bays/tpe"), 2, "did you mean 'bayes/tpe'"),
        (("--no-plugins", "run", "events.csv", "--out", "new"), 6, "pip install"),
    ],
)
def test_what_cannot_run_is_told_with_its_code_and_leaves_nothing(
    autorec: Autorec, finished: Finished, words: tuple[str, ...], code: int, told: str
) -> None:
    found, out, err = autorec(*words)
    assert (found, out) == (code, "")
    assert told in err
    assert "Traceback" not in err
    assert not (finished.home / "new").exists()


def test_a_reader_that_closes_the_pipe_gets_no_traceback(finished: Finished) -> None:
    with _process(*WORDS, "--out", "done", "--resume", cwd=finished.home) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        err = process.stderr.read()
    assert process.returncode == 141
    assert "Traceback" not in err


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent as POSIX does")
@pytest.mark.slow
@pytest.mark.parametrize("moment", ["trial 0 ", "deploy: compressing"])
def test_an_interrupted_run_goes_on_to_the_same_end(finished: Finished, moment: str) -> None:
    name = "stopped-" + moment.split()[0].strip(":")
    with _process(*WORDS, "--out", name, cwd=finished.home) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if moment in line)
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        err = process.stderr.read()
    assert process.returncode == 130, err
    assert time.monotonic() - began < 10
    assert "Traceback" not in err
    hint = shlex.split(err.splitlines()[-1].removeprefix("hint: "))
    assert hint == ["autorec", *WORDS, "--out", name, "--resume"]
    again = _process(*hint[1:], cwd=finished.home)
    assert again.communicate(timeout=300) is not None
    assert again.returncode == 0
    journals = [folder / "journal.jsonl" for folder in (finished.folder, finished.home / name)]
    assert compare(*journals) == ()
    digests = [json.loads((path.parent / "result.json").read_text())["bundle"]["content_digest"] for path in journals]
    assert digests[0] == digests[1]


def test_the_estimator_walks_the_same_road(finished: Finished, tmp_path: Path) -> None:
    frame = pd.read_csv(finished.home / "events.csv")
    model = AutoRec(trials=1, workers=1, seed=3, evaluator_options={"epochs": 2}).fit(frame)
    assert list(faults(model.result_, SCHEMA)) == []
    found = model.recommend(frame["user_id"].unique()[:3], k=4)
    assert (len(found), found["score"].notna().all()) == (12, True)
    assert model.predict(frame.head(5)).shape == (5,)
    model.save(tmp_path / "bundle.zip")
    assert AutoRec.load(tmp_path / "bundle.zip").recommend(["u01"]).equals(model.recommend(["u01"]))
