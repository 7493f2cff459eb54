from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autorec_kernel.contracts.evaluator import Task
from autorec_kernel.errors import ContractError
from autorec_kernel.records.trial import Evaluation
from autorec_kernel.search.inprocess import run_here
from autorec_kernel.search.tasks import ARTEFACTS, run_task, task_from_json, task_json, threads_limited


class Host:
    """A kernel whose one evaluator does what the test says."""

    def __init__(self, act: Any) -> None:
        self.act = act

    def create(self, kind: str, name: str, /, **options: Any) -> Any:
        return self

    def evaluate(self, genotype: Any, rung: Any, context: Any) -> Any:
        return self.act(genotype, rung, context)


def task(tmp_path: Path, **changes: Any) -> Task:
    values = {"run": str(tmp_path), "trial": 3, "rung": 1, "share": 0.5, "genotype": {"a": [1, 2]}, "evaluator": "e/e", "seed": 1}
    return Task(**{**values, **changes})


def outcome(tmp_path: Path, act: Any, **changes: Any) -> Evaluation:
    return run_task(task(tmp_path, **changes), Host(act), features=object())  # type: ignore[arg-type]


def raising(error: BaseException) -> Any:
    def act(*_: Any) -> Any:
        raise error

    return act


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ContractError("impossible graph"), "infeasible"),
        (FloatingPointError("loss became nan"), "nan"),
        (ZeroDivisionError("x"), "nan"),
        (MemoryError(), "oom"),
        (RuntimeError("CUDA out of memory. Tried to allocate"), "oom"),
        (ValueError("whatever"), "failed"),
        (SystemExit(3), "failed"),
    ],
)
def test_what_an_evaluator_raises_becomes_a_status(tmp_path: Path, error: BaseException, status: str) -> None:
    found = outcome(tmp_path, raising(error))
    assert found.status == status and found.error


def test_ctrl_c_is_not_a_status(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        outcome(tmp_path, raising(KeyboardInterrupt()))


@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_a_complete_evaluation_without_a_finite_metric_is_nan(tmp_path: Path, value: Any) -> None:
    metrics = {} if value is None else {"ndcg@10": value}
    found = outcome(tmp_path, lambda *_: Evaluation("complete", metrics))
    assert found.status == "nan" and "ndcg@10" in found.error
    assert outcome(tmp_path, lambda *_: Evaluation("stopped", metrics)).status == "stopped"


def test_something_else_than_an_evaluation_is_a_failure(tmp_path: Path) -> None:
    assert outcome(tmp_path, lambda *_: 0.5).error == "evaluator returned float, expected Evaluation"


def test_equal_failures_have_equal_texts(tmp_path: Path) -> None:
    texts = {outcome(tmp_path, raising(ValueError(f"no {object()!r}"))).error for _ in range(3)}
    assert len(texts) == 1 and "0x…" in texts.pop()


def test_a_trial_runs_with_its_threads_and_leaves_the_process_as_it_was(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    seen: list[int] = []

    def act(*_: Any) -> Evaluation:
        seen.append(torch.get_num_threads())
        return Evaluation("complete", {"ndcg@10": 0.5})

    for threads in (1, 2, 3):
        outcome(tmp_path, act, threads=threads)
    assert seen == [1, 2, 3] and torch.get_num_threads() == before
    with pytest.raises(KeyError), threads_limited(before + 1):
        raise KeyError
    assert torch.get_num_threads() == before


def test_the_context_carries_what_the_task_says(tmp_path: Path) -> None:
    def act(genotype: Any, rung: Any, context: Any) -> Evaluation:
        assert (dict(genotype), rung.index, rung.share) == ({"a": (1, 2)}, 1, 0.5)
        assert (context.trial, context.seed, context.metric, context.folder) == (3, 1, "ndcg@10", tmp_path / ARTEFACTS)
        assert context.deadline is None and context.folder.is_dir()
        return Evaluation("complete", {"ndcg@10": 0.5})

    assert outcome(tmp_path, act).status == "complete"


def test_a_task_is_plain_json(tmp_path: Path) -> None:
    given = task(tmp_path, limits={"max_params": 5.0}, options={"epochs": 2}, parent=4)
    assert task_from_json(json.loads(json.dumps(task_json(given)))) == given


def test_evaluating_here_answers_at_once(tmp_path: Path) -> None:
    future = run_here(lambda one: Evaluation("complete", {"ndcg@10": float(one.trial)}))(task(tmp_path))
    assert future.done() and future.result().metrics == {"ndcg@10": 3.0} and np.isfinite(future.result().metrics["ndcg@10"])
