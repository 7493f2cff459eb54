"""Floating-point operations of the matrix products of some work, by any kernel that the networks of this project reach."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, flop_registry

__all__ = ["count_flops", "counted"]


def count_flops(work: Callable[[], object]) -> int:
    """Do the work and return its floating-point operations: 2 a multiplication of matrix elements, and nothing for what is no product.

    torch's counter knows neither products in place nor oneDNN's, nor attention on the CPU, and takes a sparse matrix for a dense one.
    """
    with FlopCounterMode(display=False, custom_mapping=_further()) as counter:
        work()
    return int(counter.get_total_flops())


def counted() -> set[str]:
    """Return the names of the operators whose operations are counted."""
    return {str(operator).rpartition(".")[2] for operator in (*flop_registry, *_further())}


def _further() -> dict[Any, Callable[..., int]]:
    """Return how to count what torch's counter does not know, as far as this version of torch has it."""
    aten, mkldnn = torch.ops.aten, torch.ops.mkldnn
    named: list[tuple[Any, str, Callable[..., int]]] = [
        (aten, "mm", _times),
        (aten, "mv", _vector),
        (aten, "addmv", _added(_vector)),
        (aten, "addmv_", _added(_vector)),
        (aten, "addmm_", _added(_times)),
        (aten, "baddbmm_", _batched),
        (aten, "dot", _dot),
        (aten, "_scaled_dot_product_flash_attention_for_cpu", _attention),
        (aten, "_scaled_dot_product_flash_attention_for_cpu_backward", _attention_backward),
        (mkldnn, "_linear_pointwise", _linear),
    ]
    return {getattr(home, name): count for home, name, count in named if hasattr(home, name)}


def _raw(count: Callable[..., int]) -> Callable[..., int]:
    """Mark what takes tensors instead of their shapes."""
    count._get_raw = True  # type: ignore[attr-defined]
    return count


@_raw
def _times(left: torch.Tensor, right: torch.Tensor, *_: Any, **__: Any) -> int:
    """[M, K] · [K, N]; of a sparse left one its stored elements count."""
    elements = left.numel() if left.layout == torch.strided else left._nnz()
    return 2 * elements * right.shape[1]


@_raw
def _vector(matrix: torch.Tensor, *_: Any, **__: Any) -> int:
    """[M, K] · [K]."""
    return 2 * (matrix.numel() if matrix.layout == torch.strided else matrix._nnz())


def _added(count: Callable[..., int]) -> Callable[..., int]:
    """Return the count of a product that is added to a first argument."""
    return _raw(lambda total, *factors, **rest: count(*factors, **rest))


def _batched(total: Sequence[int], left: Sequence[int], right: Sequence[int], *_: Any, **__: Any) -> int:
    return 2 * math.prod(left) * right[-1]


def _dot(left: Sequence[int], *_: Any, **__: Any) -> int:
    return 2 * math.prod(left)


def _linear(values: Sequence[int], weight: Sequence[int], *_: Any, **__: Any) -> int:
    return 2 * math.prod(values) * weight[0]


def _attention(query: Sequence[int], key: Sequence[int], value: Sequence[int], *_: Any, **__: Any) -> int:
    """[B, H, L, D]: queries times keys and shares times values; what a causal mask hides is multiplied all the same."""
    return 2 * math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def _attention_backward(gradient: Sequence[int], query: Sequence[int], key: Sequence[int], value: Sequence[int], *_: Any, **__: Any) -> int:
    """Twice the products of the forward pass; that the kernel multiplies queries and keys once more is its own affair."""
    return 2 * _attention(query, key, value)
