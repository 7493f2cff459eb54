"""What is too slow when it is measured gives its place to the next best, and a session that goes on decides the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autorec_kernel.kernel import Kernel
from autorec_kernel.recipe import Recipe
from autorec_kernel.records.trial import Cost, Trial
from autorec_kernel.search.journal import Journal
from autorec_kernel.space import Genotype
from autorec_kernel.stages import finalists
from autorec_kernel.stages.workplace import Silent, Workplace


def trial(number: int, value: float, predicted: float = 9.0) -> Trial:
    return Trial(number, Genotype({"n": number}), "complete", (value,), {"auc": value}, cost=Cost(1, 1, predicted))


TRIALS = [trial(0, 0.5), trial(1, 0.9), trial(2, 0.8), trial(3, 0.7), trial(4, 0.6)]


@pytest.fixture
def chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return (number of the choice, which were measured, notes) when trials take these milliseconds."""

    def choose(taken: dict[int, float], trials: list[Trial] = TRIALS, **told: Any) -> tuple[int, list[int], list[str]]:
        measured: list[int] = []

        def milliseconds(model: int, features: Any) -> float:
            measured.append(model)
            return taken[model]

        monkeypatch.setattr(finalists, "_milliseconds", milliseconds)
        monkeypatch.setattr(finalists.judge, "restored", lambda place, features, one: one.number)
        monkeypatch.setattr(finalists.judge, "trial_comparison", lambda place, features, one, other: None)
        with Journal.open(tmp_path / "journal.jsonl") as journal:
            place = Workplace(tmp_path, Recipe(task="click", trials=1, **told), Kernel({}), journal, Silent())
            found = finalists.choose_in_time(place, None, trials, [0])  # type: ignore[arg-type]
        assert found is not None and found[1] == found[0].trial.number
        return found[0].trial.number, measured, place.notes

    return choose


def test_without_a_limit_nothing_is_measured(chosen: Any) -> None:
    assert chosen({}) == (1, [], [])


def test_the_best_that_is_fast_enough_is_chosen(chosen: Any) -> None:
    number, measured, notes = chosen({1: 11.0, 2: 10.5, 3: 9.9}, max_latency_ms=10.0)
    assert (number, measured) == (3, [1, 2, 3])
    assert "trial 1 takes 11 ms a row here, max_latency_ms is 10: not chosen" in notes


def test_verdicts_are_kept_and_measured_once(chosen: Any) -> None:
    assert chosen({1: 11.0, 2: 9.0}, max_latency_ms=10.0)[0] == 2
    assert chosen({1: 1.0, 2: 99.0}, max_latency_ms=10.0)[:2] == (2, [])


def test_what_is_predicted_far_below_the_limit_is_not_measured(chosen: Any) -> None:
    assert chosen({}, [trial(0, 0.5), trial(1, 0.9, predicted=0.9)], max_latency_ms=10.0)[:2] == (1, [])


def test_when_all_finalists_are_too_slow_the_best_is_kept_and_that_is_said(chosen: Any) -> None:
    number, measured, notes = chosen(dict.fromkeys(range(5), 50.0), max_latency_ms=10.0)
    assert (number, len(measured)) == (1, 4)
    assert "no finalist answers one row within max_latency_ms = 10 here; the best one is kept" in notes
