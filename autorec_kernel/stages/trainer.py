"""What distillation trains with: the ensemble of the search as teachers, and the evaluator of the run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from autorec_kernel.contracts.deploy import NotApplicable, Trainer
from autorec_kernel.search.tasks import ARTEFACTS
from autorec_kernel.space import Genotype
from autorec_kernel.stages import evaluate as judge
from autorec_kernel.stages.ensemble import ensemble_of
from autorec_kernel.stages.search import evaluator_of

if TYPE_CHECKING:
    from autorec_kernel.features import FeatureSet
    from autorec_kernel.records.model import TrainedModel
    from autorec_kernel.records.trial import Trial
    from autorec_kernel.stages.workplace import Workplace

__all__ = ["Teachers", "teachers_of", "trainer_of"]

Teachers = Sequence[tuple[int, float]]  # trial and weight, 1 in sum
_MOST, _SHARE = 5, 0.04  # teachers; share of the budget for training them once more on all rows


def teachers_of(place: Workplace, features: FeatureSet, trials: Sequence[Trial], chosen: Trial) -> Teachers:
    """Return the ensemble of those trials whose weights are kept, as many as can be trained again in time; else the chosen one alone."""
    folder, left = place.folder / ARTEFACTS, (place.recipe.seconds or float("inf")) * _SHARE
    kept = [trial for trial in trials if (folder / trial.artefacts.get("weights", "-")).is_file()]
    found, taken = ensemble_of(place, features, kept), list[tuple[int, float]]()
    for row in found["members"][:_MOST] if found else ():
        left -= _fit_seconds(trials, row["trial"])
        if left < 0:
            break
        taken.append((row["trial"], row["weight"]))
    return [(number, round(weight / sum(share for _, share in taken), 6)) for number, weight in taken] or [(chosen.number, 1.0)]


def _fit_seconds(trials: Sequence[Trial], number: int) -> float:
    """Return what a trial's training took; that of a copy is its original's."""
    by_number = {trial.number: trial for trial in trials}
    original = by_number.get(int(by_number[number].details.get("same_as", number)))  # one that cannot be served is not among them
    return original.measured.get("fit_seconds", 0.0) if original is not None else float("inf")


def trainer_of(
    place: Workplace,
    features: FeatureSet,
    trials: Sequence[Trial],
    chosen: Trial,
    teachers: Teachers,
    taught: Callable[[Workplace, FeatureSet, Trial], TrainedModel],
    deadline: float | None = None,
) -> Trainer:
    """Return how students are trained.

    Args:
        taught: Returns the model of a teacher: as it was judged, or refitted.
        deadline: Monotonic seconds by which a training has to end.
    """
    by_number = {trial.number: trial for trial in trials}
    epoch = _fit_seconds(trials, chosen.number) / max(1, int(chosen.details.get("epochs", 0)))

    def left_for(epochs: float) -> None:
        if deadline is not None and time.monotonic() + epochs * epoch > deadline:
            raise NotApplicable(f"{epochs:g} epochs of about {epoch:.3g} s are more than the time that is left")

    def train(genotype: Mapping[str, Any], view: FeatureSet, epochs: int, begin: Callable[[Any], object] | None = None) -> TrainedModel:
        left_for(epochs)
        evaluator = place.kernel.create("evaluator", evaluator_of(place.kernel, place.recipe), **place.recipe.evaluator_options)
        if begin is not None and hasattr(evaluator, "begin"):
            evaluator.begin = begin
        found = evaluator.refit(Genotype(genotype), {"best_epoch": epochs}, judge.context_for(place, view, chosen.number, deadline))
        if deadline is not None and time.monotonic() > deadline:
            raise NotApplicable(f"the time was up before {epochs} epochs")
        return cast("TrainedModel", found)

    @cache
    def models() -> list[tuple[TrainedModel, float]]:
        left_for(1)
        return [(taught(place, features, by_number[number]), weight) for number, weight in teachers]

    return Trainer(place.kernel, train, models, place.recipe.evaluator_options)
