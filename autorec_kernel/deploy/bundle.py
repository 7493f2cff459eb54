"""Writing a bundle: every member in one byte form, hashed, put in place at once, and read back before it is handed on."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autorec_kernel.deploy.card import model_card
from autorec_kernel.deploy.export import graph_spec, tile_rows
from autorec_kernel.deploy.normalise import IR_VERSION, OPSET
from autorec_kernel.errors import BundleError, InfrastructureError
from autorec_kernel.records.bundle import (
    DRIFT,
    FORMAT,
    GOLDEN,
    LIVE,
    MANIFEST,
    MAX_MEMBERS,
    PROGRAMS,
    SCHEMA,
    Bundle,
    canonical_json,
    check_name,
    content_digest,
    manifest_digest,
    member_digest,
    write_array,
)
from autorec_kernel.records.recent import narrowed
from autorec_kernel.serving.archive import zip_bytes
from autorec_kernel.serving.drift import with_ids
from autorec_kernel.serving.graph import Graph
from autorec_kernel.serving.verify import golden_view, verify_bundle

if TYPE_CHECKING:
    from autorec_kernel.records.drift import DriftProfile
    from autorec_kernel.records.features import FeatureSchema
    from autorec_kernel.records.live import Live
    from autorec_kernel.records.schema import Schema
    from autorec_kernel.records.serving_state import ServingState

__all__ = ["BundleFacts", "ServedModel", "pack", "served_model", "verify_bundle", "write_bundle"]

_GOLDEN_ROWS, _GOLDEN_STEPS, _GOLDEN_COLUMNS = 32, 1600, 256  # of eight rows and more; attention takes memory by rows and steps squared
_INTEGERS = "Its products run in eight-bit integers scaled per call: a score moves slightly with the other rows of the same call."
_QUANTISED = frozenset({b"MatMulInteger", b"DynamicQuantizeLinear"})


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model as a bundle stores it.

    Args:
        role: retriever | ranker.
        graph: Serialised ONNX.
        spec: `inputs`, `outputs`, `lengths`.
        index, index_arrays: What `deploy.index` found for a large catalogue.
    """

    role: str
    graph: bytes
    spec: Mapping[str, Any]
    index: Mapping[str, Any] = field(default_factory=dict)
    index_arrays: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BundleFacts:
    """What the manifest and the card say about a bundle; nothing here may depend on the clock or the machine.

    Args:
        protocol: Protocol id that the metrics were measured under.
        metrics: split → metric → value.
        architecture: Readable form.
        plugins: Distribution → version of everything that made it.
        data: `fingerprint`, `rows`, `users`, `items`, ….
        notes: Sentences for the card.
        repeats: Whether users choose items again, so that lists are judged with seen items in.
    """

    task: str
    protocol: str
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    architecture: str = ""
    plugins: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    steps: tuple[Mapping[str, Any], ...] = ()
    notes: tuple[str, ...] = ()
    repeats: bool = False


def served_model(network: Any, graph: bytes) -> ServedModel:
    """Describe a network and its graph: the role follows from its outputs."""
    role = "retriever" if tuple(network.serving_outputs) in (("score",), ("user",)) else "ranker"
    return ServedModel(role, graph, graph_spec(network))


def write_bundle(
    folder: Path,
    *,
    model: ServedModel,
    state: ServingState,
    sample: Mapping[str, np.ndarray],
    facts: BundleFacts,
    columns: Schema | None = None,
    drift: DriftProfile | None = None,
    live: Live | None = None,
    report: Mapping[str, bytes] | None = None,
) -> Bundle:
    """Write a bundle and verify what was written.

    Args:
        folder: Where it shall stand; what stands there is replaced at once or stays as it was.
        model: The model to serve.
        state: Everything that turns ids into model inputs; features that neither the model nor `drift` reads are left out.
        sample: Input name → array of at least one row; up to 32 rows become the golden rows, fewer (8) of long histories.
        facts: What the manifest and the card say.
        columns: The data set's schema, so that files with the same columns can be read.
        drift: How the served features are distributed over the training rows; None = the bundle cannot tell of drift.
        live: What later events are folded into; None = the state stays as it is.
        report: Further members (`report.json`, `report.html`, `certificate.json`).

    Raises:
        BundleError: A limit is exceeded, or the written bundle does not verify.
        InfrastructureError: The folder cannot be written.
    """
    state = narrowed(state, {*with_ids(state.schema, model.spec["inputs"]), *(drift.features if drift is not None else ())})
    members = _members(model, state, live, sample, facts, columns)
    if drift is not None:
        members[DRIFT] = canonical_json(drift.to_json())
    notes = (*facts.notes, _INTEGERS) if _integers(model.graph) else facts.notes
    members["CARD.md"] = model_card(model.role, replace(facts, notes=notes), {name: len(data) for name, data in members.items()}).encode()
    members.update(report or {})  # after the card, whose bytes may not follow measured figures
    members[MANIFEST] = _manifest(members, model, facts)
    if len(members) > MAX_MEMBERS:
        raise BundleError(f"{len(members)} members, a bundle holds at most {MAX_MEMBERS}")
    _put(folder, members)
    return verify_bundle(folder)


def pack(folder: Path, target: Path, *, require_digest: str = "") -> Path:
    """Write a verified bundle as one stored zip; the same members give the same bytes.

    Raises:
        BundleError: The folder is no whole bundle, or not the one that is required (see `open_bundle`).
    """
    data = zip_bytes(verify_bundle(folder, require_digest=require_digest).members)
    partial = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    partial.write_bytes(data)
    os.replace(partial, target)
    return target


def _members(
    model: ServedModel,
    state: ServingState,
    live: Live | None,
    sample: Mapping[str, np.ndarray],
    facts: BundleFacts,
    columns: Schema | None,
) -> dict[str, bytes]:
    kept, packed = live.packed() if live is not None else ({}, {})
    arrays = {**state.arrays(), **packed, **model.index_arrays}
    names = {name: _table_name(number, name) for number, name in enumerate(sorted(arrays))}
    spec = {**model.spec, "sizes": _sizes(state.schema, model.spec["inputs"])}
    golden, rows = _golden(model, spec, sample)
    schema = {
        "task": facts.task,
        "repeats": facts.repeats,
        "models": {model.role: spec},
        "columns": columns.to_json() if columns is not None else [],
        "tables": names,
        **({"index": dict(model.index)} if model.index else {}),
    }
    return {
        f"{model.role}.onnx": model.graph,
        SCHEMA: canonical_json(schema),
        PROGRAMS: canonical_json(state.meta()),
        GOLDEN: canonical_json(golden),
        **({LIVE: canonical_json(kept)} if kept else {}),
        **{names[name]: write_array(np.asarray(array)) for name, array in arrays.items()},
        **rows,
    }


def _golden(model: ServedModel, spec: Mapping[str, Any], sample: Mapping[str, np.ndarray]) -> tuple[dict[str, Any], dict[str, bytes]]:
    widest = max([1, *(sample[name].shape[1] for name in spec["lengths"] if name in sample)])
    count = min(_GOLDEN_ROWS, max(8, _GOLDEN_STEPS // widest), *map(len, sample.values())) if sample else 1
    inputs = tile_rows({name: np.asarray(sample[name]) for name in spec["inputs"]}, count)
    outputs = Graph(model.graph, spec, name=f"{model.role}.onnx").run(inputs)
    members = {f"golden/{model.role}-in{number}.npy": write_array(value) for number, value in enumerate(inputs.values())}
    stored: dict[str, dict[str, str]] = {}
    for number, (name, value) in enumerate(outputs.items()):
        width = int(np.prod(value.shape[1:]))
        columns = np.unique(np.linspace(0, width - 1, min(width, _GOLDEN_COLUMNS)).astype(np.int64))
        values, sums = golden_view(value, columns)
        parts = {"values": values, "sums": sums, "columns": columns}
        stored[name] = {part: f"golden/{model.role}-out{number}-{part}.npy" for part in parts}
        members.update({stored[name][part]: write_array(array) for part, array in parts.items()})
    listed = {"inputs": dict(zip(inputs, members, strict=False)), "outputs": stored}
    return {"rows": count, "tolerance": _tolerance(model.graph), "models": {model.role: listed}}, members


def _tolerance(graph: bytes) -> float:
    """Return what another CPU may differ by: rounding in float32, one step of the activations' scale where integers are multiplied."""
    return 0.02 if _integers(graph) else 1e-4


def _integers(graph: bytes) -> bool:
    return any(name in graph for name in _QUANTISED)


def _manifest(members: Mapping[str, bytes], model: ServedModel, facts: BundleFacts) -> bytes:
    hashes = {name: member_digest(data) for name, data in members.items()}
    for name in members:
        check_name(name)
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "task": facts.task,
        "role": model.role,
        "protocol": facts.protocol,
        "seed": facts.seed,
        "architecture": facts.architecture,
        "metrics": {split: dict(values) for split, values in facts.metrics.items()},
        "data": dict(facts.data),
        "steps": [dict(step) for step in facts.steps],
        "plugins": dict(facts.plugins),
        "versions": {"opset": OPSET, "ir": IR_VERSION, "byteorder": "little"},
        "members": {name: {"sha256": hashes[name], "size": len(data)} for name, data in members.items()},
        "content_digest": content_digest(hashes),
    }
    manifest = _finite(manifest)
    manifest["manifest_digest"] = manifest_digest(manifest)
    return canonical_json(manifest)


def _finite(value: Any) -> Any:
    """Return plain JSON values: numpy scalars as Python's, numbers that are not finite as null."""
    if isinstance(value, Mapping):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _put(folder: Path, members: Mapping[str, bytes]) -> None:
    folder = Path(folder)
    fresh = folder.with_name(f".{folder.name}.new")
    old = folder.with_name(f".{folder.name}.old")
    try:
        for left in (fresh, old):  # by a process that was killed here
            shutil.rmtree(left, ignore_errors=True)
        for name, data in members.items():
            _write(fresh / name, data)
        if folder.exists():
            os.replace(folder, old)
        os.replace(fresh, folder)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        shutil.rmtree(fresh, ignore_errors=True)
        raise InfrastructureError(f"the bundle cannot be written: {error.strerror}", where=str(folder)) from error


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _table_name(number: int, name: str) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:48].strip("-")
    return f"tables/{number:03d}-{slug or 'table'}.npy"


def _sizes(schema: FeatureSchema, inputs: list[str]) -> dict[str, int]:
    found = {feature.name: feature.size for feature in schema.features if feature.kind != "numeric"}
    return {name: found[name] for name in inputs if name in found}
