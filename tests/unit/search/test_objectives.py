"""What trials are compared by: a metric, a reward, several values; brackets of Hyperband; the knee of a front."""

from __future__ import annotations

from typing import Any

import pytest
from loop_kit import AtOnce, Scripted, search

from autorec_kernel.records.trial import Cost, Evaluation, Trial
from autorec_kernel.search.front import front_of, knee_of
from autorec_kernel.search.objectives import Objectives
from autorec_kernel.search.settings import SearchSettings
from autorec_kernel.space import Genotype

FOUND = Evaluation("complete", {"auc": 0.8, "rmse": 0.9}, Cost(parameters=500_000, bytes=3 << 20, latency_ms=4.0))


def test_the_metric_alone_is_turned_round_where_smaller_is_better() -> None:
    assert Objectives("auc").of(FOUND) == (0.8,)
    assert Objectives("rmse", maximise=False).of(FOUND) == (-0.9,)
    assert Objectives("auc").told == ("auc",)


def test_several_values_are_all_to_be_maximised() -> None:
    goal = Objectives("auc", names=("metric", "latency", "bytes", "parameters"))
    assert goal.of(FOUND) == (0.8, -4.0, -float(3 << 20), -500_000.0)
    assert goal.told == ("auc", "latency", "bytes", "parameters")


def test_the_reward_takes_weighted_costs_off_the_weighted_metric() -> None:
    goal = Objectives("auc", weights={"metric": 2.0, "latency": 0.01, "bytes": 0.1, "parameters": 0.5})
    assert goal.of(FOUND) == pytest.approx((2.0 * 0.8 - 0.01 * 4.0 - 0.1 * 3.0 - 0.5 * 0.5,))
    assert goal.told == ("reward",)


def test_costs_are_counted_in_hard_limits_where_there_are_some() -> None:
    limits = {"max_latency_ms": 8.0, "max_params": 1e6, "max_bytes": float(6 << 20)}
    goal = Objectives("auc", weights={"latency": 0.1, "bytes": 0.01, "parameters": 0.001}, limits=limits)
    assert goal.of(FOUND) == pytest.approx((0.8 - 0.1 * 0.5 - 0.01 * 0.5 - 0.001 * 0.5,))


@pytest.mark.parametrize(
    ("dearer", "cost"), [("latency", {"latency_ms": 5.0}), ("bytes", {"bytes": 4 << 20}), ("parameters", {"parameters": 600_000})]
)
def test_every_weight_lowers_the_reward_of_what_costs_more(dearer: str, cost: dict[str, Any]) -> None:
    worse = Evaluation("complete", FOUND.metrics, Cost(**{"parameters": 500_000, "bytes": 3 << 20, "latency_ms": 4.0, **cost}))
    goal = Objectives("auc", weights={dearer: 0.1})
    assert goal.of(worse)[0] < goal.of(FOUND)[0]
    others = {"latency", "bytes", "parameters"} - {dearer}
    assert Objectives("auc", weights=dict.fromkeys(others, 0.1)).of(worse) == Objectives("auc", weights=dict.fromkeys(others, 0.1)).of(
        FOUND
    )


@pytest.mark.parametrize(
    "found", [Evaluation("failed", {"auc": 0.5}), Evaluation("complete", {"auc": float("nan")}), Evaluation("complete")]
)
def test_what_has_no_metric_has_no_objectives(found: Evaluation) -> None:
    assert Objectives("auc", names=("metric", "bytes")).of(found) == ()


def test_hyperband_starts_each_batch_a_rung_higher_and_smaller() -> None:
    settings = SearchSettings("", "click", "auc", True, batch=9, shares=(1 / 9, 1 / 3, 1.0), eta=3, schedule="hyperband")
    assert [settings.bracket(index) for index in range(4)] == [
        ((1 / 9, 1 / 3, 1.0), 9),
        ((1 / 3, 1.0), 5),
        ((1.0,), 3),
        ((1 / 9, 1 / 3, 1.0), 9),
    ]
    halving = SearchSettings("", "click", "auc", True, batch=9, shares=(1 / 9, 1 / 3, 1.0))
    assert {halving.bracket(index) for index in range(4)} == {((1 / 9, 1 / 3, 1.0), 9)}


def test_the_loop_asks_for_brackets_and_trains_them_from_their_own_first_rung(tmp_path: Any) -> None:
    deep = [{"pipeline": "retriever", "retriever": name, f"{name}.width": n} for name in ("z/deep", "z/wide") for n in (1, 3, 4, 5, 6)]
    deep.append({**deep[0], "retriever.training.learning_rate": 0.2})
    session, submit = Scripted(deep[:4], deep[4:8], deep[8:]), AtOnce()
    search(tmp_path, submit, session=session, trials=2 + 4 + 4 + 3, schedule="hyperband", shares=(0.25, 1.0), batch=4, eta=2)
    assert session.asked == [4, 4, 3]  # ceil(4 · 2/1 / 2) = 4: two rungs make brackets of 4 and 4
    shares = {task.trial: task.share for task in submit.tasks if task.rung == 0 and task.trial >= 4}
    assert shares == {**dict.fromkeys(range(4, 8), 0.25), **dict.fromkeys(range(8, 12), 1.0), **dict.fromkeys(range(12, 15), 0.25)}


def test_the_best_of_several_objectives_is_told_with_all_of_them(tmp_path: Any) -> None:
    _, result = search(tmp_path, AtOnce(), trials=6, objectives=("metric", "latency"))
    complete = [trial for trial in result.trials if trial.status == "complete"]
    assert complete
    assert all(trial.objectives == (trial.metrics["ndcg@10"], -trial.cost.latency_ms) for trial in complete)
    assert result.best is not None
    assert result.best.value == max(trial.value for trial in complete)


def test_the_front_is_of_the_metric_whatever_the_reward_is(tmp_path: Any) -> None:
    _, result = search(tmp_path, AtOnce(), trials=10, weights={"latency": 100.0})
    best = max((t for t in result.trials if t.status == "complete"), key=lambda t: t.metrics["ndcg@10"])
    assert result.front[0].metrics["ndcg@10"] == best.metrics["ndcg@10"]
    assert result.best is not None
    assert result.best.cost.latency_ms == min(t.cost.latency_ms for t in result.trials if t.status == "complete")


def trial(number: int, value: float, latency: float, size: int = 1) -> Trial:
    return Trial(number, Genotype({}), "complete", (value,), cost=Cost(1, size, latency))


def test_the_knee_is_where_giving_up_more_of_one_buys_little_of_the_other() -> None:
    trials = [trial(0, 1.0, 100.0), trial(1, 0.95, 20.0), trial(2, 0.5, 10.0), trial(3, 0.4, 50.0)]
    front = front_of(trials)
    assert [one.number for one in front] == [0, 1, 2]
    assert knee_of(front) is trials[1]
    assert knee_of(front[:1]) is trials[0]
    assert knee_of(()) is None
