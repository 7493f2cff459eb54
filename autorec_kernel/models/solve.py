"""Closed forms: run the `solve` of every block that has one, once for each (block, data), with a cache on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autorec_kernel.contracts.models import SolvingBlock
from autorec_kernel.files import atomic_write
from autorec_kernel.models.adapters import adapt_spec
from autorec_kernel.models.network import accepted_ports, infer_specs, make_blocks
from autorec_kernel.records.architecture import Architecture, Node, TensorSpec

if TYPE_CHECKING:
    from autorec_kernel.contracts.models import ModelBlock
    from autorec_kernel.features import FeatureSet
    from autorec_kernel.kernel import Kernel

__all__ = ["solve_blocks"]


def solve_blocks(
    architecture: Architecture, features: FeatureSet, kernel: Kernel, *, seed: np.random.SeedSequence, cache: Path | None = None
) -> dict[str, Mapping[str, np.ndarray]]:
    """Return node id → arrays of the blocks with a closed form.

    Args:
        cache: Folder that keeps results by digest of (block, config, inputs, feature set), so that models that differ elsewhere
            (a decay, a loss) solve once; None = no cache.
    """
    blocks = make_blocks(architecture, kernel)
    specs = infer_specs(architecture, features.schema, blocks)
    found = {}
    for node in architecture.nodes:
        block = None if node.is_source else blocks[node.id]
        if isinstance(block, SolvingBlock):
            adapted = _adapted(node, block, specs)
            path = cache / f"solve-{_digest(node, adapted, features.digest)}" if cache else None
            found[node.id] = _load(path) or _solve(block, adapted, features, seed, path)
    return found


def _adapted(node: Node, block: ModelBlock, specs: Mapping[str, TensorSpec]) -> list[TensorSpec]:
    ports = accepted_ports(block, len(node.inputs), node.id)
    return [adapt_spec(specs[name], port) for name, port in zip(node.inputs, ports, strict=True)]


def _solve(
    block: SolvingBlock, specs: list[TensorSpec], features: FeatureSet, seed: np.random.SeedSequence, path: Path | None
) -> Mapping[str, np.ndarray]:
    available: dict[str, Any] = {"interactions": features.interactions}
    arrays = block.solve(specs, {name: available[name] for name in block.arrays}, np.random.default_rng(seed))
    if path is not None:
        _store(path, arrays)
    return arrays


def _digest(node: Node, specs: list[TensorSpec], data: str) -> str:
    shown = json.dumps([node.block, dict(node.config), [str(spec) for spec in specs], data], sort_keys=True, default=list)
    return hashlib.sha256(shown.encode()).hexdigest()[:16]


def _store(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    path.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        with (path / f".{name}.npy").open("wb") as file:
            np.save(file, array, allow_pickle=False)
        (path / f".{name}.npy").replace(path / f"{name}.npy")
    atomic_write(path / "names.json", json.dumps(sorted(arrays)).encode())


def _load(path: Path | None) -> dict[str, np.ndarray] | None:
    if path is None or not (path / "names.json").exists():
        return None
    names = json.loads((path / "names.json").read_text())
    return {name: np.load(path / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in names}
