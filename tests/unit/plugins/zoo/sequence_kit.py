"""What the tests of models that read histories share."""

from __future__ import annotations

import torch

__all__ = ["histories"]


def histories(*rows: tuple[int, ...] | list[int]) -> torch.Tensor:
    """Return int64 [rows, longest], right-padded with 0."""
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows])
