"""The tables of a parent: read from the weights that its trial left, as long as the run keeps them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file

from autorec_kernel.contracts.evaluator import EvaluationContext, Rung
from autorec_kernel.files import atomic_write
from autorec_kernel.models import Network

__all__ = ["Parent", "note_tables", "ranges_of", "tables_of_parent"]

Ranges = Mapping[str, tuple[int, int]]  # "width:vocabulary" -> first row and rows in the store of that width


@dataclass(frozen=True, slots=True)
class Parent:
    """What a parent gives: its tables, and the epochs that are in them."""

    tables: Mapping[str, torch.Tensor]
    epochs: int


def ranges_of(network: Network) -> dict[str, tuple[int, int]]:
    """Return where the tables of a network lie in its stores; tagged ones mean something else, and are left out."""
    stores = network.embedding_stores()
    return {f"{one.weight.shape[1]}:{name}": rows for one in stores for name, rows in one.ranges.items() if "#" not in name}


def note_tables(ranges: Ranges, weights: str, epochs: int, rung: Rung, context: EvaluationContext) -> str:
    """Write down beside the weights of a trial where its tables are, and how many epochs made them; return the file's name."""
    name = f"tables-{context.trial}-{rung.index}.json"
    told = {"weights": weights, "epochs": epochs, "ranges": {key: list(rows) for key, rows in ranges.items()}}
    atomic_write(context.folder / name, json.dumps(told, sort_keys=True).encode())
    return name


def tables_of_parent(context: EvaluationContext) -> Parent | None:
    """Return the tables of the parent's highest rung; None where its weights are not kept.

    The weights that a run keeps follow from its finished trials alone (`Keeper`), so that a run that goes on or is replayed finds the
    same ones; a trial says what it inherited, so that files lost by another hand show as a difference.
    """
    notes = sorted(context.folder.glob(f"tables-{context.parent}-*.json"), key=_rung, reverse=True)
    for path in notes:
        told = json.loads(path.read_bytes())
        weights = context.folder / str(told["weights"])
        if weights.is_file():
            state = load_file(weights)
            tables = {key: _rows(state, key, *rows) for key, rows in told["ranges"].items()}
            return Parent(tables, int(told["epochs"]))
    return None


def _rung(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])


def _rows(state: Mapping[str, torch.Tensor], key: str, first: int, count: int) -> torch.Tensor:
    return state[f"stores.{key.partition(':')[0]}.weight"][first : first + count]
