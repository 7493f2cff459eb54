"""What a run keeps free for after the search, and what it leaves out when there is little time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from autorec_kernel.features import selection
from autorec_kernel.recipe import Recipe
from autorec_kernel.records.trial import Cost, Trial
from autorec_kernel.stages import prepare, search


def trial(number: int, quality: float, seconds: float, reason: str = "", predicted: float = 0.0, status: str = "complete") -> Any:
    return Trial(
        number=number,
        rung=0,
        genotype={},
        parent=None,
        reason=reason,
        status=status,  # type: ignore[arg-type]
        objectives=(quality,),
        cost=Cost(train_seconds=predicted),
        measured={"seconds": seconds},
    )


def needed(*trials: Any, building: float = 3.0) -> float:
    place: Any = SimpleNamespace(recipe=Recipe(budget="100s"), stages={"features": 25.0})
    return search._needed_after(place, building, trials)


def test_the_best_trial_is_refitted_not_the_longest() -> None:
    best, longest = trial(0, 0.9, 10.0), trial(1, 0.5, 50.0)
    assert needed(best, longest) - needed() == pytest.approx(1.2 * 10.0)


def test_a_trial_that_failed_is_never_refitted() -> None:
    assert needed(trial(0, 0.9, 10.0), trial(1, 1.0, 70.0, status="failed")) == needed(trial(0, 0.9, 10.0))


def test_baselines_are_refitted_beside_the_best_and_once_for_each_closed_form() -> None:
    first, same = (trial(number, 0.1, 5.0, "baseline: ease", predicted=2.0) for number in (0, 1))
    other, best = trial(2, 0.2, 4.0, "baseline: popular", predicted=1.0), trial(3, 0.9, 10.0)
    assert needed(first, same, other, best) - needed() == pytest.approx(1.2 * (5.0 + 4.0 + 10.0))


def test_features_are_built_again_without_their_audit_and_selection() -> None:
    assert needed(building=4.0) - needed(building=3.0) == pytest.approx(2.0), "twice the building, whatever the whole stage took"


@pytest.mark.parametrize(
    ("share", "asked", "selector"),
    [(None, "auto", "auto"), (20.0, "auto", "auto"), (19.9, "auto", "none"), (1.0, "tree-gain", "tree-gain"), (1.0, "none", "none")],
)
def test_the_default_selector_is_left_out_of_a_small_budget(
    share: float | None, asked: str, selector: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []

    def select(features: Any, kernel: Any, name: str, seed: int, curve_seconds: float) -> selection.Selection:
        names.append(name)
        return selection.Selection()

    monkeypatch.setattr(selection, "select_features", select)
    monkeypatch.setattr(selection, "apply_selection", lambda *_: None)
    features: Any = SimpleNamespace(rows=lambda split: np.arange(6000))
    prepare.selected(features, None, Recipe(task="click", selector=asked), None, share=share)  # type: ignore[arg-type]
    assert names == [selector]
