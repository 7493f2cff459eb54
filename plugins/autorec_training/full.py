"""Full training: a candidate is trained on the training rows and measured on the validation rows."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from autorec_kernel.contracts.evaluator import CONVERGED, EvaluationContext, Rung
from autorec_kernel.errors import UsageError
from autorec_kernel.evaluation import parse_metric
from autorec_kernel.models import (
    DeviceProfile,
    FitReport,
    FitSettings,
    Network,
    NotFiniteError,
    estimate_cost,
    evaluate_ranking,
    row_metrics,
    solving_seconds,
    task_metrics,
    train,
)
from autorec_kernel.records.model import TrainedModel
from autorec_kernel.records.trial import Cost, Evaluation
from autorec_kernel.search.genes import Candidate, decode
from autorec_kernel.space import Genotype, SearchSpace
from autorec_training.options import TrainingOptions
from autorec_training.watch import Watch

__all__ = ["FullTraining"]

_RANKING = ("ndcg@10", "hr@10", "recall@10", "mrr@10")
_ROWS = {"click": ("auc", "log_loss"), "rate": ("rmse", "mae")}


class FullTraining:
    """Trains, stops early on a validation metric, restores the best epoch.

    Attributes:
        begin: Gives a new network weights that were learned elsewhere, for evaluators that build on this one.
        epochs: Passes over the rows that `evaluate` makes, in place of the rung's share; 0 measures what `begin` left and keeps no weights.
    """

    class Config(TrainingOptions):
        """Options; the annotated ones are genes of the search."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.begin: Callable[[Network], None] | None = None
        self.epochs: int | None = None

    def subspace(self, space: SearchSpace) -> SearchSpace:
        """Return the whole space: everything can be trained."""
        return space

    def prepare(self, context: EvaluationContext) -> Mapping[str, str]:
        """Return nothing: candidates share no artefact."""
        return {}

    def evaluate(self, genotype: Genotype, rung: Rung, context: EvaluationContext) -> Evaluation:
        """Train for `rung.share` of the epochs and measure on the validation rows."""
        started = time.monotonic()
        candidate = decode(genotype, context.features.schema, context.kernel)
        settings = self._settings(candidate, rung.share)
        settings = settings if self.epochs is None else replace(settings, epochs=self.epochs)
        sizes = {"batch_size": settings.batch_size, "epochs": settings.epochs}
        cost = estimate_cost(candidate.architecture, candidate.features, context.kernel, DeviceProfile(), **sizes)
        excess = _excess(cost, solving_seconds(candidate.architecture, candidate.features, context.kernel), context.limits)
        if excess:
            return Evaluation("infeasible", cost=cost, error=excess, details=_facts(candidate, settings, FitReport()))
        curves = f"curves/{context.trial}-{rung.index}.jsonl"
        watch = Watch(lambda model: self._judge(model, context), self._stop_on(context), context.folder / curves)
        network, report = self._train(candidate, settings, context, watch)
        metrics, values = watch.best or self._judge(network, context)
        metrics |= _further(network, context)
        name = f"values-{context.trial}-{rung.index}.npy"
        np.save(context.folder / name, values, allow_pickle=False)
        artefacts = {"values": name}
        if report.losses:
            artefacts["curves"] = curves
        if network.trainable and settings.epochs:
            artefacts["weights"] = f"weights-{context.trial}-{rung.index}.safetensors"
            save_file(_weights(network), context.folder / artefacts["weights"])
        measured = {"seconds": time.monotonic() - started, "fit_seconds": report.seconds}
        facts = {**_facts(candidate, settings, report), "weights": _weights_digest(network)}
        return Evaluation("complete", metrics, cost, measured, "", artefacts, facts)

    def restore(self, genotype: Genotype, artefacts: Mapping[str, str], context: EvaluationContext) -> TrainedModel | None:
        """Return the trained network of a trial; closed forms are solved again (from the cache), weights are read."""
        candidate = decode(genotype, context.features.schema, context.kernel)
        path = context.folder / artefacts.get("weights", "")
        if "weights" in artefacts and not path.is_file():
            return None
        settings = replace(self._settings(candidate, 1.0), epochs=0)
        network, _ = self._train(candidate, settings, context, None)
        if "weights" in artefacts:
            stored = load_file(path)
            if {name: value.shape for name, value in stored.items()} != {name: value.shape for name, value in _weights(network).items()}:
                return None
            network.load_state_dict(stored, strict=False)
        return TrainedModel(candidate.architecture, network.eval(), candidate.features, {}, {"genotype": dict(genotype)})

    def refit(self, genotype: Genotype, details: Mapping[str, Any], context: EvaluationContext) -> TrainedModel:
        """Train as many epochs as the trial's best one took, on all rows."""
        candidate = decode(genotype, context.features.schema, context.kernel)
        settings = self._settings(candidate, 1.0)
        horizon, factors = int(details.get("horizon", 0)) or settings.epochs, tuple(details.get("factors", ()))
        epochs = max(1, int(details.get("best_epoch", 0)))
        settings = replace(settings, epochs=epochs, patience=0, horizon=horizon, factors=factors)
        network, report = self._train(candidate, settings, context, None)
        provenance = {"genotype": dict(genotype), "blueprint": candidate.blueprint, "epochs": len(report.losses), "seed": context.seed}
        return TrainedModel(candidate.architecture, network, candidate.features, {}, provenance)

    def _settings(self, candidate: Candidate, share: float) -> FitSettings:
        config = self.Config(**{**self.config.model_dump(), **candidate.training})
        return config.settings(max(1, round(config.epochs * share)))

    def _train(
        self, candidate: Candidate, settings: FitSettings, context: EvaluationContext, watch: Watch | None
    ) -> tuple[Network, FitReport]:
        return train(
            candidate.architecture,
            context.features,
            candidate.features,
            context.kernel,
            settings,
            seed=context.seed,
            trial=context.trial,
            validate=watch,
            progress=watch.epoch if watch is not None else None,
            device=context.device,
            deadline=context.deadline,
            cache=context.folder,
            begin=self.begin,
        )

    def _stop_on(self, context: EvaluationContext) -> str:
        """Return the metric that training goes by.

        Raises:
            UsageError: It says nothing about the task.
        """
        metric = self.config.stop_on or context.metric
        if context.task not in parse_metric(metric)[0].tasks:
            raise UsageError(
                f"stop_on {metric!r} does not judge the task {context.task!r}", hint=f"for example stop_on = {context.metric!r}"
            )
        return metric

    def _judge(self, network: Network, context: EvaluationContext) -> tuple[dict[str, float], np.ndarray]:
        """Return metrics on the validation rows and per-user (ranking) or per-row values for paired comparisons."""
        if context.task != "recommend":
            label = network.tasks[0]
            result, predictions = row_metrics(
                network, context.features, "valid", label, _with(context.metric, self._stop_on(context), *_ROWS[context.task])
            )
            found = {name: _finite(name, value) for name, value in result.values.items()}
            return found, predictions.astype(np.float64)
        evaluation = context.features.evaluation("valid").sample(self.config.validation_users, np.random.default_rng(context.seed))
        ranking = evaluate_ranking(network, context.features, evaluation, _with(context.metric, self._stop_on(context), *_RANKING))
        return {name: _finite(name, value) for name, value in ranking.mean().items()}, ranking.values[context.metric]


def _weights(network: Network) -> dict[str, torch.Tensor]:
    """Return all state but that of closed forms, each tensor once."""
    kept = network.state_dict()
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    own = {name: value for name, value in tensors.items() if name in kept and not name.startswith(network.solved)}
    return {name: value.detach().contiguous() for name, value in own.items()}


def _weights_digest(network: Network) -> str:
    """Return what two networks share exactly when all their state, closed forms too, is equal bit for bit."""
    found = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        found.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return found.hexdigest()[:16]


def _with(*metrics: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(metrics))


def _further(network: Network, context: EvaluationContext) -> dict[str, float]:
    """Return the defined metrics of every task where the data has several labels."""
    found = {} if context.task == "recommend" else task_metrics(network, context.features, "valid")
    return {name: value for name, value in found.items() if value is not None and math.isfinite(value)}


def _finite(name: str, value: float | None) -> float:
    if value is None or not math.isfinite(value):
        raise NotFiniteError(f"the validation metric {name} is undefined: {value}")
    return float(value)


def _excess(cost: Cost, solving: float, limits: Mapping[str, float]) -> str:
    """Return which hard limit the candidate breaks, or nothing; `max_seconds` is for what cannot stop half-way, a closed form."""
    stated = {"max_params": cost.parameters, "max_bytes": cost.bytes, "max_latency_ms": cost.latency_ms, "max_seconds": solving}
    broken = [f"{name} {stated[name]:g} > {limit:g}" for name, limit in limits.items() if limit and stated[name] > limit]
    return "; ".join(broken)


def _facts(candidate: Candidate, settings: FitSettings, report: FitReport) -> dict[str, Any]:
    several = len(candidate.features.tasks) > 1
    return {
        "blueprint": candidate.blueprint,
        **({"tasks": list(candidate.architecture.outputs)} if several else {}),
        "architecture": candidate.architecture.readable(),
        "architecture_digest": candidate.architecture.digest(),
        "best_epoch": report.best_epoch,
        "epochs": len(report.losses),
        **({} if settings.schedule == "none" else {"horizon": settings.epochs}),
        **({"factors": report.factors} if min(report.factors, default=1.0) < 1.0 else {}),
        **({"stopped_by": report.stopped_by} if report.stopped_by == "deadline" else {}),
        **({CONVERGED: True} if _ended(settings, report) else {}),
        "losses": [round(loss, 9) for loss in report.losses],
        "values": [round(value, 9) for value in report.values],
    }


def _ended(settings: FitSettings, report: FitReport) -> bool:
    """Return whether a larger share of the epochs would change nothing: training stopped by itself, or no trial gets more time."""
    own = report.stopped_by == "patience" and settings.schedule == "none" and not settings.warmup
    return own or report.stopped_by == "deadline"
