"""A chosen model that cannot be served gives its place to the next best: what a run computed is not lost for it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from autorec_kernel.errors import BundleError, LimitsError, SearchError
from autorec_kernel.kernel import Kernel
from autorec_kernel.recipe import Recipe
from autorec_kernel.records.trial import Cost, SearchResult, Trial
from autorec_kernel.search.journal import Journal
from autorec_kernel.space import Genotype
from autorec_kernel.stages import evaluate, finish
from autorec_kernel.stages.workplace import Silent, Workplace


def trial(number: int, value: float, kind: str, size: int = 1) -> Trial:
    told = {"blueprint": kind}
    return Trial(number, Genotype({"n": number}), "complete", (value,), {"auc": value}, cost=Cost(1, size, 1.0), details=told)


TRIALS = (trial(0, 0.5, "simple"), trial(1, 0.9, "deep"), trial(2, 0.85, "deep"), trial(3, 0.8, "wide"), trial(4, 0.7, "other"))


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return (trial that is made, built feature sets, notes) when the graphs of some trials cannot be made."""

    def make(
        broken: set[int], trials: tuple[Trial, ...] = TRIALS, large: dict[int, float] | None = None, only: tuple[int, ...] = ()
    ) -> tuple[int, int, list[str]]:
        large = large or {}
        built: list[Any] = []

        def best(left: list[Trial], baselines: Any, compare: Any) -> Any:
            complete = [trial for trial in left if trial.status == "complete"]
            found = max(complete, key=lambda trial: trial.value, default=None)
            return None if found is None else SimpleNamespace(trial=found)

        def deployed(place: Any, final: Any, model: Any, chosen: Trial, *rest: Any) -> str:
            if chosen.number in broken:
                raise BundleError("the exported graph differs")
            if chosen.number in large:
                shares = {"max_bytes": large[chosen.number]}
                raise LimitsError(f"trial {chosen.number} is too large", shares=shares)
            return "deployed"

        monkeypatch.setattr(finish, "choose", best)
        monkeypatch.setattr(evaluate, "restored", lambda place, features, trial: f"model {trial.number}")
        monkeypatch.setattr(finish, "plan_compression", lambda *told: None)

        def features_of(*told: Any, **more: Any) -> Any:
            built.append(told)
            return SimpleNamespace()

        monkeypatch.setattr(finish, "features_of", features_of)
        monkeypatch.setattr(finish, "narrowed", lambda features, folder: features)
        monkeypatch.setattr(evaluate, "refit", lambda place, final, trial: f"refitted {trial.number}")
        monkeypatch.setattr(finish, "deploy", deployed)
        features: Any = SimpleNamespace(schema=SimpleNamespace(tasks={"click": "logit"}), plan=[], fading=None)
        dataset: Any = SimpleNamespace(final=lambda: None)
        with Journal.open(tmp_path / "journal.jsonl") as journal:
            place = Workplace(tmp_path, Recipe(task="click", trials=1), Kernel({}), journal, Silent())
            found = finish._made(place, dataset, features, SearchResult(None, (), trials, 0.0), [0], only)
        assert str(found.model) == f"refitted {found.chosen.trial.number}"
        return found.chosen.trial.number, len(built), place.notes

    return make


def test_the_best_is_made_where_it_can_be(made: Any) -> None:
    assert made(set()) == (1, 1, [])


def test_what_cannot_be_served_gives_way_to_the_next_best_of_another_kind_on_the_same_features(made: Any) -> None:
    number, built, notes = made({1})
    assert (number, built) == (3, 1)
    assert notes == ["trial 1 cannot be served: the exported graph differs; the next best one is tried"]


def test_in_the_end_a_baseline_is_served(made: Any) -> None:
    number, _, notes = made({1, 3, 4})
    assert number == 0 and notes[1].startswith("trial 3 cannot be served")


def test_when_the_baseline_cannot_be_served_either_the_reason_is_raised(made: Any) -> None:
    with pytest.raises(BundleError, match="the exported graph differs"):
        made({0, 1, 3})
    with pytest.raises(BundleError, match="the exported graph differs"):
        made({0}, TRIALS[:1])


def test_a_search_without_a_complete_trial_says_why(made: Any) -> None:
    with pytest.raises(SearchError, match="no candidate could be evaluated"):
        made(set(), (Trial(0, Genotype({"n": 0}), "failed", error="no"),))


SIZES = (
    trial(0, 0.5, "simple", 5),
    trial(1, 0.9, "deep", 100),
    trial(2, 0.85, "deep", 60),
    trial(3, 0.8, "wide", 30),
    trial(4, 0.7, "x", 90),
)


def test_what_no_plan_brings_within_the_limits_gives_way_to_the_next_best_that_is_small_enough(made: Any) -> None:
    """Trial 1 is twice what is allowed: what has more than half of its bytes is not tried."""
    number, built, notes = made(set(), SIZES, {1: 2.0})
    assert (number, built) == (3, 1)
    assert notes == ["trial 1 cannot be served: trial 1 is too large; the next best one is tried"]


def test_when_nothing_keeps_to_the_limits_the_closest_plan_is_raised(made: Any) -> None:
    with pytest.raises(LimitsError, match="trial 3 is too large"):
        made(set(), SIZES, {1: 2.0, 3: 1.1, 0: 1.5})
    with pytest.raises(LimitsError, match="trial 1 is too large"):
        made(set(), SIZES[1:3], {1: 4.0})


def test_only_what_may_be_served_is(made: Any) -> None:
    assert made(set(), only=(2,))[0] == 2
