"""Full training as these evaluators build on it: found by its id, given weights to start from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors.torch import save

from autorec_kernel.contracts.evaluator import EvaluationContext, Evaluator
from autorec_kernel.errors import AutoRecError
from autorec_kernel.files import atomic_write
from autorec_kernel.kernel import Kernel
from autorec_kernel.models import Entities, Network, build_network, solve_blocks
from autorec_kernel.models.train import SOLVE
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.search.genes import PIPELINE, Candidate, decode
from autorec_kernel.space import Genotype

__all__ = ["Trainer", "fresh", "is_baseline", "learned", "seed_for", "trainer", "write_json", "write_tensors"]

TRAINING = "training/full"


class Trainer(Evaluator, Protocol):
    """What full training lets others decide."""

    begin: Callable[[Network], None] | None
    epochs: int | None


def trainer(kernel: Kernel, options: Mapping[str, Any]) -> Trainer:
    """Return full training with these options."""
    found: Trainer = kernel.create("evaluator", TRAINING, **options)
    return found


def is_baseline(genotype: Genotype, kernel: Kernel) -> bool:
    """Return whether a genotype is a baseline: others are told to be better or worse than it, so its figure is never a cheap one."""
    return "baseline" in kernel.find("blueprint", str(genotype[str(genotype[PIPELINE])])).tags


def learned(genotype: Genotype, schema: FeatureSchema, kernel: Kernel) -> Candidate | None:
    """Return what a genotype means if it learns by gradient; None for a closed form and for what cannot be built."""
    try:
        candidate = decode(genotype, schema, kernel)
        return candidate if build_network(candidate.architecture, candidate.features, kernel).trainable else None
    except AutoRecError:
        return None


def fresh(candidate: Candidate, context: EvaluationContext, seed: int) -> Network:
    """Return an untrained network, its closed forms solved."""
    solving = np.random.SeedSequence(context.seed, spawn_key=(SOLVE,))
    arrays = solve_blocks(candidate.architecture, context.features, context.kernel, seed=solving, cache=context.folder)
    network = build_network(candidate.architecture, candidate.features, context.kernel, arrays, seed)
    return network.attach(Entities(context.features))


def write_json(context: EvaluationContext, name: str, value: Mapping[str, Any]) -> str:
    """Write values to a file that has their digest in its name; return the name."""
    return _write(context.folder, name, "json", json.dumps(value, sort_keys=True, allow_nan=False).encode())


def write_tensors(
    context: EvaluationContext, name: str, tensors: Mapping[str, torch.Tensor], metadata: dict[str, str] | None = None
) -> str:
    """Write tensors to a file that has their digest in its name; return the name.

    Args:
        metadata: At most one entry: several are written in any order, and then equal files have different digests.
    """
    data = save({key: tensors[key].detach().contiguous() for key in sorted(tensors)}, metadata)
    return _write(context.folder, name, "safetensors", data)


def _write(folder: Path, name: str, kind: str, data: bytes) -> str:
    found = f"{name}-{hashlib.sha256(data).hexdigest()[:16]}.{kind}"
    atomic_write(folder / found, data)
    return found


def seed_for(context: EvaluationContext, *stages: int) -> np.random.SeedSequence:
    """Return the randomness of one purpose of the evaluator."""
    return np.random.SeedSequence(context.seed, spawn_key=(context.trial, *stages))
