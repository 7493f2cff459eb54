"""Runs under the cheap evaluators: replayed bit for bit without an artefact, equal when they go on after a stop, finished with a winner."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autorec_kernel.contracts.evaluator import PROVISIONAL
from autorec_kernel.errors import InterruptedRun
from autorec_kernel.kernel import Kernel
from autorec_kernel.pipeline import run as run_road
from autorec_kernel.recipe import Recipe
from autorec_kernel.records.trial import Trial
from autorec_kernel.search.journal import compare, read_journal
from autorec_kernel.stages.workplace import Silent
from autorec_studies.again import AFTER_SEARCH, replay

KERNEL = Kernel.discover(blocked=("workers",))
FULL = {"full": {"epochs": 2, "batch_size": 256}, "useful": -1.0}
OPTIONS = {
    "supernet/inherited": {**FULL, "candidates": 0, "epochs": 2, "from_parent": True, "width": 16},
    "supernet/one-shot": {**FULL, "candidates": 9, "steps": 20},
    "supernet/proxies": {**FULL, "candidates": 6, "rows": 16},
}


class Stops(Silent):
    """Stops a run when its search has ended, or after some results of it."""

    def __init__(self, results: int | None = None) -> None:
        self.left = results

    def stage(self, name: str, text: str) -> None:
        if name == "evaluate":
            raise KeyboardInterrupt

    def trial(self, trial: Trial, *, number: int, total: int | None, best: Trial | None, share: float) -> None:
        self.left = None if self.left is None else self.left - 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(5)
    users, items = rng.integers(0, 40, 600), (rng.integers(0, 30, 600) ** 2) // 30
    rows = [f"u{u},i{i},{1 + (u + i) % 5},{1_600_000_000 + 60 * n}" for n, (u, i) in enumerate(zip(users, items, strict=True))]
    path = tmp_path_factory.mktemp("table") / "table.csv"
    path.write_text("\n".join(["user_id,item_id,rating,timestamp", *rows]) + "\n")
    return path


def recipe(evaluator: str, **told: Any) -> Recipe:
    base: dict[str, Any] = {"task": "rate", "trials": 6, "strategy": "evolution/evolution", "blueprints": ("zoo/deepfm", "zoo/dcn")}
    base |= {"strategy_options": {"startup": 1, "population": 3, "tournament": 2}}
    base |= {"features": "raw", "device": "cpu", "seed": 3, "evaluator": evaluator, "evaluator_options": OPTIONS[evaluator]}
    return Recipe(**{**base, **told})


def searched(folder: Path, table: Path, evaluator: str, *, results: int | None = None, resume: bool = False) -> Path:
    with pytest.raises(InterruptedRun):
        run_road(table, recipe(evaluator), KERNEL, folder, resume=resume, reporter=Stops(results))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("evaluator", sorted(OPTIONS))
def test_a_run_is_replayed_bit_for_bit_without_any_artefact_and_after_a_stop(tmp_path: Path, table: Path, evaluator: str) -> None:
    whole = searched(tmp_path / "whole", table, evaluator)
    searched(tmp_path / "stopped", table, evaluator, results=9)
    searched(tmp_path / "stopped", table, evaluator, resume=True)
    journals = [folder / "journal.jsonl" for folder in (whole, tmp_path / "stopped")]
    assert compare(*journals) == ()
    (tmp_path / "bare").mkdir()
    journals[1].rename(tmp_path / "bare" / "journal.jsonl")
    found = replay(tmp_path / "bare", KERNEL, tmp_path / "replay")
    assert found.equal, found.differences
    assert compare(journals[0], tmp_path / "replay" / "journal.jsonl", ignore_kinds=AFTER_SEARCH) == ()
    told = [record["evaluation"]["details"] for record in read_journal(journals[0]) if record["kind"] == "result"]
    judged = [details["judged"]["by"] for details in told]
    assert evaluator in judged
    scored = evaluator != "supernet/inherited"
    assert all(details.get(PROVISIONAL, False) == (scored and by == evaluator) for details, by in zip(told, judged, strict=True))
    assert all(details["judged"]["by"] == "training/full" for details in told if str(details["blueprint"]).startswith("baselines/"))
    sources = {str(details["inherited"]["from"]).split()[0] for details in told if "inherited" in details}
    assert sources == ({"stem", "trial"} if evaluator == "supernet/inherited" else set())


@pytest.mark.slow
@pytest.mark.parametrize("evaluator", ["supernet/inherited", "supernet/one-shot"])
def test_a_run_ends_with_a_trained_winner_and_says_what_the_evaluator_is_worth(tmp_path: Path, table: Path, evaluator: str) -> None:
    run_road(table, recipe(evaluator, blueprints=("zoo/deepfm",)), KERNEL, tmp_path / "run", reporter=Silent())
    told = json.loads((tmp_path / "run" / "result.json").read_text())
    assert any(note.startswith(f"{evaluator}: ") for note in told["notes"])
    assert told["best"]["trial"] is not None


@pytest.mark.slow
@pytest.mark.parametrize("evaluator", ["supernet/inherited", "supernet/one-shot"])
def test_two_workers_make_the_journal_of_one_process(tmp_path: Path, table: Path, evaluator: str) -> None:
    whole = searched(tmp_path / "whole", table, evaluator)
    with pytest.raises(InterruptedRun):
        run_road(table, recipe(evaluator, workers=2), Kernel.discover(), tmp_path / "two", reporter=Stops())
    assert compare(whole / "journal.jsonl", tmp_path / "two" / "journal.jsonl", ignore_kinds=("run",)) == ()
