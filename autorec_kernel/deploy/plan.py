"""The steps of a compression plan: applied to a model, with export and proof of parity, and again to the same model refitted."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from autorec_kernel.contracts.deploy import Candidate, CompressionContext, NotApplicable
from autorec_kernel.deploy.export import export_onnx, parity
from autorec_kernel.deploy.graph_network import GraphNetwork
from autorec_kernel.deploy.quality import Quality
from autorec_kernel.models.fit import FitSettings, fit
from autorec_kernel.records.model import CompressedModel, CompressionStep, TrainedModel
from autorec_kernel.records.serving_state import without_padding

if TYPE_CHECKING:
    from autorec_kernel.features import FeatureSet
    from autorec_kernel.kernel import Kernel

__all__ = ["FineTuner", "apply_step", "exported", "measured", "reapply", "serving_sample"]

_TUNED_EPOCHS = 5  # of a full fine-tuning, or half of the epochs that the model was trained for; a compressor asks for a share of it
_PATIENCE = 3  # epochs without a better one after which fine-tuning ends
Judge = Callable[[Any], Quality]  # of a network or a `GraphNetwork`


def exported(model: TrainedModel, sample: Mapping[str, np.ndarray]) -> Candidate:
    """Export a trained model and prove parity with torch.

    Raises:
        BundleError: The graph cannot be made, or answers differently.
    """
    graph = export_onnx(model.module, sample)
    parity(model.module, graph, sample)
    return _candidate(CompressedModel(model, graph))


def measured(candidate: Candidate, judge: Judge) -> Quality:
    """Return the quality of what a candidate's graph answers."""
    return judge(GraphNetwork(candidate.model.model.module, candidate.model.graph or b""))


def apply_step(
    kernel: Kernel, context: CompressionContext, seed: int, current: Candidate, name: str, config: Mapping[str, Any]
) -> Candidate:
    """Return what a compressor makes of a candidate, exported and proved; equal arguments give equal candidates.

    Raises:
        NotApplicable: Nothing would change.
        BundleError: The compressed network cannot be exported.
    """
    tuned = replace(context.fine_tune, kept=None) if isinstance(context.fine_tune, FineTuner) else context.fine_tune
    compressor = kernel.create("compressor", name, **config)
    found: CompressedModel = compressor.compress(current.model, replace(context, fine_tune=tuned, rng=np.random.default_rng(seed)))
    if compressor.form == "module":
        graph = export_onnx(found.model.module, context.sample)
        parity(found.model.module, graph, context.sample)
        found = replace(found, graph=graph)
    kept = getattr(tuned, "kept", None)
    return replace(_candidate(found), facts={} if kept is None else {"tuned_epochs": float(kept)})


def reapply(
    start: Candidate,
    steps: Sequence[CompressionStep],
    kernel: Kernel,
    context: CompressionContext,
    seed: int,
    deadline: float | None = None,
) -> Candidate:
    """Apply the taken steps of a plan, decided on one model, to the same model refitted on more rows.

    A step that finds nothing to change on the refitted model, fails there, or would train beyond the deadline is left out. Fine-tuning
    takes as many epochs as were best on the validation rows, which are among the training rows now.

    Returns:
        The candidate; its model carries the steps that were applied, and with `taken` off and the reason those that were not.
    """
    current, told = start, list[CompressionStep]()
    for step in steps:
        if not step.taken:
            continue
        epochs = int(step.after.get("tuned_epochs", 0))
        try:
            own = replace(context, fine_tune=FineTuner(context.features, seed, deadline, epochs=epochs))
            current = apply_step(kernel, own, seed, current, step.component, step.config)
            told.append(step)
        except Exception as error:  # a plugin's code: the model is served without this step
            told.append(replace(step, taken=False, reason=f"left out of the refitted model: {type(error).__name__}: {error}"[:300]))
    return replace(current, model=replace(current.model, steps=tuple(told)))


def serving_sample(network: Any, features: FeatureSet, rows: int = 32) -> dict[str, np.ndarray]:
    """Return serving inputs of the first users (retrievers) or the first training rows (rankers): for tracing and golden rows."""
    lengths = {name: length for name, length in network.lengths.items() if length > 0}
    if not network.inputs:
        return {}
    if tuple(network.serving_outputs) in (("score",), ("user",)):
        users = np.arange(rows) % max(1, features.schema.users)
        found = features.state().inputs(network.inputs, users=users, lengths=lengths)
        short = without_padding(found, features.schema)  # as answers are computed; the exporter takes an axis of one for a constant
        return {name: value[:, : max(2, short[name].shape[1])] if value.ndim == 2 else value for name, value in found.items()}
    chosen = features.rows("train")[:rows]
    return features.row_inputs(network.inputs, chosen, lengths=lengths)


@dataclass(slots=True)
class FineTuner:
    """Trains a copy of a model further on the training rows, with the options of its search.

    The learning rate is that of the search, which brings back more of what a cut took than a lower one does (Renda, Frankle and Carbin
    2020, "Comparing Rewinding and Fine-tuning in Neural Network Pruning"). The best epoch is kept: none, where the model was at its best.

    Args:
        judge: Quality on the validation rows; None = all epochs are kept.
        epochs: As many as were best before; None = what the compressor asks for.
        kept: Epochs of the last call.
    """

    features: FeatureSet
    seed: int
    deadline: float | None = None
    judge: Judge | None = None
    epochs: int | None = None
    kept: int | None = None

    def __call__(self, model: TrainedModel, share: float) -> TrainedModel:
        """Return the trained copy.

        Raises:
            NotApplicable: The deadline cut a training short whose length was decided before.
        """
        full = max(_TUNED_EPOCHS, int(model.provenance.get("epochs", 0)) // 2)
        wanted = max(1, round(share * full)) if self.epochs is None else self.epochs
        module, before, judge = copy.deepcopy(model.module), -np.inf, self.judge
        if judge is not None:
            before = self._value(judge, module)
        settings = replace(_settings(model), epochs=wanted, patience=0 if judge is None else _PATIENCE)
        validate = None if judge is None else lambda network: self._value(judge, network)
        if wanted:
            seed = np.random.SeedSequence(self.seed, spawn_key=(0, 7))
            report = fit(module, self.features, settings, seed=seed, validate=validate, deadline=self.deadline)
            if judge is None and report.stopped_by == "deadline":
                raise NotApplicable(f"the time was up before {wanted} epochs of fine-tuning")
        better = bool(wanted) and (judge is None or report.best_value > before)
        self.kept = 0 if not better else wanted if judge is None else report.best_epoch
        return replace(model, module=module if better else copy.deepcopy(model.module))

    @staticmethod
    def _value(judge: Judge, network: Any) -> float:
        found = judge(network.eval())
        return found.value if found.higher else -found.value


def _settings(model: TrainedModel) -> FitSettings:
    genes = dict(model.provenance.get("genotype", {}))
    prefix = f"{genes.get('pipeline')}.training."
    told = {name.removeprefix(prefix): value for name, value in genes.items() if name.startswith(prefix)}
    return FitSettings(**{name: value for name, value in told.items() if name in FitSettings.__dataclass_fields__})


def _candidate(model: CompressedModel) -> Candidate:
    assert model.graph is not None
    return Candidate(model, len(model.graph))
