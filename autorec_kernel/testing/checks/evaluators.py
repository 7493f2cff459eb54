"""Laws of evaluators: a result is a pure function of genotype, rung, seed and trial, and it is plain data (torch)."""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from autorec_kernel.contracts.evaluator import EvaluationContext, Rung
from autorec_kernel.errors import AutoRecError
from autorec_kernel.records.model import TrainedModel
from autorec_kernel.records.trial import STATUSES, Evaluation
from autorec_kernel.space import Genotype, SearchSpace
from autorec_kernel.testing.host import host
from autorec_kernel.testing.snapshots import digest, first_difference, leaves
from autorec_kernel.testing.surroundings import another_world, globals_kept
from autorec_kernel.testing.violation import demand, violated

__all__ = [
    "check_evaluation_is_plain_data",
    "check_evaluation_is_pure",
    "check_evaluator_keeps_its_deadline",
    "check_models_come_back",
    "check_subspace_is_legal",
]

_RUNG = Rung(0, 0.05)


def check_subspace_is_legal(component: Any, config: Any, kernel: Any = None) -> None:
    """`subspace` returns a search space whose genotypes are legal in the whole one, and leaves the whole one alone."""
    with _places(component, kernel) as places:
        for space, _, _ in places:
            before = space.digest
            found = component(config).subspace(space)
            demand(isinstance(found, SearchSpace), f"subspace returned a {type(found).__name__}, expected a SearchSpace")
            demand(space.digest == before, "subspace changed the space")
            try:
                space.canonical(found.default())
            except AutoRecError as error:
                violated(f"a genotype of the subspace is not legal in the space: {error}")


def check_evaluation_is_plain_data(component: Any, config: Any, kernel: Any = None) -> None:
    """The evaluation has a known status, finite metrics with the asked one among them, survives JSON, and its artefacts exist."""
    with _places(component, kernel) as places:
        for _, genotype, context in places:
            found = _evaluate(component, config, genotype, context)
            demand(isinstance(found, Evaluation), f"evaluate returned a {type(found).__name__}, expected an Evaluation")
            demand(found.status in STATUSES, f"status {found.status!r} is none of {STATUSES}")
            try:
                back = Evaluation.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False)))
            except (TypeError, ValueError) as error:
                violated(f"the evaluation is not JSON: {error}")
            demand(digest(back.to_json()) == digest(found.to_json()), "the evaluation is another one after a trip through JSON")
            demand(
                found.status != "complete" or context.metric in found.metrics, f"a complete evaluation lacks the metric {context.metric!r}"
            )
            demand(all(math.isfinite(value) for value in found.metrics.values()), f"metrics are not finite: {dict(found.metrics)}")
            lost = [name for name in found.artefacts.values() if not (context.folder / name).exists()]
            demand(not lost, f"artefacts {lost} do not exist below the folder")


def check_evaluation_is_pure(component: Any, config: Any, kernel: Any = None) -> None:
    """Evaluating again gives equal metrics, cost and details, under other global seeds; the feature set stays as it was."""
    with _places(component, kernel) as places:
        for _, genotype, context in places:
            before = context.features.digest
            with globals_kept("evaluate", builds_modules=True):
                first = _evaluate(component, config, genotype, context)
            _evaluate(component, config, genotype, replace(context, trial=context.trial + 1, seed=9))
            with another_world(1):
                second = _evaluate(component, config, genotype, context)
            for part in ("status", "metrics", "cost", "details"):
                same = digest(getattr(first, part)) == digest(getattr(second, part))
                demand(same, f"two evaluations of one genotype differ in {part}: {getattr(first, part)} and {getattr(second, part)}")
            demand(context.features.digest == before, "evaluate changed the feature set")


def check_evaluator_keeps_its_deadline(component: Any, config: Any, kernel: Any = None) -> None:
    """With a deadline that has passed, evaluation ends soon and still returns an evaluation."""
    with _places(component, kernel) as places:
        for _, genotype, context in places:
            start = time.monotonic()
            found = _evaluate(component, config, genotype, replace(context, deadline=start - 1.0), Rung(0, 1.0))
            demand(isinstance(found, Evaluation), "evaluate returned nothing after its deadline")
            demand(time.monotonic() - start < 20.0, f"evaluation went on for {time.monotonic() - start:.0f} s after its deadline")


def check_models_come_back(component: Any, config: Any, kernel: Any = None) -> None:
    """`restore` returns the trial's model (None once its files are gone), `refit` a model in eval mode, the same when asked again."""
    with _places(component, kernel) as places:
        for _, genotype, context in places:
            found = _evaluate(component, config, genotype, context)
            if found.status != "complete":
                continue
            restored = component(config).restore(genotype, found.artefacts, context)
            _demand_model(restored, "restore", optional=True)
            models = [component(config).refit(genotype, found.details, context) for _ in range(2)]
            for model in models:
                _demand_model(model, "refit", optional=False)
            states = [list(leaves(dict(model.module.state_dict()))) for model in models]
            demand(first_difference(*states) is None, f"two refits give different weights: {first_difference(*states)}")
            for name in found.artefacts.values():
                (context.folder / name).unlink()
            _demand_model(component(config).restore(genotype, found.artefacts, context), "restore", optional=True)


def _demand_model(model: Any, method: str, *, optional: bool) -> None:
    if model is None and optional:
        return
    demand(isinstance(model, TrainedModel), f"{method} returned a {type(model).__name__}, expected a TrainedModel")
    demand(not model.module.training, f"{method} returned a module in train mode")


def _evaluate(component: Any, config: Any, genotype: Genotype, context: EvaluationContext, rung: Rung = _RUNG) -> Any:
    evaluator = component(config)
    try:
        evaluator.prepare(context)
        return evaluator.evaluate(genotype, rung, context)
    except AutoRecError as error:
        violated(f"evaluate raised {type(error).__name__} on the default genotype: {error}")


class _Judging:
    """A kernel in which the evaluator under judgement is `kit/judged`."""

    def __init__(self, kernel: Any, component: Any) -> None:
        self.kernel, self.component = kernel, component

    def load(self, kind: str, name: str) -> Any:
        return self.component if name == "kit/judged" else self.kernel.load(kind, name)


@contextmanager
def _places(component: Any, kernel: Any) -> Iterator[list[tuple[SearchSpace, Genotype, EvaluationContext]]]:
    """Yield (space, genotype, context) of small runs, one a task; nothing when no installed blueprint suits it."""
    from autorec_kernel.search.genes import assemble_space, offers
    from autorec_kernel.testing.model_cases import features_for

    able = host(kernel)
    with tempfile.TemporaryDirectory() as folder:
        found = []
        for task, metric in (("recommend", "ndcg@10"), ("click", "auc"), ("rate", "rmse")):
            features = features_for(able, task)
            fitting = tuple(offer for offer in offers(able, task, features.schema) if not offer.reason)
            if fitting:
                space = assemble_space(_Judging(able, component), fitting, features.schema, "kit/judged")  # type: ignore[arg-type]
                context = EvaluationContext(able, features, task, metric, 3, 1, Path(folder))
                found.append((space, space.default(), context))
        yield found
