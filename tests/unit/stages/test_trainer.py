"""Who teaches a student: the ensemble of kept trials, as many as can be trained again in time, and nobody beyond a deadline."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from autorec_kernel.contracts.deploy import NotApplicable
from autorec_kernel.kernel import Kernel
from autorec_kernel.recipe import Recipe
from autorec_kernel.records.trial import Trial
from autorec_kernel.search.tasks import ARTEFACTS
from autorec_kernel.space import Genotype
from autorec_kernel.stages import trainer
from autorec_kernel.stages.trainer import teachers_of, trainer_of


def trial(number: int, seconds: float, **details: Any) -> Trial:
    measured = {} if "same_as" in details else {"fit_seconds": seconds}
    artefacts = {"weights": f"weights-{details.get('same_as', number)}"}
    return Trial(
        number, Genotype({"n": number}), "complete", (0.5,), measured=measured, artefacts=artefacts, details={"epochs": 2, **details}
    )


TRIALS = [trial(0, 10.0), trial(1, 10.0), trial(2, 0.0, same_as=1), trial(3, 10.0)]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / ARTEFACTS).mkdir()
    for number in (0, 1):
        (tmp_path / ARTEFACTS / f"weights-{number}").touch()

    def ensemble_of(place: Any, features: Any, kept: list[Trial]) -> Any:
        weights = {0: 0.5, 1: 0.25, 2: 0.15, 3: 0.1}
        return {"members": [{"trial": one.number, "weight": weights[one.number]} for one in kept]}

    monkeypatch.setattr(trainer, "ensemble_of", ensemble_of)
    return lambda **told: SimpleNamespace(folder=tmp_path, recipe=Recipe(**told), kernel=Kernel({}))


def test_trials_whose_weights_are_gone_do_not_teach_and_weights_sum_to_one(place: Any) -> None:
    found = teachers_of(place(trials=3), None, TRIALS, TRIALS[3])  # type: ignore[arg-type]
    assert [number for number, _ in found] == [0, 1, 2]
    assert sum(weight for _, weight in found) == pytest.approx(1.0, abs=1e-5)
    assert found[0][1] == pytest.approx(0.5 / 0.9, abs=1e-5)


@pytest.mark.parametrize(("budget", "count"), [(1000.0, 3), (600.0, 2), (260.0, 1), (100.0, 1)])
def test_as_many_teach_as_can_be_trained_again_a_copy_like_its_original(place: Any, budget: float, count: int) -> None:
    found = teachers_of(place(budget=budget), None, TRIALS, TRIALS[3])  # type: ignore[arg-type]
    assert len(found) == count
    assert found[0] == ((3, 1.0) if budget == 100.0 else found[0])  # nobody in time: the chosen one alone


def test_nobody_teaches_and_nothing_is_trained_after_the_deadline(place: Any) -> None:
    taught: list[int] = []

    def restored(place: Any, features: Any, one: Trial) -> Any:
        taught.append(one.number)
        return f"model {one.number}"

    def trained(seconds: float) -> Any:
        deadline = time.monotonic() + seconds
        return trainer_of(place(trials=3), None, TRIALS, TRIALS[2], [(0, 0.75), (1, 0.25)], restored, deadline)  # type: ignore[arg-type]

    found = trained(12.0)
    assert found.teachers() == [("model 0", 0.75), ("model 1", 0.25)] == found.teachers() and taught == [0, 1]  # they are asked once
    with pytest.raises(NotApplicable, match="3 epochs of about 5 s are more than the time that is left"):
        found.train({"n": 0}, None, 3)  # a copy takes what its original took: 10 s for 2 epochs
    with pytest.raises(NotApplicable, match="1 epochs"):
        trained(2.0).teachers()


def test_a_copy_whose_original_is_not_among_the_trials_does_not_teach_in_a_limited_time(place: Any) -> None:
    found = teachers_of(place(budget=1000.0), None, TRIALS[2:], TRIALS[3])  # type: ignore[arg-type]
    assert found == [(3, 1.0)]


def test_the_deadline_reaches_the_training_itself_and_what_it_cut_is_not_taken(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A forecast may be wrong: the evaluator is told when to stop, and a student that was stopped is none."""
    seen: list[float | None] = []

    def context_for(place: Any, view: Any, number: int, deadline: float | None) -> Any:
        seen.append(deadline)
        return None

    class Slow:
        def refit(self, genotype: Any, details: Any, context: Any) -> str:
            time.sleep(0.3)
            return "cut short"

    monkeypatch.setattr(trainer.judge, "context_for", context_for)
    monkeypatch.setattr(trainer, "evaluator_of", lambda kernel, recipe: "kit/slow")
    work = place(trials=3)
    work.kernel = SimpleNamespace(create=lambda *told, **options: Slow())
    quick = [trial(0, 0.001)]
    ends = time.monotonic() + 0.2
    found = trainer_of(work, None, quick, quick[0], [(0, 1.0)], lambda *told: "model", ends)  # type: ignore[arg-type]
    with pytest.raises(NotApplicable, match="the time was up before 2 epochs"):
        found.train({"n": 0}, None, 2)  # type: ignore[arg-type]
    free = trainer_of(work, None, quick, quick[0], [(0, 1.0)], lambda *told: "model")  # type: ignore[arg-type]
    assert free.train({"n": 0}, None, 2) == "cut short" and seen == [ends, None]  # type: ignore[arg-type,comparison-overlap]


@pytest.mark.parametrize("knows", [True, False])
def test_first_weights_reach_an_evaluator_that_takes_them(place: Any, monkeypatch: pytest.MonkeyPatch, knows: bool) -> None:
    class Plain:
        __slots__ = ("begin",) if knows else ()

        def refit(self, genotype: Any, details: Any, context: Any) -> Any:
            return getattr(self, "begin", "none")

    def made(*told: Any, **options: Any) -> Any:
        found = Plain()
        if knows:
            found.begin = "its own"
        return found

    monkeypatch.setattr(trainer.judge, "context_for", lambda *told: None)
    monkeypatch.setattr(trainer, "evaluator_of", lambda kernel, recipe: "kit/plain")
    work = place(trials=3, evaluator_options={"schedule": "cosine"})
    work.kernel = SimpleNamespace(create=made)
    found = trainer_of(work, None, TRIALS[:1], TRIALS[0], [(0, 1.0)], lambda *told: "model")  # type: ignore[arg-type]
    assert found.options == {"schedule": "cosine"}
    told = [found.train({"n": 0}, None, 2, begin) for begin in (None, "weights")]  # type: ignore[arg-type]
    assert told == (["its own", "weights"] if knows else ["none", "none"])
