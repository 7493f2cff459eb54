"""How long a trial may take: never longer than leaves its refit the time it needs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autorec_kernel.contracts.evaluator import Task
from autorec_kernel.search.settings import SearchSettings

SETTINGS = SearchSettings(
    "runs/a", "click", "auc", True, seed=7, evaluator="kit/judge", limits={"max_bytes": 5.0}, options={"folds": 2}, threads=3
)


def task(left: float | None, settings: SearchSettings = SETTINGS, **changes: Any) -> Task:
    return replace(settings, **changes).task_for(4, 1, 0.34, {"pipeline": "ranker"}, 2, left)


@pytest.mark.parametrize("left", [10.0, 55.0, 3600.0])
def test_a_trial_and_its_refit_on_a_fifth_more_rows_fit_into_what_is_left(left: float) -> None:
    soft = task(left).soft_seconds
    assert soft == pytest.approx(left / 2.2)
    assert soft + 1.2 * soft == pytest.approx(left)


@pytest.mark.parametrize(
    ("limit", "left", "soft"),
    [(10.0, 100.0, 10.0), (10.0, 22.0, 10.0), (10.0, 21.9, 21.9 / 2.2), (10.0, None, 10.0), (0.0, 44.0, 20.0), (0.5, 100.0, 1.0)],
)
def test_the_shorter_of_its_own_limit_and_its_part_of_what_is_left_ends_a_trial(limit: float, left: float | None, soft: float) -> None:
    assert task(left, trial_seconds=limit).soft_seconds == pytest.approx(soft)


@pytest.mark.parametrize("left", [2.0, 0.0, -30.0])
def test_a_trial_that_begins_late_still_has_a_second(left: float) -> None:
    assert task(left).soft_seconds == 1.0
    assert task(left, trial_seconds=60.0).soft_seconds == 1.0


def test_without_a_limit_nothing_ends_a_trial() -> None:
    found = task(None)
    assert (found.soft_seconds, found.deadline_seconds) == (0.0, 0.0)
    assert found.limits == {"max_bytes": 5.0}


def test_a_worker_is_ended_some_time_after_the_trial_should_have_ended_itself() -> None:
    found = task(22.0)
    assert found.deadline_seconds == pytest.approx(2 * 10.0 + 20)
    assert found.limits == {"max_bytes": 5.0, "max_seconds": found.soft_seconds}
    assert SETTINGS.limits == {"max_bytes": 5.0}


def test_the_task_says_which_trial_it_is_and_holds_copies_of_its_own() -> None:
    genotype = {"pipeline": "ranker"}
    found = SETTINGS.task_for(4, 1, 0.34, genotype, 2, None)
    told = (found.run, found.trial, found.rung, found.share, found.parent, found.evaluator, found.seed, found.threads)
    assert told == ("runs/a", 4, 1, 0.34, 2, "kit/judge", 7, 3)
    assert (found.task, found.metric, found.genotype, found.options) == ("click", "auc", genotype, {"folds": 2})
    genotype["pipeline"] = "retriever"
    assert found.genotype == {"pipeline": "ranker"}
