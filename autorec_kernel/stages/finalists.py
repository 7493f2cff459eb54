"""Finalists: what would be chosen is timed where a limit of latency may break, and what is too slow gives its place to the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from autorec_kernel.deploy.export import export_onnx, graph_spec
from autorec_kernel.deploy.latency import measure_latency
from autorec_kernel.deploy.plan import serving_sample
from autorec_kernel.search.choose import Choice, choose
from autorec_kernel.serving.graph import Graph
from autorec_kernel.stages import evaluate as judge
from autorec_kernel.stages.search import limits_of

if TYPE_CHECKING:
    from autorec_kernel.features import FeatureSet
    from autorec_kernel.records.model import TrainedModel
    from autorec_kernel.records.trial import Trial
    from autorec_kernel.stages.workplace import Workplace

__all__ = ["choose_in_time"]

_FINALISTS = 4  # that are timed; each is exported once for it
_CLOSE = 0.1  # share of the limit from which a predicted latency is worth a measurement


def choose_in_time(
    place: Workplace, features: FeatureSet, trials: Sequence[Trial], baselines: Sequence[int]
) -> tuple[Choice, TrainedModel] | None:
    """Return the choice and its model as it was judged; None when nothing completed.

    With `max_latency_ms`, a choice whose measured median of one row is above it gives way to the next best. Verdicts are journaled, so
    that a run that goes on and a replay choose the same. When all finalists are too slow the best one is kept, and that is said.
    """
    left, first = list(trials), None
    limit = limits_of(place).get("max_latency_ms", 0.0)
    for _ in range(_FINALISTS):
        chosen = choose(left, baselines, lambda one, other: judge.trial_comparison(place, features, one, other))
        if chosen is None:
            break
        found = chosen, judge.restored(place, features, chosen.trial)
        first = first or found
        if not limit or not _slow(place, features, chosen.trial, found[1], limit):
            return found
        left = [trial for trial in left if trial.number != chosen.trial.number]
    if first is not None:
        place.note(f"no finalist answers one row within max_latency_ms = {limit:g} here; the best one is kept")
    return first


def _slow(place: Workplace, features: FeatureSet, trial: Trial, model: TrainedModel, limit: float) -> bool:
    """Return whether the exported model takes longer than the limit: what the journal says, else what is measured now."""
    known = {record["trial"]: bool(record["met"]) for record in place.journal.records() if record["kind"] == "timed"}
    if trial.number not in known:
        if trial.cost.latency_ms < _CLOSE * limit:
            return False
        measured = _milliseconds(model, features)
        known[trial.number] = measured <= limit
        place.journal.append("timed", trial=trial.number, met=known[trial.number], limit=limit, measured={"p50_ms": measured})
        if not known[trial.number]:
            place.note(f"trial {trial.number} takes {measured:.3g} ms a row here, max_latency_ms is {limit:g}: not chosen")
    return not known[trial.number]


def _milliseconds(model: TrainedModel, features: FeatureSet) -> float:
    """Return the median of one row through the exported graph."""
    sample = serving_sample(model.module, features)
    graph = Graph(export_onnx(model.module, sample), graph_spec(model.module), name="graph")
    return measure_latency({"graph": graph}, sample)["graph"]["p50_ms"]
