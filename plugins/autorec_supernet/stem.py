"""Stems: embedding tables that are learned once and given to many networks."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from autorec_kernel.contracts.evaluator import EvaluationContext, Rung
from autorec_kernel.models import Network
from autorec_kernel.records.model import TrainedModel
from autorec_kernel.search.genes import PIPELINE
from autorec_kernel.space import Genotype
from autorec_supernet.delegate import trainer

__all__ = ["Tables", "give", "learned_stem", "read_tables", "refitted_stem", "stem_genotype", "tables_of"]

Tables = Mapping[str, torch.Tensor]  # "width:vocabulary" -> float32 [rows, width]


def stem_genotype(role: str, blueprint: str, width: int) -> Genotype:
    """Return the candidate whose training is the stem."""
    return Genotype({PIPELINE: role, role: blueprint, f"{blueprint}.embedding_dim": width})


def learned_stem(genotype: Genotype, options: Mapping[str, Any], context: EvaluationContext) -> tuple[dict[str, torch.Tensor], int]:
    """Train the stem in full; return its tables, and its best epoch. No tables where it does not fit the data."""
    with tempfile.TemporaryDirectory() as folder:
        place = replace(context, folder=Path(folder), limits={})
        full = trainer(context.kernel, options)
        found = full.evaluate(genotype, Rung(0, 1.0), place)
        model = full.restore(genotype, found.artefacts, place) if found.status == "complete" else None
        return ({}, 0) if model is None else (tables_of(model.module), int(found.details["best_epoch"]))


def refitted_stem(genotype: Genotype, epochs: int, options: Mapping[str, Any], context: EvaluationContext) -> dict[str, torch.Tensor]:
    """Train the stem for so many epochs on every training row; return its tables."""
    model: TrainedModel = trainer(context.kernel, options).refit(genotype, {"best_epoch": epochs}, context)
    return tables_of(model.module)


def tables_of(network: Network) -> dict[str, torch.Tensor]:
    """Return the tables of a network by width and vocabulary; tagged ones mean something else, and are left out."""
    found = {}
    for store in network.embedding_stores():
        for name in store.ranges:
            if "#" not in name:
                found[f"{store.weight.shape[1]}:{name}"] = store.table(name).detach().clone()
    return found


@torch.no_grad()
def give(network: Network, tables: Tables) -> list[str]:
    """Write tables into a network that is to be trained; return which ones, as `width:vocabulary`.

    A table of the same width is taken as it is. Otherwise the leading columns of the widest one are written into as many leading columns.
    A table of width 1 holds weights, not embeddings: it is taken from width 1, and for width 1, alone.
    """
    given = []
    for store in network.embedding_stores():
        width = store.weight.shape[1]
        for name, (start, size) in store.ranges.items():
            source = _source(tables, name, width, size)
            if source is not None:
                columns = min(width, source.shape[1])
                store.weight[start : start + size, :columns] = source[:, :columns]
                given.append(f"{width}:{name}")
    return sorted(given)


def _source(tables: Tables, name: str, width: int, size: int) -> torch.Tensor | None:
    own = tables.get(f"{width}:{name}")
    wider = [value for key, value in sorted(tables.items()) if key.partition(":")[2] == name and value.shape[1] > 1]
    found = own if own is not None or width == 1 else max(wider, key=lambda value: value.shape[1], default=None)
    return found if found is not None and found.shape[0] == size else None


@lru_cache(maxsize=8)
def read_tables(path: Path) -> Tables:
    """Read tables; the file of a stem has its digest in its name, and is never written twice."""
    return load_file(path)
