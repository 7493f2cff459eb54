"""What is checked before anything is read, and figures that cannot be told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from autorec_kernel.errors import UsageError
from autorec_kernel.evaluation import RankingResult
from autorec_kernel.recipe import Recipe
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.stages import evaluate
from autorec_kernel.stages.identity import _differences
from autorec_kernel.stages.search import check_metric, preferred


@pytest.mark.parametrize(("task", "metric"), [("recommend", "rmse"), ("rate", "ndcg@10"), ("recommend", "foo"), ("click", "ndcg")])
def test_a_metric_that_does_not_judge_the_task_is_refused_before_work(task: Any, metric: str) -> None:
    with pytest.raises(UsageError):
        check_metric(Recipe(task=task, metric=metric))


@pytest.mark.parametrize(("task", "metric"), [("recommend", "recall@20"), ("rate", "mae"), ("click", "log_loss"), ("click", "")])
def test_a_metric_of_the_task_passes(task: Any, metric: str) -> None:
    check_metric(Recipe(task=task, metric=metric))


def test_one_judged_user_has_no_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    found = RankingResult(np.array([1]), {"ndcg@10": np.array([0.5])}, {}, {})
    monkeypatch.setattr(evaluate, "evaluate_ranking", lambda *_: found)
    place = SimpleNamespace(recipe=Recipe(metric="ndcg@10", test_users=0))
    features = SimpleNamespace(evaluation=lambda split: SimpleNamespace(users=np.array([1])), schema=FeatureSchema(users=2))
    measured = evaluate.measure(None, features, place)  # type: ignore[arg-type]
    assert measured.interval is None and measured.metrics["ndcg@10"] == 0.5


def test_the_tag_default_wins_then_fallback_then_the_first() -> None:
    def kernel(*rows: tuple[str, tuple[str, ...], bool]) -> Any:
        made = [SimpleNamespace(id=name, tags=tags, usable=usable) for name, tags, usable in rows]
        return SimpleNamespace(components=lambda kind: made)

    plain, back, best = ("a/a", (), True), ("b/b", ("fallback",), True), ("z/z", ("default",), True)
    assert preferred(kernel(plain, back, best), "executor") == "z/z"
    assert preferred(kernel(plain, back, (*best[:2], False)), "executor") == "b/b"
    assert preferred(kernel(plain), "executor") == "a/a"
    assert preferred(kernel(), "executor") is None


def test_only_the_options_that_differ_are_told() -> None:
    assert _differences("recipe", {"seed": 0, "task": "rate"}, {"seed": 5, "task": "rate"}) == ["seed: was 0, is 5"]
    assert _differences("data", "aa", "bb") == ["data: was aa, is bb"]


def _trial(number: int, status: str = "complete", *tasks: str) -> Any:
    return SimpleNamespace(number=number, status=status, details={"tasks": list(tasks)} if tasks else {})


def test_of_several_labels_only_what_predicts_them_all_is_served() -> None:
    schema, one = FeatureSchema(tasks={"click": "logit", "buy": "logit"}), FeatureSchema(tasks={"click": "logit"})
    trials = [_trial(0), _trial(1, "complete", "click"), _trial(2, "complete", "buy", "click"), _trial(3, "nan", "click", "buy")]
    assert [trial.number for trial in evaluate.answering(trials, schema, "click")] == [2]
    for kept in (evaluate.answering(trials[:2], schema, "click"), evaluate.answering(trials[:2], one, "click")):
        assert [trial.number for trial in kept] == [0, 1]
    assert len(evaluate.answering(trials, schema, "recommend")) == 4
