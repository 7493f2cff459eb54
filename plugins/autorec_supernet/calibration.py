"""Random candidates that are judged both ways, so that a cheap evaluator knows what it is worth on the data at hand."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from autorec_kernel.contracts.evaluator import EvaluationContext, Rung
from autorec_kernel.evaluation import parse_metric
from autorec_kernel.models import DeviceProfile, estimate_cost
from autorec_kernel.registry.faults import guarded
from autorec_kernel.space import Genotype, SearchSpace
from autorec_supernet.agreement import Agreement, measured
from autorec_supernet.delegate import is_baseline, learned, seed_for, trainer

__all__ = ["affordable", "calibrated", "drawn", "limited", "merit"]

_DRAW, _BOOTSTRAP, _TRIES = 101, 102, 40
_APART = 1000  # between the trial numbers of the two judgements, so that no noise is shared
_SAMPLE, _BUILDING = 8, 0.03  # candidates that stand for all; seconds it takes to build one
_EPOCHS, _SHARE = 8, 0.6  # epochs that a full training is expected to take; part of the time that is for it
WHOLE = Rung(0, 1.0)


def merit(metrics: Mapping[str, float], metric: str) -> float | None:
    """Return a metric with larger better."""
    value = metrics.get(metric)
    return None if value is None else value if parse_metric(metric)[0].higher_is_better else -value


def drawn(space: SearchSpace, context: EvaluationContext, count: int) -> list[Genotype]:
    """Return different random genotypes that learn by gradient and are no baselines; fewer where they are hard to find."""
    rng = np.random.default_rng(seed_for(context, _DRAW))
    found: list[Genotype] = []
    for _ in range(_TRIES * count):
        if len(found) == count:
            break
        genotype = space.sample(rng)
        if genotype in found or is_baseline(genotype, context.kernel):
            continue
        if learned(genotype, context.features.schema, context.kernel) is not None:
            found.append(genotype)
    return found


def affordable(genotypes: Sequence[Genotype], context: EvaluationContext) -> list[Genotype]:
    """Return the first candidates whose predicted trainings fit the time that preparing may take; all where there is no limit.

    The prediction is the same on every machine, and so is the choice.
    """
    limit = context.limits.get("max_seconds", 0.0)
    found: list[Genotype] = []
    spent = 0.0
    for genotype in genotypes:
        spent += _seconds(genotype, context)
        if limit and spent > _SHARE * limit:
            break
        found.append(genotype)
    return found


def _seconds(genotype: Genotype, context: EvaluationContext) -> float:
    candidate = learned(genotype, context.features.schema, context.kernel)
    assert candidate is not None
    sizes = {"batch_size": 1024, "epochs": _EPOCHS}
    return estimate_cost(candidate.architecture, candidate.features, context.kernel, DeviceProfile(), **sizes).train_seconds


def limited(space: SearchSpace, context: EvaluationContext, steps: int, size: int) -> int:
    """Return how many steps of a supernet fit the time that preparing may take, by the predicted cost of random candidates."""
    limit = context.limits.get("max_seconds", 0.0)
    some = drawn(space, context, _SAMPLE) if limit else []
    if not some:
        return steps
    mean = statistics.fmean(_seconds(genotype, context) for genotype in some) / _EPOCHS
    batches = max(1, len(context.features.rows("train")) // size)
    return max(1, min(steps, int((1 - _SHARE) * limit / (mean / batches + _BUILDING))))


def calibrated(
    space: SearchSpace,
    context: EvaluationContext,
    cheap: Callable[[Genotype, EvaluationContext], float | None],
    options: Mapping[str, Any],
    *,
    candidates: int,
    level: float,
    useful: float,
) -> Agreement:
    """Judge random candidates of the space both ways; those whose training or judgement raises, or is cut off by the clock, are left out.

    Args:
        cheap: Returns the figure of a candidate, larger is better; None where it has none.
        options: Of full training.
    """
    if not candidates:
        return Agreement(None, None, None, level, useful, granted=True)
    pairs: list[tuple[float, float]] = []
    epochs: list[int] = []
    made = {name: str((context.folder / file).resolve()) for name, file in context.artefacts.items()}
    with tempfile.TemporaryDirectory() as folder:
        for number, genotype in enumerate(affordable(drawn(space, context, candidates), context), start=1):
            if _late(context):
                break
            place = replace(context, trial=context.trial + number, folder=Path(folder), limits={})
            apart = replace(place, trial=place.trial + _APART, artefacts=made)
            found, _ = guarded(lambda genotype=genotype, place=place, apart=apart: _pair(genotype, place, apart, cheap, options))  # type: ignore[misc]
            if found is not None and not _late(context):
                pairs.append(found[:2])
                epochs.append(found[2])
    cheaply, fully = ([pair[side] for pair in pairs] for side in (0, 1))
    told = {"level": level, "useful": useful, "seed": seed_for(context, _BOOTSTRAP)}
    return measured(cheaply, fully, epochs=round(statistics.median(epochs)) if epochs else 0, **told)  # type: ignore[arg-type]


def _late(context: EvaluationContext) -> bool:
    return context.deadline is not None and time.monotonic() > context.deadline


def _pair(
    genotype: Genotype,
    place: EvaluationContext,
    apart: EvaluationContext,
    cheap: Callable[[Genotype, EvaluationContext], float | None],
    options: Mapping[str, Any],
) -> tuple[float, float, int] | None:
    """Return the cheap figure, that of full training and the epochs it took; None where one of them has no figure."""
    whole = trainer(place.kernel, options).evaluate(genotype, WHOLE, place)
    full = merit(whole.metrics, place.metric)
    own = None if full is None else cheap(genotype, apart)
    return None if own is None or full is None else (own, full, int(whole.details["best_epoch"]))
