"""The certificate of a bundle: what the test rows and the clock say of the served model, beside torch and onnxruntime in float32."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from autorec_kernel.contracts import Evidence, Target
from autorec_planner.cold import cold_start
from autorec_planner.latency import measure_latency
from autorec_planner.slices import by_slice, masks
from autorec_planner.verdict import judged
from autorec_planner.workshop import graph_of

__all__ = ["VERSION", "certificate"]

VERSION = 1
_SECONDS = 2.0  # of each measurement
_ROUNDS = 400
_MISSING = "the best small model trained directly with equal tuning, on these rows: `small` has what the search found of such, if it did"
_EIGHT = 4  # bytes of a float32 weight over those of an eight-bit one, which costs no training


def certificate(evidence: Evidence) -> dict[str, Any]:
    """Return the certificate as plain JSON; everything that a clock measured stands under `measured`."""
    before, after, target = evidence.qualities["before"], evidence.qualities["after"], evidence.target
    found = judged(after, before, target, evidence.seed)
    sliced = by_slice(evidence.qualities, masks(evidence.features, evidence.task, evidence.asked), target, evidence.seed)
    manifest = json.loads((evidence.bundle / "manifest.json").read_bytes())
    measured = _measured(evidence, str(manifest["role"]))
    small = _small(evidence)
    whole = sum(row["size"] for row in manifest["members"].values())
    return {
        "version": VERSION,
        "content_digest": manifest["content_digest"],
        "target": asdict(target),
        **found.to_json(),
        "before": before.value,
        "after": after.value,
        "slices": sliced,
        "bytes": {"before": evidence.before.bytes, "after": evidence.after.bytes, "bundle": whole},
        "missed": _missed(measured["cold_start"], target),
        "small": small,
        "not_compared_with": [_MISSING],
        "measured": measured,
    }


def _measured(evidence: Evidence, role: str) -> dict[str, Any]:
    """Return latencies of the same model in torch (eager), in onnxruntime (float32) and as it is served, in turns; and a cold start."""
    target = evidence.target
    graphs: dict[str, Any] = {
        "torch": Eager(evidence.before.model.model.module),
        "onnxruntime": graph_of(evidence.before, target.threads),
        "served": graph_of(evidence.after, target.threads),
    }
    found: dict[str, Any] = {"threads": target.threads, "batch_rows": target.batch}
    for name, batch in (("one", 1), ("batch", target.batch)):
        times = measure_latency(graphs, evidence.sample, batch=batch, rounds=_ROUNDS, seconds=_SECONDS, cores=target.threads)
        found[name] = {which: {key: round(value, 6) for key, value in row.items()} for which, row in times.items()}
        found[f"{name}_of_torch"] = round(times["served"]["cpu_ms"] / times["torch"]["cpu_ms"], 4)
    found["cold_start"] = cold_start(evidence.bundle, role)
    return found


def _small(evidence: Evidence) -> dict[str, Any]:
    """Return the best trial whose weights take no more bytes in eight bits than what is served; empty where the search evaluated none.

    It was trained directly, on the rung of the served trial. `gain` is its share above the served trial's on validation rows, in float32:
    a hint of what small models reach here, not a comparison on the test rows.
    """
    own = next((trial for trial in evidence.trials if trial.number == evidence.trial and trial.status == "complete"), None)
    if own is None or not own.value or not math.isfinite(own.value):
        return {}
    most = _EIGHT * evidence.after.bytes
    done = [trial for trial in evidence.trials if trial.status == "complete" and trial.rung == own.rung and "same_as" not in trial.details]
    few = [one for one in done if one is not own and 0 < one.cost.bytes <= most and math.isfinite(one.value)]
    if not few:
        return {}
    best = max(few, key=lambda trial: (trial.value, -trial.number))
    told = {"trial": best.number, "architecture": str(best.details.get("architecture", "")), "bytes": best.cost.bytes // _EIGHT}
    return {**told, "gain": round((best.value - own.value) / abs(own.value), 8)}


def _missed(cold: Mapping[str, Any], target: Target) -> dict[str, dict[str, float]]:
    if not target.max_memory or cold.get("peak_bytes", 0) <= target.max_memory:
        return {}
    return {"max_memory": {"limit": float(target.max_memory), "measured": float(cold["peak_bytes"])}}


class Eager:
    """A torch network that is called as a graph is."""

    def __init__(self, network: Any) -> None:
        self._network = network.eval()

    def run(self, inputs: Mapping[str, np.ndarray]) -> Any:
        """Answer one batch."""
        kinds = {name: np.int64 if inputs[name].dtype.kind in "iu" else np.float32 for name in self._network.inputs}
        tensors = [torch.from_numpy(np.array(inputs[name], dtype=kinds[name])) for name in self._network.inputs]
        with torch.no_grad():
            return self._network.serve(*tensors)
