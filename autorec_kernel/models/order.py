"""The order in which an epoch visits rows: one permutation or, where rows are very many, shuffled blocks of neighbours."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

__all__ = ["batches_of", "shuffled"]

_WHOLE = 1 << 20  # rows permuted at once; more lie on disk, and one random read a row would be too slow and one index a row too large
_BLOCK, _POOL = 1 << 11, 32  # neighbouring rows read together, and how many such blocks are mixed


def shuffled(count: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Return parts of a random order of 0 … count - 1, int64 each.

    Up to a million rows are one permutation. More are cut into blocks of neighbours, the blocks permuted, and 32 of them at a time
    mixed row by row: rows of different parts of the file meet in a batch, while each read is one stretch of the file.
    """
    return iter((rng.permutation(count),)) if count <= _WHOLE else _mixed(count, rng)


def _mixed(count: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    blocks = rng.permutation(-(-count // _BLOCK))
    for at in range(0, len(blocks), _POOL):
        chosen = np.sort(blocks[at : at + _POOL])
        rows = (chosen[:, None] * _BLOCK + np.arange(_BLOCK)).reshape(-1)
        yield rng.permutation(rows[rows < count])


def batches_of(parts: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Cut the parts of an order into batches of `size`; only the last may be smaller."""
    rest = np.zeros(0, np.int64)
    for part in parts:
        rows = np.concatenate([rest, part]) if len(rest) else part
        full = len(rows) // size * size
        yield from (rows[at : at + size] for at in range(0, full, size))
        rest = rows[full:]
    if len(rest):
        yield rest
