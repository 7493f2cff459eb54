"""`autorec compress`: another bundle of a finished run, which stays as it is; what cannot be done is told, and leaves no bundle."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import autorec_kernel.data
from autorec_kernel.cli.main import main
from autorec_kernel.contracts.deploy import Plan
from autorec_kernel.errors import DataError, InfrastructureError, LimitsError, UsageError
from autorec_kernel.kernel import Kernel
from autorec_kernel.pipeline import run as run_road
from autorec_kernel.recipe import read_recipe
from autorec_kernel.records.model import CompressionStep
from autorec_kernel.search.journal import read_journal
from autorec_kernel.testing.data import tiny_events
from autorec_planner.alone import compress
from autorec_planner.finished import read_finished
from autorec_planner.planner import AdditivePlanner

PLUGINS = ("baselines", "blocks", "features", "planner", "quantize", "search", "training")


def write_table(path: Path) -> Path:
    events = tiny_events()
    users, items = events["user_id"], events["item_id"]
    rows = (
        f"{users.values[users.codes[k]]},{items.values[items.codes[k]]},{int(events['rating'][k])},{int(events['timestamp'][k]) // 10**9}"  # type: ignore[union-attr]
        for k in range(events.rows)
    )
    path.write_text("\n".join(["user_id,item_id,rating,timestamp", *rows]) + "\n")
    return path


@pytest.fixture(scope="module")
def kernel() -> Kernel:
    return Kernel.discover(allowed=PLUGINS)


@pytest.fixture(scope="module")
def run(kernel: Kernel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of baselines alone, for `edge`."""
    home = tmp_path_factory.mktemp("home")
    table, folder = write_table(home / "events.csv"), home / "run"
    recipe = read_recipe(
        None, {"trials": 0, "workers": 1, "target": "edge", "max_drop": 0.2, "features": "raw", "blueprints": ("baselines/ease",)}
    )
    run_road(str(table), recipe, kernel, folder)
    return folder


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and "compressed" not in path.parts and not path.name.startswith("log.jsonl")
    }


def test_another_target_gets_a_bundle_of_its_own_and_the_run_stays_as_it_is(run: Path, kernel: Kernel, capsys: Any) -> None:
    before = digests(run)
    words = ("compress", str(run), "--target", "device", "--minutes", "5", "--max-drop", "0.05", "--json")
    assert main(list(words)) == 0
    found = json.loads(capsys.readouterr().out)
    folder = run / "compressed" / "device"
    assert digests(run) == before
    assert (found["folder"], found["recipe"]["target"], found["recipe"]["max_drop"]) == (str(folder), "device", 0.05)
    assert (folder / "bundle" / "certificate.json").is_file() and found["certificate"]["verdict"]
    assert found["best"]["trial"] == json.loads((run / "result.json").read_bytes())["best"]["trial"]
    assert main(["bundle", "verify", str(folder / "bundle")]) == 0
    opened = [record for record in read_journal(folder / "journal.jsonl") if record["kind"] == "test_opened"]
    assert len(opened) == 1 and any("opened these test rows 1 time" in note for note in found["notes"])


def test_equal_limits_give_the_bundle_of_the_run(run: Path, kernel: Kernel, tmp_path: Path) -> None:
    found = compress(run, kernel, tmp_path / "same", seconds=300.0)
    assert found["recipe"]["max_drop"] == 0.2  # the run's own
    assert found["bundle"]["content_digest"] == json.loads((run / "result.json").read_bytes())["bundle"]["content_digest"]


def test_a_step_that_the_refitted_model_did_not_take_is_not_told_as_taken(
    run: Path, kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two steps are planned as if something could be quantised in this small model."""
    planned = [CompressionStep(name, {}, taken=True, reason="it pays") for name in ("quantize/int8-weights", "quantize/int8-tables")]
    monkeypatch.setattr(AdditivePlanner, "plan", lambda planner, request: Plan(tuple(planned)))
    found = compress(run, kernel, tmp_path / "left", seconds=300.0)
    assert [step["taken"] for step in json.loads((tmp_path / "left" / "plan.json").read_bytes())["steps"]] == [True, True]
    for step, told in zip(planned, found["compressed"]["steps"], strict=True):
        assert told["component"] == step.component and not told["taken"]
        assert told["reason"].startswith("planned, and left out of the refitted model: NotApplicable: no ")
        assert any(note.startswith(f"{step.component} was planned and left out") for note in found["notes"])


def test_limits_that_nothing_keeps_leave_the_closest_plan_and_no_bundle(run: Path, tmp_path: Path, capsys: Any) -> None:
    folder = tmp_path / "tight"
    assert main(["compress", str(run), "--max-bytes", "40", "--minutes", "5", "--to", str(folder)]) == 9
    told = capsys.readouterr()
    assert told.out == "" and "max_bytes is 40 and it reaches" in told.err and "autorec compress" in told.err
    assert not (folder / "bundle").exists() and not (folder / "result.json").exists()
    for number in ("", "-2"):  # the same words again, as the hint says: no earlier plan is in the way
        assert main(["compress", str(run), "--max-bytes", "40", "--minutes", "5"]) == 9
        assert (run / "compressed" / f"edge{number}" / "plan.json").is_file()
    plan = json.loads((folder / "plan.json").read_bytes())
    assert plan["missed"]["max_bytes"]["limit"] == 40 and plan["steps"]


def test_the_closest_plan_says_what_there_was_no_time_for(
    run: Path, kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = tuple(CompressionStep(f"kit/{name}", {}, taken=False, reason="no time is left") for name in "ab")
    plan = Plan(late, missed={"max_bytes": {"limit": 40.0, "reached": 900.0}})
    monkeypatch.setattr(AdditivePlanner, "plan", lambda planner, request: plan)
    with pytest.raises(LimitsError, match=r"the closest one \(no step; there was no time to try 2 more\) does not"):
        compress(run, kernel, tmp_path / "late", seconds=300.0)


def test_a_run_that_found_no_plan_is_planned_again_with_other_limits(kernel: Kernel, tmp_path: Path) -> None:
    """Nothing that was searched is lost."""
    table, folder = write_table(tmp_path / "events.csv"), tmp_path / "run"
    options = {"trials": 0, "workers": 1, "features": "raw", "blueprints": ("baselines/ease",), "max_bytes": 100.0}
    with pytest.raises(LimitsError, match="max_bytes is 100 and it reaches"):
        run_road(str(table), read_recipe(None, {**options, "max_drop": 0.0}), kernel, folder)
    assert not (folder / "bundle").exists() and (folder / "plan.json").is_file()
    found = compress(folder, kernel, seconds=300.0, limits={"max_bytes": 1e6})
    assert found["certificate"]["verdict"] == "accepted" and (Path(found["folder"]) / "bundle").is_dir()


def test_what_cannot_be_taken_up_is_told(run: Path, kernel: Kernel, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run in this folder"):
        read_finished(tmp_path)
    with pytest.raises(InfrastructureError, match="not empty"):
        compress(run, kernel, run, seconds=60.0)
    (tmp_path / "file").write_text("mine")
    for name, told in (("file", "a file already"), ("file/in", "the folder cannot be written")):
        with pytest.raises(InfrastructureError, match=told):
            compress(run, kernel, tmp_path / name, seconds=60.0)
    other = write_table(tmp_path / "other.csv")
    other.write_text(other.read_text().rpartition("\n")[0].rpartition("\n")[0] + "\n")
    with pytest.raises(DataError, match="not the data of the run"):
        compress(run, kernel, tmp_path / "new", seconds=60.0, data=str(other))
    assert not (tmp_path / "new").exists(), "the next try may have the folder"


def test_a_table_that_has_moved_is_asked_for_and_the_packaged_one_is_found(run: Path) -> None:
    """A run of the packaged ratings goes on in an installation somewhere else."""
    found = read_finished(run)
    packaged = Path(autorec_kernel.data.__file__).parent / "movielens" / "ratings.csv.gz"
    for told, expected in ((packaged, packaged), (Path("/else/where", *packaged.parts[-4:]), packaged)):
        started = {"kind": "session_started", "data": str(told)}
        assert replace(found, records=(started,)).table("data") == str(expected)
    for told in (Path("/else/where/ratings.csv.gz"), Path("/else/where", *packaged.parts[-4:-1], "gone.csv.gz")):
        with pytest.raises(UsageError, match="no longer where it was") as error:
            replace(found, records=({"kind": "session_started", "data": str(told)},)).table("data")
        assert "--data FILE" in (error.value.hint or "")


def test_trials_are_read_with_what_the_search_kept_of_them(run: Path) -> None:
    found = read_finished(run)
    assert found.served in {trial.number for trial in found.trials}
    assert {trial.status for trial in found.trials} == {"complete"} and all(trial.objectives for trial in found.trials)
