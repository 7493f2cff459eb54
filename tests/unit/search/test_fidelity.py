"""What rungs save on planted learning curves: fewer trained epochs, the same winner."""

from __future__ import annotations

import math
from typing import Any

import pytest
from loop_kit import AtOnce, Scripted, search

from autorec_kernel.contracts.evaluator import Task
from autorec_kernel.records.trial import Cost, Evaluation
from autorec_kernel.space import Genotype

RATES = [n / 10 for n in range(1, 10)]


def curve(task: Task) -> Evaluation:
    """A curve that rises to a level of its own at a speed of its own: early values rank most candidates rightly, not all."""
    draw = int(Genotype(task.genotype).digest[:12], 16)
    level, speed = 0.5 + (draw % 1009) / 1009 * 0.4, 5.0 + draw // 1009 % 5 / 2
    value = level * (1.0 - 0.6 * math.exp(-speed * task.share))
    return Evaluation("complete", {"ndcg@10": value}, Cost(1, 1, 1.0, 1.0))


def candidates(seed: int) -> list[dict[str, Any]]:
    names, widths = ("z/deep", "z/wide"), range(1, 7)
    every = [
        {"pipeline": "retriever", "retriever": name, f"{name}.width": width, "retriever.training.learning_rate": rate}
        for name in names
        for width in widths
        for rate in RATES
    ]
    return every[seed::4]


def batches(rows: list[dict[str, Any]], sizes: list[int]) -> list[list[dict[str, Any]]]:
    found = []
    for size in sizes:
        found.append(rows[:size])
        rows = rows[size:]
    return found


def epochs(submit: AtOnce) -> float:
    """Shares of a full training that the proposals took; baselines and blueprints (the first four) come before them."""
    return sum(task.share for task in submit.tasks if task.trial >= 4)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("schedule", "sizes", "saved"), [("halving", [9, 9, 9], 0.6), ("hyperband", [9, 5, 3, 9], 0.4)])
def test_rungs_train_less_and_find_the_same_winner(tmp_path: Any, schedule: str, sizes: list[int], saved: float, seed: int) -> None:
    rows, found = candidates(seed), {}
    for name, changes in {"full": {"shares": (1.0,)}, "rungs": {"shares": (1 / 9, 1 / 3, 1.0), "schedule": schedule}}.items():
        submit, folder = AtOnce(curve), tmp_path / name
        folder.mkdir()
        size = {"batch": 9} if name == "rungs" else {"batch": sum(sizes)}
        session = Scripted(*batches(rows, sizes if name == "rungs" else [sum(sizes)]))
        _, result = search(folder, submit, session=session, trials=2 + sum(sizes), **size, **changes)
        assert result.best is not None
        found[name] = epochs(submit), result.best.genotype
    assert found["rungs"][1] == found["full"][1]
    assert found["rungs"][0] <= (1 - saved) * found["full"][0]
