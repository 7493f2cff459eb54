"""Cross-entropy of several chosen items a row under one softmax over many items, the gradient computed on the way."""

from __future__ import annotations

from typing import Any

import torch

from autorec_kernel.models import linear

__all__ = ["bag_cross_entropy"]

_ROWS = 256  # rows scored at a time


def bag_cross_entropy(
    vectors: torch.Tensor, items: torch.Tensor, wanted: torch.Tensor, counts: torch.Tensor, shares: torch.Tensor
) -> torch.Tensor:
    """Return Σ_a shares[a] · Σ_(p of row a) -log softmax(vectors[a] · items)[wanted[p]] over the items 1 to N - 1.

    The multinomial likelihood of Liang et al. (2018, equation 2). With n items a row, the gradient of its scores is
    shares · (n · softmax - how often each item was chosen), computed block by block while the scores are at hand.

    Args:
        vectors: float32 [A, D].
        items: float32 [N, D]; row 0 = unknown takes no part.
        wanted: int64 [P], item rows >= 1, those of row 0 first, then those of row 1, and so on.
        counts: int64 [A], how many of them each row has.
        shares: float32 [A], weight of each row.

    Returns:
        float32 []. A probability below 1e-38 counts as 1e-38.
    """
    loss: torch.Tensor = _BagCrossEntropy.apply(vectors, items, wanted, counts, shares)  # type: ignore[no-untyped-call]
    return loss


class _BagCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, vectors: torch.Tensor, items: torch.Tensor, wanted: torch.Tensor, counts: torch.Tensor, shares: torch.Tensor
    ) -> torch.Tensor:
        with torch.autocast(vectors.device.type, enabled=False), torch.enable_grad():  # `linear` is quick where gradients are wanted
            loss, by_vectors, by_items = _blocks(vectors.detach().float(), items.detach().float(), wanted, counts, shares)
        ctx.save_for_backward(by_vectors, by_items)
        return loss

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        by_vectors, by_items = ctx.saved_tensors
        return by_vectors * grads[0], by_items * grads[0], None, None, None


def _blocks(
    vectors: torch.Tensor, items: torch.Tensor, wanted: torch.Tensor, counts: torch.Tensor, shares: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    total, ends, size = vectors.new_zeros(()), counts.cumsum(0).tolist(), len(items)
    by_vectors, by_items = torch.zeros_like(vectors), torch.zeros_like(items)
    for start in range(0, len(vectors), _ROWS):
        part, share, count = (one[start : start + _ROWS] for one in (vectors, shares, counts))
        chosen = wanted[ends[start - 1] if start else 0 : ends[start + len(part) - 1]]
        rows = torch.repeat_interleave(count)
        scores = linear(part, items)
        scores[:, 0] = -torch.inf
        likely = torch.softmax(scores, 1)
        cells = likely.view(-1)
        places, weight = rows * size + chosen, share[rows]
        total -= (cells[places].clamp(min=1e-38).log() * weight).sum()
        likely *= (share * count).unsqueeze(1)
        cells.index_add_(0, places, weight, alpha=-1.0)
        by_vectors[start : start + _ROWS] = linear(likely, items.T)
        by_items += linear(likely.T, part.T)
    return total, by_vectors, by_items
