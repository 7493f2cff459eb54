"""Equal seeds give equal runs: the same journal, the same result and the same bundle, whatever evaluated the trials."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from resume_kit import differences, run_once


def digest(run: Path) -> str:
    return str(json.loads((run / "result.json").read_text())["bundle"]["content_digest"])


@pytest.mark.slow
def test_two_workers_give_the_run_of_one(tmp_path: Path, reference: Any) -> None:
    table, first, _ = reference
    assert run_once(tmp_path / "run", table, workers=2) == 0
    assert differences(first, tmp_path / "run") == []
    assert digest(first) == digest(tmp_path / "run")


@pytest.mark.slow
def test_another_seed_gives_another_run(tmp_path: Path, reference: Any) -> None:
    table, first, _ = reference
    assert run_once(tmp_path / "run", table, seed=5) == 0
    assert differences(first, tmp_path / "run") != []


@pytest.mark.slow
def test_a_kernel_without_workers_finds_the_same_bundle(tmp_path: Path, reference: Any) -> None:
    table, first, _ = reference
    assert run_once(tmp_path / "run", table, blocked=["workers"]) == 0
    assert digest(first) == digest(tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["random", "tpe", "evolution", "controller"])
@pytest.mark.parametrize("task", ["recommend", "rate", "click"])
def test_every_strategy_and_task_is_the_same_for_one_and_for_two_workers(tmp_path: Path, reference: Any, strategy: str, task: str) -> None:
    table, _, _ = reference
    recipe = {"task": task, **({"positive_threshold": 4} if task == "click" else {})}
    for workers in (1, 2):
        assert run_once(tmp_path / str(workers), table, workers=workers, trials=9, strategy=strategy, recipe=recipe) == 0
    assert differences(tmp_path / "1", tmp_path / "2") == []
