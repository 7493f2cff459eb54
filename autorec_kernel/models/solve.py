"""Closed forms: run the `solve` of every block that has one, once for each (block, data), with a cache on disk."""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock

from autorec_kernel.contracts.models import SolvingBlock
from autorec_kernel.errors import ContractError
from autorec_kernel.features.stacked import fit_part
from autorec_kernel.files import atomic_write
from autorec_kernel.models.specs import adapted_specs, infer_specs, make_blocks
from autorec_kernel.models.stacking import EARLIER, solved_twice
from autorec_kernel.records.architecture import Architecture, Node, TensorSpec

if TYPE_CHECKING:
    from autorec_kernel.features import FeatureSet
    from autorec_kernel.kernel import Kernel

__all__ = ["solve_blocks"]

_DIGESTS = "digests.json"

_log = logging.getLogger(__name__)


def solve_blocks(
    architecture: Architecture, features: FeatureSet, kernel: Kernel, *, seed: np.random.SeedSequence, cache: Path | None = None
) -> dict[str, Mapping[str, np.ndarray]]:
    """Return node id → arrays of the blocks with a closed form; `id@fit` → those of one that is solved twice, on the `fit` part.

    Args:
        seed: Its entropy (the run's seed, not the trial's number) and the digest below are all that a block's randomness depends on, so
            that every trial of a run that needs a closed form gets the same one.
        cache: Folder that keeps results by digest of (block, config, inputs, feature set, seed), so that models that differ elsewhere
            (a decay, a loss) solve once; None = no cache. What is damaged there is solved again.

    Raises:
        ContractError: A block asks for an array that does not exist.
    """
    blocks = make_blocks(architecture, kernel)
    specs = infer_specs(architecture, features.schema, blocks)
    again = solved_twice(architecture, blocks)
    earlier = fit_part(features) if again else features
    found = {}
    for node in architecture.nodes:
        block = None if node.is_source else blocks[node.id]
        if isinstance(block, SolvingBlock):
            adapted = adapted_specs(node, block, specs)
            found[node.id] = _solved(block, node, adapted, features, seed, cache)
            if node.id in again:
                found[f"{node.id}{EARLIER}"] = _solved(block, node, adapted, earlier, seed, cache)
    return found


def _solved(
    block: SolvingBlock, node: Node, specs: list[TensorSpec], features: FeatureSet, seed: np.random.SeedSequence, cache: Path | None
) -> Mapping[str, np.ndarray]:
    digest = _digest(node, specs, features.digest, seed)
    path = cache / f"solve-{digest}" if cache and features.digest else None
    with _turn(path):
        return _load(path) or _solve(block, node, specs, features, digest, path)


@contextmanager
def _turn(path: Path | None) -> Iterator[None]:
    """Let one process at a time work on a result; the others find it ready. The lock of a killed process is free again."""
    if path is None:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        yield


def _solve(
    block: SolvingBlock, node: Node, specs: list[TensorSpec], features: FeatureSet, digest: str, path: Path | None
) -> Mapping[str, np.ndarray]:
    available: dict[str, Any] = {"interactions": features.interactions}
    unknown = [name for name in block.arrays if name not in available]
    if unknown:
        raise ContractError(f"block {node.block!r} reads the arrays {unknown}; there are {sorted(available)}")
    arrays = block.solve(specs, {name: available[name] for name in block.arrays}, np.random.default_rng(int(digest, 16)))
    if path is not None:
        _store(path, arrays)
    return arrays


def _digest(node: Node, specs: list[TensorSpec], data: str, seed: np.random.SeedSequence) -> str:
    parts = [node.block, dict(node.config), [str(spec) for spec in specs], data, str(seed.entropy)]
    shown = json.dumps(parts, sort_keys=True, default=list)
    return hashlib.sha256(shown.encode()).hexdigest()[:16]


def _store(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write the arrays, then their digests: a reader that meets half of it finds no digests, or digests that do not fit."""
    path.mkdir(parents=True, exist_ok=True)
    digests = {}
    for name, array in arrays.items():
        file = io.BytesIO()
        np.save(file, array, allow_pickle=False)
        digests[name] = hashlib.sha256(file.getbuffer()).hexdigest()
        atomic_write(path / f"{name}.npy", file.getvalue())
    atomic_write(path / _DIGESTS, json.dumps(digests, sort_keys=True).encode())


def _load(path: Path | None) -> dict[str, np.ndarray] | None:
    if path is None or not (path / _DIGESTS).exists():
        return None
    try:
        digests = dict(json.loads((path / _DIGESTS).read_bytes()))
        return {name: _read(path / f"{name}.npy", digest) for name, digest in digests.items()}
    except (OSError, TypeError, ValueError) as error:
        _log.warning("the cached solution %s is damaged and is solved again: %s", path.name, error)
        return None


def _read(path: Path, digest: str) -> np.ndarray:
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != digest:
        raise ValueError(f"{path.name} is not what was written")
    array: np.ndarray = np.load(io.BytesIO(data), allow_pickle=False)
    return array
