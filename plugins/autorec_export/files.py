"""Small files of an export: JSON for people, arrays, and the lists of ids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from autorec_kernel.records.bundle import write_array
from autorec_kernel.records.vocabulary import Vocabulary

__all__ = ["ids_of", "put", "put_array", "put_json"]


def put(path: Path, data: bytes | str) -> None:
    """Write a file, its folder made where it lacks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode("utf-8"))


def put_json(path: Path, value: Any) -> None:
    """Write strict JSON: lists of ids on one line, everything else indented."""
    plain = isinstance(value, list)
    put(path, json.dumps(value, indent=None if plain else 2, ensure_ascii=True, allow_nan=False) + "\n")


def put_array(path: Path, array: np.ndarray) -> None:
    """Write a plain `.npy` file."""
    put(path, write_array(np.asarray(array)))


def ids_of(vocabulary: Vocabulary) -> list[str | None]:
    """Return the id of every row; row 0, the unknown one, has none."""
    return [None, *vocabulary.ids_of(np.arange(1, vocabulary.size))]
