"""Products of all field pairs, gradient by hand: as many passes as there are distances, none of which copies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.autograd.function import once_differentiable

__all__ = ["by_columns", "pair_products"]


def by_columns(fields: torch.Tensor) -> torch.Tensor:
    """Return float32 [F, E, A] of fields [A, F, E]: a copy, unless they are stored so already."""
    return fields.flatten(1).t().contiguous().view(*fields.shape[1:], -1)


def pair_products(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return float32 [F(F-1)/2, E, A], left_i ⊙ right_j for every pair of fields by distance: (0,1), (1,2), …, (F-1,0), (0,2), ….

    Args:
        left: float32 [F, T, E, A], what each field brings into the pairs that it leads, T = F // 2 of them (one fewer for the second half
            of an even number of fields), or [F, 1, E, A], the same into all.
        right: float32 [F, E, A]; with the batch innermost every pass runs over rows that lie side by side. What is stored otherwise
            is answered row by row.
    """
    found: torch.Tensor = _Products.apply(left, right)  # type: ignore[no-untyped-call]
    return found


def _turns(fields: int) -> Iterator[tuple[slice, int, int]]:
    """Yield of each distance the pairs that have it, the distance, and how many fields lead one."""
    first = 0
    for turn in range(1, fields // 2 + 1):
        count = fields // 2 if 2 * turn == fields else fields
        yield slice(first, first + count), turn, count
        first += count


def _doubled(fields: torch.Tensor) -> torch.Tensor:
    """Return [F + F // 2, E, A], the first fields again behind the last ones."""
    found = _stored_as(fields, len(fields) + len(fields) // 2)
    found[: len(fields)], found[len(fields) :] = fields, fields[: len(fields) // 2]
    return found


def _stored_as(fields: torch.Tensor, count: int) -> torch.Tensor:
    """Return an empty [count, E, A]: row by row where the fields are stored so, else with the batch innermost."""
    if fields.stride(2) == 1:
        return fields.new_empty(count, *fields.shape[1:])
    return fields.new_empty(fields.shape[2], count, fields.shape[1]).permute(1, 2, 0)


def _led(left: torch.Tensor, turn: int, count: int) -> torch.Tensor:
    return left[:count, min(turn, left.shape[1]) - 1]


class _Products(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        fields, ring = len(right), _doubled(right)
        found = _stored_as(right, fields * (fields - 1) // 2)
        for pairs, turn, count in _turns(fields):
            torch.mul(_led(left, turn, count), ring[turn : turn + count], out=found[pairs])
        ctx.save_for_backward(left, ring)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        left, ring = ctx.saved_tensors
        fields = len(left)
        of_left, of_ring = torch.zeros_like(left), torch.zeros_like(ring)
        for pairs, turn, count in _turns(fields):
            _led(of_left, turn, count).addcmul_(gradient[pairs], ring[turn : turn + count])
            of_ring[turn : turn + count].addcmul_(gradient[pairs], _led(left, turn, count))
        of_ring[: fields // 2] += of_ring[fields:]
        return of_left, of_ring[:fields]
