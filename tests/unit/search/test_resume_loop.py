"""A run that is killed anywhere and resumed has the records of one that was not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from loop_kit import AtOnce, Crash, Later, Session, evaluated, judged, search

from autorec_kernel.records.trial import Trial
from autorec_kernel.search import loop
from autorec_kernel.search.journal import canonical_records, compare, read_journal


def shown(trials: Any) -> list[tuple[Any, ...]]:
    """Return what a strategy may build on."""
    return [
        (
            t.number,
            dict(t.genotype),
            t.status,
            t.objectives,
            t.rung,
            t.parent,
            dict(t.metrics),
            t.cost,
            dict(t.details),
            dict(t.artefacts),
            t.error,
        )
        for t in trials
    ]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: Any) -> tuple[Path, list[Trial], Session]:
    folder, session = tmp_path_factory.mktemp("reference"), Session()
    _, result = search(folder, AtOnce(), session=session)
    return folder / "journal.jsonl", list(result.trials), session


def test_resuming_from_every_prefix_of_the_journal_gives_the_same_run(tmp_path: Path, reference: Any) -> None:
    journal, trials, session = reference
    lines = journal.read_bytes().splitlines(keepends=True)
    results = [(r["trial"], r["rung"]) if r["kind"] == "result" else None for r in read_journal(journal)]
    copies = {(r["trial"], r["rung"]) for r in read_journal(journal) if "same_as" in r.get("evaluation", {}).get("details", {})}
    assert len(lines) > 25
    for count in range(len(lines) + 1):
        folder = tmp_path / str(count)
        folder.mkdir()
        (folder / "journal.jsonl").write_bytes(b"".join(lines[:count]))
        submit, again = AtOnce(), Session()
        _, result = search(folder, submit, session=again)
        assert compare(journal, folder / "journal.jsonl") == (), count
        assert (folder / "journal.jsonl").read_bytes().startswith(b"".join(lines[:count])), count
        assert shown(result.trials) == shown(trials), count
        assert [shown(batch) for batch in again.told] == [shown(batch) for batch in session.told], count
        known = {place for place in results[:count] if place}
        assert set(evaluated(submit.tasks)) == {place for place in results if place} - known - copies, count


def test_a_torn_last_line_is_evaluated_again(tmp_path: Path, reference: Any, caplog: Any) -> None:
    journal, trials, _ = reference
    data = journal.read_bytes()
    (tmp_path / "journal.jsonl").write_bytes(data[: len(data) * 2 // 3])
    _, result = search(tmp_path, AtOnce())
    assert compare(journal, tmp_path / "journal.jsonl") == ()
    assert shown(result.trials) == shown(trials)


def test_a_crash_after_every_single_result_leads_to_the_same_run(tmp_path: Path, reference: Any) -> None:
    journal, trials, _ = reference
    for _ in range(100):
        try:
            _, result = search(tmp_path, AtOnce(stop_after=1))
        except Crash:
            continue
        assert shown(result.trials) == shown(trials)
        assert compare(journal, tmp_path / "journal.jsonl") == ()
        return
    raise AssertionError("the run never ended")


def test_results_that_arrived_out_of_order_before_a_crash_do_not_change_the_run(tmp_path: Path, reference: Any, monkeypatch: Any) -> None:
    journal, trials, _ = reference
    for budget in range(1, 12):
        folder = tmp_path / str(budget)
        folder.mkdir()
        left = [budget]

        def judge(task: Any, left: list[int] = left) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise Crash
            return judged(task)

        submit = Later(judge, pick=lambda count: 0 if count % 2 else count - 1)
        with monkeypatch.context() as patch:
            patch.setattr(loop, "wait", submit.wait)
            with pytest.raises(Crash):
                search(folder, submit)
        _, result = search(folder, AtOnce())
        assert shown(result.trials) == shown(trials), budget
        assert compare(journal, folder / "journal.jsonl") == (), budget


def test_resuming_a_complete_search_evaluates_and_writes_nothing(tmp_path: Path) -> None:
    search(tmp_path, AtOnce())
    before = (tmp_path / "journal.jsonl").read_bytes()
    submit = AtOnce()
    search(tmp_path, submit)
    assert submit.tasks == [] and (tmp_path / "journal.jsonl").read_bytes() == before


@pytest.mark.parametrize(("first", "then"), [(1, 9), (2, 9), (3, 9), (5, 14), (6, 14), (14, 5)])
def test_a_run_can_be_resumed_with_another_number_of_trials(tmp_path: Path, first: int, then: int) -> None:
    _, before = search(tmp_path, AtOnce(), trials=first)
    submit = AtOnce()
    _, after = search(tmp_path, submit, trials=then)
    assert len(after.trials) == 2 + max(first, then)
    assert shown(after.trials)[: len(before.trials)] == shown(before.trials)
    assert {trial.genotype["retriever"] for trial in after.trials[2:4]} == {"z/deep", "z/wide"}
    numbers = [p["trial"] for r in read_journal(tmp_path / "journal.jsonl") if r["kind"] == "batch" for p in r["proposals"]]
    assert numbers == list(range(2 + max(first, then)))


def test_no_record_is_written_twice(tmp_path: Path) -> None:
    for stop in (3, 2, 4, 1, None):
        try:
            search(tmp_path, AtOnce(stop_after=stop))
        except Crash:
            continue
    found = [(r["kind"], r.get("batch"), r.get("trial"), r.get("rung")) for r in canonical_records(tmp_path / "journal.jsonl")]
    assert len(found) == len(set(found))
