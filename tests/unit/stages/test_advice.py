"""An adviser fills in what the recipe leaves open: once a run, journaled, never over what the person said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autorec_kernel.contracts.search import Advice, SearchProfile
from autorec_kernel.errors import ContractError
from autorec_kernel.features import FeatureSet
from autorec_kernel.kernel import Kernel
from autorec_kernel.recipe import Recipe
from autorec_kernel.search.journal import Journal
from autorec_kernel.stages.advice import advised, with_advice
from autorec_kernel.stages.workplace import Silent, Workplace
from autorec_kernel.testing.model_cases import features_for
from autorec_search.auto import AutoStrategy

pytestmark = pytest.mark.plugins


@pytest.fixture(scope="module")
def kernel() -> Kernel:
    return Kernel.discover()


@pytest.fixture(scope="module")
def features(kernel: Kernel) -> FeatureSet:
    return features_for(kernel, "click")


@pytest.fixture
def asked(tmp_path: Path, kernel: Kernel, features: FeatureSet) -> Any:
    """Return the advised recipe, the notes, and the records of advice of one session in the same folder."""

    def ask(**told: Any) -> tuple[Recipe, list[str], list[dict[str, Any]]]:
        with Journal.open(tmp_path / "journal.jsonl") as journal:
            place = Workplace(tmp_path, Recipe(task="click", **told), kernel, journal, Silent())
            found = advised(place, features)
            return found, place.notes, [record for record in journal.records() if record["kind"] == "advice"]

    return ask


def says(monkeypatch: pytest.MonkeyPatch, reason: str = "because", **changes: Any) -> list[SearchProfile]:
    seen: list[SearchProfile] = []

    def advise(self: Any, profile: SearchProfile) -> Advice:
        seen.append(profile)
        return Advice(changes, reason)

    monkeypatch.setattr(AutoStrategy, "advise", advise)
    return seen


def test_the_profile_tells_data_space_and_budget(asked: Any, monkeypatch: pytest.MonkeyPatch, features: FeatureSet) -> None:
    seen = says(monkeypatch, strategy="search/random")
    asked(trials=30, workers=2)
    profile = seen[0]
    assert (profile.task, profile.trials, profile.workers, profile.objectives) == ("click", 30, 2, 1)
    assert (profile.rows, profile.users) == (len(features.rows("train")), features.schema.users)
    assert profile.expected == 30 and profile.seconds is None and profile.candidate_seconds > 0
    assert "evolution/evolution" in profile.strategies and "training/full" in profile.evaluators and "ranker" in profile.space


def test_with_a_time_the_expected_candidates_follow_from_their_predicted_cost(asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = says(monkeypatch, strategy="search/random")
    asked(budget="2min", workers=2)
    profile = seen[0]
    assert profile.seconds is not None
    assert profile.expected == max(1, int(2 * profile.seconds / profile.candidate_seconds))


def test_what_is_advised_is_journaled_and_holds_for_the_next_session(asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = says(monkeypatch, strategy="search/random", rungs=(0.5, 1.0))
    first, notes, records = asked(trials=5)
    assert (first.strategy, first.rungs) == ("search/random", (0.5, 1.0)) and "search/auto: because" in notes
    says(monkeypatch, strategy="evolution/evolution")
    again, notes, later = asked(trials=9)
    assert (again.strategy, again.rungs, again.trials) == ("search/random", (0.5, 1.0), 9) and "search/auto: because" in notes
    assert len(seen) == 1 and later == records and len(records) == 1


def test_what_the_person_said_stays(asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    says(monkeypatch, strategy="search/random", rungs=(0.5, 1.0), eta=4)
    found, _, _ = asked(trials=5, eta=2)
    assert (found.strategy, found.rungs, found.eta) == ("search/random", (0.5, 1.0), 2)


@pytest.mark.parametrize("told", [{"strategy": "bayes/tpe"}, {"strategy_options": {"startup": 3}}])
def test_nobody_is_asked_where_a_strategy_or_its_options_are_named(
    asked: Any, monkeypatch: pytest.MonkeyPatch, told: dict[str, Any]
) -> None:
    seen = says(monkeypatch, strategy="search/random")
    found, notes, records = asked(trials=5, **told)
    assert (found, seen, notes, records) == (Recipe(task="click", trials=5, **told), [], [], [])


@pytest.mark.parametrize("changes", [{"seed": 1}, {"strategy": "search/random", "rungs": (0.5,)}])
def test_advice_that_cannot_be_followed_is_said_and_left_out(asked: Any, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]) -> None:
    says(monkeypatch, **changes)
    found, notes, records = asked(trials=5)
    assert found.strategy == "auto" and [record["changes"] for record in records] == [{}]
    assert "search/auto gave advice that cannot be followed" in notes[0]


def test_an_adviser_that_raises_is_said(asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AutoStrategy, "advise", lambda self, profile: 1 // 0)
    found, notes, _ = asked(trials=5)
    assert found.strategy == "auto" and "search/auto gave no advice: ZeroDivisionError" in notes[0]
    seen = says(monkeypatch, strategy="search/random")
    assert asked(trials=5)[0].strategy == "auto" and not seen  # nor is it asked when the run goes on


def test_nobody_is_asked_in_the_middle_of_a_search(asked: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen = says(monkeypatch, strategy="search/random")
    with Journal.open(tmp_path / "journal.jsonl") as journal:
        journal.append("batch", batch=0, proposals=[])
    assert asked(trials=5)[0].strategy == "auto" and not seen


def test_auto_may_be_said_aloud(asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    says(monkeypatch, strategy="search/random")
    assert asked(trials=5, strategy="auto")[0].strategy == "search/random"


def test_an_adviser_that_is_named_is_asked_with_its_options(asked: Any) -> None:
    found, notes, _ = asked(trials=30, strategy="search/auto", strategy_options={"without": ["evolution/evolution"]})
    assert (found.strategy, found.strategy_options) == ("bayes/tpe", {}) and "search/auto: bayes/tpe" in notes[0]


@pytest.mark.parametrize("told", [{"evaluator": "supernet/inherited"}, {"evaluator_options": {"epochs": 3}}])
def test_rungs_are_not_advised_where_they_mean_something_else(asked: Any, told: dict[str, Any]) -> None:
    assert asked(trials=100, **told)[0].rungs == asked(trials=5, **told)[0].rungs == Recipe(trials=1).rungs


def test_a_key_that_is_not_for_advice_is_refused() -> None:
    with pytest.raises(ContractError, match=r"an adviser may fill in strategy, .*, not seed"):
        with_advice(Recipe(trials=1), {"seed": 3})


def test_the_first_party_adviser_follows_the_budget(asked: Any) -> None:
    few, _, _ = asked(trials=6)
    assert few.rungs == (1.0,) and few.strategy != "auto"


@pytest.mark.parametrize(
    ("trials", "ladder", "told"), [(30, (4, 8), "the best quarter of eight"), (100, (8, 16), "the best eighth of sixteen")]
)
def test_rankers_are_compared_early_where_many_are_expected(asked: Any, trials: int, ladder: tuple[int, int], told: str) -> None:
    many, notes, _ = asked(trials=trials)
    assert (many.rungs, many.eta, many.batch) == ((0.025, 1.0), *ladder)
    assert many.evaluator_options == {"patience": 1}
    assert f"{told} is trained beyond the first epoch or two, until an epoch is worse" in notes[0]


def test_stated_options_of_training_stay_as_they_are(asked: Any) -> None:
    found, notes, _ = asked(trials=100, evaluator_options={"validation_users": 50})
    assert (found.evaluator_options, found.eta) == ({"validation_users": 50}, 8)
    assert "until an epoch is worse" not in notes[0]
