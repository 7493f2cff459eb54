"""The search under a deadline, with a clock that tests turn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from loop_kit import AtOnce, Later, Scripted, Session, evaluated, search

from autorec_kernel.contracts.evaluator import Task
from autorec_kernel.records.trial import Cost, Evaluation
from autorec_kernel.search import loop
from autorec_kernel.search.journal import read_journal


class Clock:
    """Stands still but for what evaluations take."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def taking(self, seconds: float, obey: bool = True) -> Any:
        def judge(task: Task) -> Evaluation:
            self.now += min(seconds, task.soft_seconds) if obey and task.soft_seconds else seconds
            return Evaluation("complete", {"ndcg@10": 0.1 + task.trial / 100}, Cost(1, 1, 1.0, 1.0))

        return judge


@pytest.fixture
def clock(monkeypatch: Any) -> Clock:
    clock = Clock()
    monkeypatch.setattr(loop, "time", clock)
    return clock


def run(folder: Path, clock: Clock, submit: Any, seconds: float, **changes: Any) -> Any:
    return search(folder, submit, trials=None, deadline=clock.now + seconds, **changes)


def test_the_search_ends_when_its_time_does(tmp_path: Path, clock: Clock) -> None:
    began = clock.now
    _, result = run(tmp_path, clock, AtOnce(clock.taking(1.0)), 20.5)
    assert result.stopped_by == "time"
    assert 20.5 <= clock.now - began <= 21.5
    assert result.best is not None


@pytest.mark.parametrize("workers", [1, 2])
def test_tasks_that_wait_for_a_worker_do_not_use_the_same_time_twice(tmp_path: Path, clock: Clock, workers: int) -> None:
    """Four trainings of as long as is allowed, after 10 s: each may take what is left when it starts, not when its batch does."""
    began = clock.now
    submit = AtOnce(clock.taking(15.0))
    run(tmp_path, clock, submit, 50.0, parallel=workers, trial_seconds=15.0)
    assert clock.now - began <= 51.0
    assert all(task.soft_seconds <= 15.0 for task in submit.tasks)


def test_no_more_tasks_are_given_out_than_there_are_workers(tmp_path: Path, clock: Clock, monkeypatch: Any) -> None:
    submit = Later(clock.taking(1.0), pick=lambda count: 0)
    monkeypatch.setattr(loop, "wait", submit.wait)
    run(tmp_path, clock, submit, 30.0, parallel=2)
    assert submit.most == 2


def test_what_is_cut_off_is_named_not_journaled_and_not_told(tmp_path: Path, clock: Clock) -> None:
    session = Session()
    submit = AtOnce(clock.taking(1.0))
    _, result = run(tmp_path, clock, submit, 2.5, session=session)
    assert evaluated(submit.tasks) == [(0, 0), (1, 0), (2, 0)]
    assert [(trial.number, trial.status) for trial in result.trials[2:]] == [(2, "complete"), (3, "stopped")]
    assert result.trials[3].error == "the budget ended before it was tried" and result.trials[3].objectives == ()
    assert [len(batch) for batch in session.told] == [2]
    records = read_journal(tmp_path / "journal.jsonl")
    assert [r["trial"] for r in records if r["kind"] == "result"] == [0, 1, 2]
    assert [r["batch"] for r in records if r["kind"] == "told"] == [0]
    assert result.best is not None and result.best.number == 2


def test_what_was_cut_off_is_done_when_the_run_is_resumed_with_more_time(tmp_path: Path, clock: Clock) -> None:
    run(tmp_path, clock, AtOnce(clock.taking(1.0)), 2.5)
    submit, session = AtOnce(clock.taking(1.0)), Session()
    _, result = run(tmp_path, clock, submit, 1.5, session=session)
    assert evaluated(submit.tasks)[0] == (3, 0)
    assert result.trials[3].status == "complete" and [len(batch) for batch in session.told] == [2, 2]


def test_a_run_whose_time_is_used_up_keeps_every_finished_trial_when_resumed(tmp_path: Path, clock: Clock) -> None:
    _, before = run(tmp_path, clock, AtOnce(clock.taking(1.0)), 13.5)
    submit = AtOnce(clock.taking(1.0))
    _, after = run(tmp_path, clock, submit, -5.0)
    assert submit.tasks == []
    assert [(t.number, t.status, t.objectives) for t in after.trials] == [(t.number, t.status, t.objectives) for t in before.trials]
    assert after.best is not None and before.best is not None and after.best.number == before.best.number


def test_without_any_result_the_baselines_run_although_the_time_is_up(tmp_path: Path, clock: Clock) -> None:
    submit = AtOnce(clock.taking(1.0))
    _, result = run(tmp_path, clock, submit, -1.0)
    assert evaluated(submit.tasks) == [(0, 0)]
    assert result.best is not None and submit.tasks[0].soft_seconds == 1.0


def test_a_trial_keeps_its_lower_rung_when_the_time_ends_before_the_next(tmp_path: Path, clock: Clock) -> None:
    deep = [{"pipeline": "retriever", "retriever": "z/deep", "z/deep.width": width} for width in (1, 3, 4, 5)]
    submit = AtOnce(clock.taking(1.0))
    _, result = run(tmp_path, clock, submit, 7.9, session=Scripted(deep))
    assert evaluated(submit.tasks)[4:] == [(4, 0), (5, 0), (6, 0), (7, 0)]
    assert [(trial.status, trial.rung) for trial in result.trials[4:]] == [("stopped", 0)] * 2 + [("complete", 0)] * 2
    assert result.best is result.trials[7]
