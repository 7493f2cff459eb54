from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from loop_kit import OFFERS, SPACE, AtOnce, Later, Scripted, Session, evaluated, judged, search

from autorec_kernel.contracts.evaluator import CONVERGED, PROVISIONAL, Task
from autorec_kernel.errors import InfrastructureError, PluginError
from autorec_kernel.records.trial import STATUSES, Cost, Evaluation
from autorec_kernel.search import loop
from autorec_kernel.search.journal import compare, read_journal

DEEP = {"pipeline": "retriever", "retriever": "z/deep"}


def deep(**values: Any) -> dict[str, Any]:
    return {**DEEP, **{f"z/deep.{name}": value for name, value in values.items()}}


def scored(values: dict[Any, float], **changes: Any) -> Any:
    """Judge by (trial, rung), else by trial, else 0.1."""

    def judge(task: Task) -> Evaluation:
        value = values.get((task.trial, task.rung), values.get(task.trial, 0.1))
        return Evaluation("complete", {"ndcg@10": value}, Cost(1, 1, 1.0, 1.0))

    return judge


def kinds(folder: Any) -> list[str]:
    return [record["kind"] for record in read_journal(folder / "journal.jsonl")]


def test_baselines_come_first_then_blueprints_then_what_the_strategy_proposes(tmp_path: Any) -> None:
    found, result = search(tmp_path, AtOnce(), trials=6)
    assert [trial.reason for trial in result.trials[:4]] == ["baseline b/pop", "baseline b/knn", "blueprint z/deep", "blueprint z/wide"]
    assert found.baselines == {0: "b/pop", 1: "b/knn"}
    assert {trial.reason for trial in result.trials[4:]} <= {"drawn", "mutated"}
    assert len(result.trials) == 2 + 6
    assert result.stopped_by == "trials"


def test_blueprints_are_trained_in_full_and_proposals_climb_the_ladder(tmp_path: Any) -> None:
    submit = AtOnce(scored({}))
    session = Scripted([deep(width=n) for n in (1, 3, 4, 5)])
    search(tmp_path, submit, session=session, trials=6)
    shares = {(task.trial, task.rung): task.share for task in submit.tasks}
    assert shares == {**{(n, 0): 1.0 for n in range(4)}, **{(n, 0): 0.34 for n in range(4, 8)}, (4, 1): 1.0, (5, 1): 1.0}


def test_closed_forms_are_evaluated_in_full_and_never_climb_or_stop(tmp_path: Any) -> None:
    submit = AtOnce(scored({4: 0.9}))
    knn = {"pipeline": "retriever", "retriever": "b/knn", "b/knn.k": 3}
    _, result = search(tmp_path, submit, session=Scripted([knn, deep(width=1), deep(width=3), deep(width=4)]), trials=6)
    assert [(t.trial, t.rung, t.share) for t in submit.tasks if t.trial == 4] == [(4, 0, 1.0)]
    assert [(trial.status, trial.rung) for trial in result.trials[4:]] == [("complete", 0), ("complete", 1), ("stopped", 0), ("stopped", 0)]


@pytest.mark.parametrize(("able", "eta", "expected"), [(1, 3, 1), (3, 3, 1), (4, 3, 2), (7, 3, 3), (5, 2, 3), (4, 4, 1), (5, 4, 2)])
def test_the_best_share_of_a_batch_is_promoted_rounded_up(tmp_path: Any, able: int, eta: int, expected: int) -> None:
    submit = AtOnce(scored({4 + n: 0.1 * n for n in range(able)}))
    genes = [{**deep(width=1 + n % 6), "retriever.training.learning_rate": 0.1 + 0.1 * n} for n in range(able)]
    search(tmp_path, submit, session=Scripted(genes), trials=2 + able, batch=able, eta=eta)
    climbed = [task.trial for task in submit.tasks if task.rung == 1]
    assert climbed == list(range(4 + able - expected, 4 + able))


def test_among_equals_the_lower_number_is_promoted(tmp_path: Any) -> None:
    submit = AtOnce(scored({5: 0.2, 6: 0.2, 7: 0.2}))
    search(tmp_path, submit, session=Scripted([deep(width=n) for n in (1, 3, 4, 5)]), trials=6, eta=4)
    assert [task.trial for task in submit.tasks if task.rung == 1] == [5]


def test_a_smaller_metric_can_be_better(tmp_path: Any) -> None:
    submit = AtOnce(scored({4: 0.9, 5: 0.3, 6: 0.05, 7: 0.8}))
    _found, result = search(tmp_path, submit, session=Scripted([deep(width=n) for n in (1, 3, 4, 5)]), trials=6, eta=4, maximise=False)
    assert [task.trial for task in submit.tasks if task.rung == 1] == [6]
    assert result.best is not None and (result.best.number, result.best.objectives) == (6, (-0.05,))


def test_the_strategy_is_told_whole_batches_in_trial_order_whatever_the_order_of_arrival(tmp_path: Any, monkeypatch: Any) -> None:
    sessions = []
    for name, pick in (("first", lambda count: 0), ("last", lambda count: count - 1), ("middle", lambda count: count // 2)):
        (tmp_path / name).mkdir()
        submit, session = Later(pick=pick), Session()
        monkeypatch.setattr(loop, "wait", submit.wait)
        search(tmp_path / name, submit, session=session)
        assert submit.most > 2
        sessions.append(session)
    for batch in sessions[0].told:
        assert [trial.number for trial in batch] == list(range(batch[0].number, batch[0].number + len(batch)))
    strip = [[[(t.number, t.status, t.objectives, t.rung) for t in batch] for batch in session.told] for session in sessions]
    assert strip[0] == strip[1] == strip[2]
    assert compare(tmp_path / "first/journal.jsonl", tmp_path / "last/journal.jsonl") == ()
    assert compare(tmp_path / "first/journal.jsonl", tmp_path / "middle/journal.jsonl") == ()
    first, last = (read_journal(tmp_path / name / "journal.jsonl") for name in ("first", "last"))
    assert [r.get("trial") for r in first] != [r.get("trial") for r in last]  # the results were written as they arrived


def test_the_best_does_not_depend_on_which_of_two_equals_arrived_first(tmp_path: Any, monkeypatch: Any) -> None:
    submit = Later(scored({2: 0.5, 3: 0.5}), pick=lambda count: count - 1)
    monkeypatch.setattr(loop, "wait", submit.wait)
    found, _result = search(tmp_path, submit, trials=2)
    assert found.best is not None and found.best.number == 2


def test_a_batch_is_journaled_before_its_results_and_told_after_them(tmp_path: Any) -> None:
    search(tmp_path, AtOnce(), trials=6)
    records = read_journal(tmp_path / "journal.jsonl")
    places = {(record["kind"], record.get("batch")): record["seq"] for record in records if record["kind"] in ("batch", "told")}
    for record in records:
        if record["kind"] == "result":
            batch = next(r["batch"] for r in records if r["kind"] == "batch" and any(p["trial"] == record["trial"] for p in r["proposals"]))
            assert places["batch", batch] < record["seq"] < places["told", batch]


def test_a_result_that_is_there_is_journaled_before_the_next_task_begins(tmp_path: Any) -> None:
    written: list[int] = []

    def judge(task: Task) -> Evaluation:
        written.append(sum(kind == "result" for kind in kinds(tmp_path)))
        return scored({})(task)

    search(tmp_path, AtOnce(judge), trials=2)
    assert written == [0, 1, 2, 3]


def test_every_status_is_data_for_the_strategy_and_the_search_goes_on(tmp_path: Any) -> None:
    endings = dict(enumerate(STATUSES, 2))

    def judge(task: Task) -> Evaluation:
        status = endings.get(task.trial, "complete")
        return Evaluation(status, {"ndcg@10": 0.1} if status == "complete" else {}, error="" if status == "complete" else status)

    rates = [{**DEEP, "retriever.training.learning_rate": 0.1 + 0.05 * n} for n in range(10)]
    session = Scripted(rates[:7], rates[7:])
    _, result = search(tmp_path, AtOnce(judge), session=session, trials=12, batch=7, shares=(1.0,))
    assert [trial.status for trial in result.trials[2:11]] == list(STATUSES)
    assert [trial.objectives for trial in result.trials[2:11]] == [(0.1,)] + [()] * 8
    assert len(result.trials) == 14 and sum(map(len, session.told)) == 14


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None])
def test_a_metric_that_is_no_number_is_never_best_and_never_an_objective(tmp_path: Any, value: Any) -> None:
    def judge(task: Task) -> Evaluation:
        return Evaluation("complete", {"ndcg@10": value if task.trial == 1 else 0.1})

    _found, result = search(tmp_path, AtOnce(judge), trials=0)
    assert result.trials[1].objectives == () and result.best is not None and result.best.number == 0


def test_a_higher_rung_that_fails_leaves_the_result_of_the_lower_one(tmp_path: Any) -> None:
    def judge(task: Task) -> Evaluation:
        return Evaluation("timeout", error="slow") if task.rung else scored({4: 0.9})(task)

    _, result = search(tmp_path, AtOnce(judge), session=Scripted([deep(width=n) for n in (1, 3, 4, 5)]), trials=6, eta=4)
    assert (result.trials[4].status, result.trials[4].rung, result.trials[4].value) == ("complete", 0, 0.9)
    assert result.best is result.trials[4]


def test_a_higher_rung_that_falls_behind_does_not_replace_the_lower_one(tmp_path: Any) -> None:
    session = Scripted([deep(width=n) for n in (1, 3, 4, 5)])
    _, result = search(tmp_path, AtOnce(scored({(4, 0): 0.9, (4, 1): 0.7})), session=session, trials=6, eta=4)
    assert (result.trials[4].rung, result.trials[4].value) == (0, 0.9)
    (tmp_path / "up").mkdir()
    session = Scripted([deep(width=n) for n in (1, 3, 4, 5)])
    _, result = search(tmp_path / "up", AtOnce(scored({(4, 0): 0.7, (4, 1): 0.7})), session=session, trials=6, eta=4)
    assert result.trials[4].rung == 1


def test_equal_candidates_are_evaluated_once_and_copied(tmp_path: Any) -> None:
    submit = AtOnce(scored({4: 0.9}))
    _, result = search(tmp_path, submit, session=Scripted([deep(width=1), deep(width=1), deep(width=3), deep(width=2)]), trials=6, eta=2)
    assert evaluated(submit.tasks)[4:] == [(4, 0), (6, 0), (7, 0), (4, 1)]
    assert [trial.details.get("same_as") for trial in result.trials[4:]] == [None, 4, None, None]
    assert result.trials[5].value == result.trials[4].value and result.trials[5].measured == {}
    written = [r for r in read_journal(tmp_path / "journal.jsonl") if r["kind"] == "result" and r["trial"] == 5]
    assert [record["evaluation"]["details"]["same_as"] for record in written] == [4, 4]


def test_what_stopped_by_itself_on_a_lower_rung_is_promoted_without_another_training(tmp_path: Any) -> None:
    def judge(task: Task) -> Evaluation:
        found = scored({4: 0.9, 5: 0.8})(task)
        return replace(found, details={CONVERGED: True} if task.trial == 4 else {}, measured={"seconds": 7.0})

    submit = AtOnce(judge)
    session = Scripted([deep(width=n) for n in (1, 3, 4, 5)])
    _, result = search(tmp_path, submit, session=session, trials=6, eta=2, shares=(0.1, 0.3, 1.0))
    assert evaluated(submit.tasks)[4:] == [(4, 0), (5, 0), (6, 0), (7, 0), (5, 1)]
    assert [(trial.status, trial.rung) for trial in result.trials[4:6]] == [("complete", 2), ("stopped", 1)]
    assert result.trials[4].value == 0.9 and result.trials[4].measured == {"seconds": 7.0}
    written = [r for r in read_journal(tmp_path / "journal.jsonl") if r["kind"] == "result" and r["trial"] == 4]
    assert [(record["rung"], record["evaluation"]["details"].get("same_as")) for record in written] == [(0, None), (1, 4), (2, 4)]


def test_a_copy_of_what_converged_and_was_left_behind_is_trained_again(tmp_path: Any) -> None:
    """The original did not climb, so its artefacts may be gone; the copy has nothing of its own to climb with."""

    def judge(task: Task) -> Evaluation:
        found = scored({4: 0.5, 5: 0.9, 6: 0.1, 7: 0.1, 9: 0.2, 10: 0.2, 11: 0.2})(task)
        return replace(found, details={CONVERGED: True})

    submit = AtOnce(judge)
    session = Scripted([deep(width=n) for n in (1, 3, 4, 5)], [deep(width=1)])
    search(tmp_path, submit, session=session, trials=7, eta=4)
    assert (4, 1) not in evaluated(submit.tasks) and (8, 1) in evaluated(submit.tasks)
    written = [r for r in read_journal(tmp_path / "journal.jsonl") if r["kind"] == "result" and r["trial"] == 8]
    assert [(record["rung"], record["evaluation"]["details"].get("same_as")) for record in written] == [(0, 4), (1, None)]


def test_what_is_provisional_gives_way_to_whatever_a_higher_rung_finds(tmp_path: Any) -> None:
    def judge(task: Task) -> Evaluation:
        found = scored({(4, 0): 0.99, (4, 1): 0.3, 5: 0.2})(task)
        return replace(found, details={PROVISIONAL: True} if task.rung == 0 and task.trial >= 4 else {})

    session = Scripted([deep(width=n) for n in (1, 3, 4, 5)])
    found, result = search(tmp_path, AtOnce(judge), session=session, trials=6, eta=4)
    assert (result.trials[4].rung, result.trials[4].value) == (1, 0.3)
    assert result.best is not None and (result.best.number, result.best.value) == (4, 0.3)
    assert found.best is result.best


def test_a_full_training_that_a_blueprint_had_is_not_repeated(tmp_path: Any) -> None:
    submit = AtOnce(scored({7: 0.9}))
    _, result = search(tmp_path, submit, session=Scripted([deep(width=1), deep(width=3), deep(width=4), deep(width=2)]), trials=6, eta=4)
    assert (7, 0) in evaluated(submit.tasks) and (7, 1) not in evaluated(submit.tasks)
    assert result.trials[7].rung == 0  # the copy of trial 2 reached less than its own lower rung


def test_candidates_that_differ_only_in_training_options_are_not_equal(tmp_path: Any) -> None:
    submit = AtOnce(scored({}))
    rates = [{**DEEP, "retriever.training.learning_rate": rate} for rate in (0.2, 0.3)]
    search(tmp_path, submit, session=Scripted(rates), trials=4, batch=2)
    assert (5, 0) in evaluated(submit.tasks)


def test_a_space_without_anything_new_ends_the_search(tmp_path: Any) -> None:
    session = Scripted(*[[deep(width=1)] * 4 for _ in range(20)])
    _, result = search(tmp_path, AtOnce(scored({})), session=session, trials=100)
    assert result.stopped_by == "space exhausted"
    assert len(session.asked) == 6


def test_a_strategy_that_proposes_nothing_ends_the_search(tmp_path: Any) -> None:
    _, result = search(tmp_path, AtOnce(scored({})), session=Scripted(*[[] for _ in range(20)]), trials=100)
    assert result.stopped_by == "space exhausted" and len(result.trials) == 4


def test_a_strategy_cannot_overdraw_the_budget(tmp_path: Any) -> None:
    class Greedy(Session):
        def ask(self, count: int, rng: Any) -> Any:
            return super().ask(count + 3, rng)

    _, result = search(tmp_path, AtOnce(scored({})), session=Greedy(), trials=7)
    assert len(result.trials) == 2 + 7


@pytest.mark.parametrize("method", ["ask", "tell"])
def test_a_strategy_that_raises_is_named_and_nothing_is_lost(tmp_path: Any, monkeypatch: Any, method: str) -> None:
    def fail(*_: Any) -> Any:
        raise ValueError("no idea")

    session = Session()
    setattr(session, method, fail)
    with pytest.raises(PluginError, match=r"search strategy raised ValueError.*no idea") as caught:
        search(tmp_path, AtOnce(scored({})), session=session)
    assert caught.value.exit_code == 6
    assert "result" in kinds(tmp_path)


def test_an_evaluation_that_cannot_be_stored_is_a_failed_trial(tmp_path: Any) -> None:
    def judge(task: Task) -> Evaluation:
        return Evaluation("complete", {"ndcg@10": 0.5}, details={"what": object()}) if task.trial == 2 else scored({})(task)

    _, result = search(tmp_path, AtOnce(judge), trials=2)
    assert result.trials[2].status == "failed" and "cannot be stored" in result.trials[2].error


def test_a_cost_that_is_no_number_is_a_failed_trial(tmp_path: Any) -> None:
    def judge(task: Task) -> Evaluation:
        return Evaluation("complete", {"ndcg@10": 0.5}, Cost(1, 1, math.inf if task.trial == 2 else 1.0))

    _, result = search(tmp_path, AtOnce(judge), trials=2)
    assert result.trials[2].status == "failed" and result.best is not None and result.best.number == 0


def test_all_trials_can_fail(tmp_path: Any) -> None:
    _, result = search(tmp_path, AtOnce(lambda task: Evaluation("failed", error="no")), trials=6)
    assert result.best is None and result.front == () and {trial.status for trial in result.trials} == {"failed"}


def test_with_a_trials_budget_no_baseline_is_skipped_and_no_task_has_a_deadline(tmp_path: Any) -> None:
    submit = AtOnce()
    search(tmp_path, submit, trials=4)
    assert "skipped" not in kinds(tmp_path)
    assert {(task.soft_seconds, task.deadline_seconds) for task in submit.tasks} == {(0.0, 0.0)}


def test_baselines_that_do_not_fit_leave_a_row_and_the_cheapest_always_runs(tmp_path: Any) -> None:
    found, _ = search(tmp_path, AtOnce(), trials=0, baseline_seconds=0.5)
    assert found.baselines == {0: "b/pop"}
    skipped = [record for record in read_journal(tmp_path / "journal.jsonl") if record["kind"] == "skipped"]
    assert [(record["component"], record["reason"]) for record in skipped] == [
        ("b/knn", "needs about 3 s, 0 s of the baselines' share are left")
    ]
    found, _ = search(tmp_path, AtOnce(), trials=0, baseline_seconds=100.0)  # resumed with more time: the recorded batch stands
    assert found.baselines == {0: "b/pop"}
    assert kinds(tmp_path).count("skipped") == 1


def test_blueprints_that_do_not_fit_the_data_are_not_tried(tmp_path: Any) -> None:
    _, result = search(tmp_path, AtOnce(), trials=30)
    assert "b/heavy" not in {trial.genotype["retriever"] for trial in result.trials}
    assert any(offer.id == "b/heavy" for offer in OFFERS) and SPACE["retriever"].domain.contains("z/wide")


def test_results_carry_the_seconds_used_so_far_outside_of_what_is_compared(tmp_path: Any) -> None:
    ticks = iter(range(100, 10_000, 3))
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    search(tmp_path / "a", AtOnce(), trials=2, clock=lambda: float(next(ticks)))
    search(tmp_path / "b", AtOnce(), trials=2)
    spent = [r["measured_elapsed"] for r in read_journal(tmp_path / "a/journal.jsonl") if r["kind"] == "result"]
    assert spent == [100.0, 103.0, 106.0, 109.0]
    assert compare(tmp_path / "a/journal.jsonl", tmp_path / "b/journal.jsonl") == ()


def test_observers_and_progress_hear_of_every_result(tmp_path: Any) -> None:
    found, _ = search(tmp_path, AtOnce(), trials=6)
    assert len(found.kernel.seen) == kinds(tmp_path).count("result")  # type: ignore[attr-defined]


def test_a_resumed_run_that_proposes_differently_is_refused(tmp_path: Any) -> None:
    search(tmp_path, AtOnce(judged), trials=6)
    with pytest.raises(InfrastructureError, match="batch 2 of this run was proposed differently") as caught:
        search(tmp_path, AtOnce(judged), trials=6, seed=8)
    assert caught.value.exit_code == 7
