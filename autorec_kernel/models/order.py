"""The order in which an epoch visits rows: one permutation or, where rows are very many, shuffled blocks of neighbours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

__all__ = ["at_once", "shuffled", "stretches_of"]

_WHOLE = 1 << 20  # rows permuted at once; more lie on disk, and one random read a row would be too slow and one index a row too large
_BYTES = 1 << 28  # of stored rows permuted at once
_BLOCK, _POOL = 1 << 11, 32  # neighbouring rows read together, and how many such blocks are mixed
_HELD = 1 << 26  # bytes that the mixed rows may have


def at_once(count: int, row_bytes: int = 0) -> bool:
    """Return whether so many rows of so many stored bytes are one permutation."""
    return count <= _WHOLE and count * row_bytes <= _BYTES


def shuffled(count: int, rng: np.random.Generator, row_bytes: int = 0) -> Iterator[np.ndarray]:
    """Return parts of a random order of 0 … count - 1, int64 each.

    Up to a million rows and 256 MiB are one permutation. More are cut into blocks of neighbours, the blocks permuted, and 32 of them at a
    time mixed row by row: rows of different parts of the file meet in a batch, while each read is one stretch of the file. A block has
    2,048 rows, or fewer where those of 32 blocks would take more than 64 MiB.

    Args:
        row_bytes: What a row takes in the file.
    """
    if at_once(count, row_bytes):
        return iter((rng.permutation(count),))
    return _mixed(count, rng, max(1, min(_BLOCK, _HELD // (_POOL * max(1, row_bytes)))))


def _mixed(count: int, rng: np.random.Generator, block: int) -> Iterator[np.ndarray]:
    blocks = rng.permutation(-(-count // block))
    for at in range(0, len(blocks), _POOL):
        chosen = np.sort(blocks[at : at + _POOL])
        rows = (chosen[:, None] * block + np.arange(block)).reshape(-1)
        yield rng.permutation(rows[rows < count])


def stretches_of(parts: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Return the parts of an order again, cut so that each but the last is made of whole batches of `size`."""
    rest = np.zeros(0, np.int64)
    for part in parts:
        rows = np.concatenate([rest, part]) if len(rest) else part
        full = len(rows) // size * size
        if full:
            yield rows[:full]
        rest = rows[full:]
    if len(rest):
        yield rest
