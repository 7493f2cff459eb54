"""What all trials of an evaluator share: made once a run, handed to every trial, made again where its files are gone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autorec_kernel.contracts.evaluator import EvaluationContext
from autorec_kernel.errors import PluginError
from autorec_kernel.recipe import Recipe
from autorec_kernel.search.journal import Journal
from autorec_kernel.search.settings import SearchSettings
from autorec_kernel.search.tasks import ARTEFACTS, context_of
from autorec_kernel.space import Choice, Gene, SearchSpace
from autorec_kernel.stages.prepared import prepared as made
from autorec_kernel.stages.workplace import Silent, Workplace

SPACE = SearchSpace([Gene("pipeline", Choice("ranker"), "ranker")])


class Shared:
    """A kernel whose one evaluator writes a file for all trials."""

    def __init__(self, name: str = "stem.bin", fault: str = "") -> None:
        self.name, self.fault, self.seen = name, fault, list[EvaluationContext]()

    def create(self, kind: str, name: str, **options: Any) -> Shared:
        assert (kind, name, options) == ("evaluator", "kit/shared", {"epochs": 2})
        return self

    def prepare(self, context: EvaluationContext) -> dict[str, str]:
        self.seen.append(context)
        if self.fault:
            raise ValueError(self.fault)
        (context.folder / "stem.bin").write_bytes(b"stem")
        return {"stem": self.name}


def prepared(folder: Path, kernel: Any) -> tuple[dict[str, str], list[dict[str, Any]]]:
    settings = SearchSettings(str(folder), "click", "auc", True, seed=5, evaluator="kit/shared", options={"epochs": 2})
    with Journal.open(folder / "journal.jsonl") as journal:
        place = Workplace(folder, Recipe(trials=1), kernel, journal, Silent())
        found = made(place, None, settings, SPACE)  # type: ignore[arg-type]
        return found, [record for record in journal.records() if record["kind"] == "prepared"]


def test_it_is_made_once_and_again_where_a_file_is_gone(tmp_path: Path) -> None:
    kernel = Shared()
    assert prepared(tmp_path, kernel)[0] == {"stem": "stem.bin"}
    assert (kernel.seen[0].seed, kernel.seen[0].task, kernel.seen[0].artefacts) == (5, "click", {})
    found, records = prepared(tmp_path, kernel)
    assert (found, len(kernel.seen), len(records)) == ({"stem": "stem.bin"}, 1, 1)
    (tmp_path / ARTEFACTS / "stem.bin").unlink()
    assert prepared(tmp_path, kernel)[0] == {"stem": "stem.bin"}
    assert len(kernel.seen) == 2


def test_it_sees_the_space_and_as_many_seconds_as_the_first_session_had(tmp_path: Path) -> None:
    kernel = Shared()
    with Journal.open(tmp_path / "journal.jsonl") as journal:
        journal.append("session_started", budget=100.0)
    prepared(tmp_path, kernel)
    assert kernel.seen[0].space is SPACE
    assert kernel.seen[0].limits == {"max_seconds": 20.0}


def test_its_notes_are_told_in_every_session(tmp_path: Path) -> None:
    (tmp_path / ARTEFACTS).mkdir()
    (tmp_path / ARTEFACTS / "notes.txt").write_text("tau 0.5\nin use\n")
    kernel = Shared()
    kernel.prepare = lambda context: {"notes": "notes.txt"}  # type: ignore[method-assign]
    for _ in range(2):
        with Journal.open(tmp_path / "journal.jsonl") as journal:
            place = Workplace(tmp_path, Recipe(trials=1), kernel, journal, Silent())  # type: ignore[arg-type]
            settings = SearchSettings(str(tmp_path), "click", "auc", True, evaluator="kit/shared", options={"epochs": 2})
            made(place, None, settings, SPACE)  # type: ignore[arg-type]
            assert place.notes == ["tau 0.5", "in use"]


def test_a_trial_is_handed_it_and_its_parent(tmp_path: Path) -> None:
    settings = SearchSettings(str(tmp_path), "click", "auc", True, artefacts={"stem": "stem.bin"})
    context = context_of(settings.task_for(7, 0, 1.0, {}, 3, None), None, None)  # type: ignore[arg-type]
    assert (context.artefacts, context.parent, context.trial) == ({"stem": "stem.bin"}, 3, 7)


@pytest.mark.parametrize(
    ("kernel", "told"), [(Shared(fault="no room"), "no room"), (Shared("other.bin"), "files that are not there: other.bin")]
)
def test_what_cannot_be_prepared_is_told_with_the_evaluator(tmp_path: Path, kernel: Shared, told: str) -> None:
    with pytest.raises(PluginError, match=f"'kit/shared' cannot prepare.*{told}"):
        prepared(tmp_path, kernel)
