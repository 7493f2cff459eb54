from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autorec_kernel.errors import InfrastructureError
from autorec_kernel.files import atomic_write, remove_unfinished
from autorec_kernel.recipe import Recipe
from autorec_kernel.search.journal import Journal, read_journal
from autorec_kernel.stages import workplace
from autorec_kernel.stages.identity import spent_seconds
from autorec_kernel.stages.workplace import Silent, Workplace, make_folder


class Observed:
    """Stands for a kernel; remembers events."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []

    def observe(self, event: str, **arguments: Any) -> None:
        self.events.append((event, arguments["stage"]))


@pytest.fixture
def journal(tmp_path: Path) -> Any:
    with Journal.open(tmp_path / "journal.jsonl", fsync_each=False) as journal:
        yield journal


def place(tmp_path: Path, journal: Journal, **recipe: Any) -> Workplace:
    return Workplace(tmp_path, Recipe(**recipe), Observed(), journal, Silent())  # type: ignore[arg-type]


def test_the_time_of_a_killed_session_is_counted_up_to_its_last_record(journal: Journal) -> None:
    assert spent_seconds(journal.records()) == 0.0
    journal.append("session_started", spent=0.0, time=9e9)
    journal.append("session_stage", stage="data", seconds=2.0, elapsed=2.5)
    assert spent_seconds(journal.records()) == 2.5
    journal.append("result", trial=0, rung=0, evaluation={"measured": {"seconds": 99.0}}, measured_elapsed=7.5)
    assert spent_seconds(journal.records()) == 7.5
    journal.append("session_started", spent=7.5, time=9e9)
    journal.append("session_ended", elapsed=8.0, time=9e9)
    assert spent_seconds(journal.records()) == 8.0


def test_a_resumed_session_has_less_time_left(tmp_path: Path, journal: Journal, monkeypatch: Any) -> None:
    now = [50.0]
    monkeypatch.setattr(workplace.time, "monotonic", lambda: now[0])
    fresh, resumed = place(tmp_path, journal, budget=100.0), place(tmp_path, journal, budget=100.0)
    resumed.spent = 30.0
    fresh.started = resumed.started = now[0]
    assert fresh.deadline("search") - resumed.deadline("search") == 30.0  # type: ignore[operator]
    now[0] = 55.0
    assert (fresh.elapsed(), resumed.elapsed()) == (5.0, 35.0)


def test_with_a_number_of_trials_nothing_has_a_share_of_time(tmp_path: Path, journal: Journal) -> None:
    found = place(tmp_path, journal, trials=3)
    assert found.share("trial") is None and found.deadline("search") is None and found.first_share("features") is None


def test_features_keep_the_share_they_had_when_the_run_began(tmp_path: Path, journal: Journal) -> None:
    began = place(tmp_path, journal, budget=100.0).first_share("features")
    journal.append("session_started", budget=100.0)
    journal.append("session_started", budget=400.0)
    assert place(tmp_path, journal, budget=400.0).first_share("features") == began
    assert place(tmp_path, journal, trials=4).first_share("features") == began


def test_a_run_begun_with_trials_builds_its_features_without_a_limit_whatever_it_is_resumed_with(tmp_path: Path, journal: Journal) -> None:
    journal.append("session_started", budget=None)
    assert place(tmp_path, journal, budget=400.0).first_share("features") is None


def test_facts_are_written_once_and_compared_afterwards(tmp_path: Path, journal: Journal) -> None:
    found = place(tmp_path, journal)
    found.same("space", digest="aa", offers=[{"id": "x", "shape": (1, 2)}])
    found.same("space", digest="aa", offers=[{"id": "x", "shape": (1, 2)}])
    assert [record["kind"] for record in journal.records()] == ["space"]
    with pytest.raises(InfrastructureError, match="digest: was aa, is bb") as caught:
        found.same("space", digest="bb", offers=[{"id": "x", "shape": (1, 2)}])
    assert caught.value.exit_code == 7 and "space of this run was different" in str(caught.value)


def test_stages_entered_twice_add_up_and_are_on_record(tmp_path: Path, journal: Journal, monkeypatch: Any) -> None:
    now = [0.0]
    monkeypatch.setattr(workplace.time, "monotonic", lambda: now[0])
    found = place(tmp_path, journal)
    found.started = now[0]
    for seconds in (2.0, 3.0):
        with found.stage("deploy", "…"):
            now[0] += seconds
    assert found.stages == {"deploy": 5.0}
    assert [(r["kind"], r["elapsed"]) for r in journal.records()] == [("session_stage", 2.0), ("session_stage", 5.0)]
    assert found.kernel.events == [("stage_started", "deploy"), ("stage_finished", "deploy")] * 2  # type: ignore[attr-defined]


def test_a_stage_that_raises_is_timed_and_not_reported_as_finished(tmp_path: Path, journal: Journal) -> None:
    found = place(tmp_path, journal)
    with pytest.raises(KeyError), found.stage("data", "…"):
        raise KeyError("x")
    assert "data" in found.stages and found.kernel.events == [("stage_started", "data")]  # type: ignore[attr-defined]
    assert read_journal(tmp_path / "journal.jsonl") == ()


def test_a_note_is_kept_once(tmp_path: Path, journal: Journal) -> None:
    found = place(tmp_path, journal)
    found.note("a")
    found.note("b")
    found.note("a")
    assert found.notes == ["a", "b"]


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InfrastructureError, match="the folder cannot be written") as caught:
        make_folder(tmp_path / "file")
    assert caught.value.exit_code == 7
    make_folder(tmp_path / "new" / "deep")
    assert list((tmp_path / "new" / "deep").iterdir()) == []


def test_half_written_files_of_a_killed_session_are_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "artefacts").mkdir()
    atomic_write(tmp_path / "result.json", b"{}")
    for name in (".result.json.0a1b2c.tmp", "artefacts/.weights-3-0.safetensors.0a1b2c.tmp"):
        (tmp_path / name).write_bytes(b"half")
    for name in (".hidden", "mine.tmp"):
        (tmp_path / name).write_bytes(b"keep")
    remove_unfinished(tmp_path)
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {"result.json", ".hidden", "mine.tmp"}
