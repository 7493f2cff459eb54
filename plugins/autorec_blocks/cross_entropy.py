"""Cross-entropy over many items in blocks that stay in the processor's cache, the gradient computed on the way."""

from __future__ import annotations

from typing import Any

import torch

from autorec_kernel.models import linear

__all__ = ["catalogue_cross_entropy", "sampled_cross_entropy"]

_CELLS = 1 << 19  # scores held at a time: 2 MiB


def catalogue_cross_entropy(rows: torch.Tensor, items: torch.Tensor, wanted: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
    """Return the mean of -log softmax(rows · items)[wanted] over the items 1 to N - 1.

    The P x N matrix of scores is never whole in memory: each block of rows is scored, turned into probabilities p and at once into its
    share of the gradient, p - wanted. That is three matrix products, and a third of the time of storing the scores and reading them back.

    Args:
        rows: float32 [P, D].
        items: float32 [N, D]; row 0 = unknown takes no part.
        wanted: int64 [P], item rows >= 1.
        smoothing: Share of the wanted distribution that all items have alike.

    Returns:
        float32 []; 0 for no rows. A probability below 1e-38 counts as 1e-38.
    """
    loss: torch.Tensor = _CrossEntropy.apply(rows, items, wanted, smoothing)  # type: ignore[no-untyped-call]
    return loss


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, items: torch.Tensor, wanted: torch.Tensor, smoothing: float) -> torch.Tensor:
        with torch.autocast(rows.device.type, enabled=False), torch.enable_grad():  # `linear` is quick where gradients are wanted
            loss, by_rows, by_items = _blocks(rows.detach().float(), items.detach().float(), wanted, smoothing)
        ctx.save_for_backward(by_rows, by_items)
        return loss

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        by_rows, by_items = ctx.saved_tensors
        return by_rows * grads[0], by_items * grads[0], None, None


def _blocks(
    rows: torch.Tensor, items: torch.Tensor, wanted: torch.Tensor, smoothing: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    count, step = max(1, len(rows)), max(1, _CELLS // len(items))
    total = rows.new_zeros(())
    by_rows, by_items = torch.zeros_like(rows), torch.zeros_like(items)
    even = smoothing / max(1, len(items) - 1)  # share of every item
    for start in range(0, len(rows), step):
        part, chosen = rows[start : start + step], wanted[start : start + step].unsqueeze(1)
        scores = linear(part, items)
        scores[:, 0] = -torch.inf
        shares = torch.softmax(scores, 1)
        logs = shares.gather(1, chosen).clamp(min=1e-38).log()
        total -= (1 - smoothing) * logs.sum()
        if smoothing:
            lifted = scores.gather(1, chosen) - logs  # log of the normaliser
            total -= even * (scores[:, 1:] - lifted).sum()
            shares[:, 1:] -= even
        shares.scatter_add_(1, chosen, torch.full_like(logs, smoothing - 1.0))
        by_rows[start : start + step] = linear(shares, items.T) / count
        by_items.addmm_(shares.T, part, alpha=1 / count)
    return total / count, by_rows, by_items


def sampled_cross_entropy(
    rows: torch.Tensor, chosen: torch.Tensor, others: torch.Tensor, shift: torch.Tensor, wanted: torch.Tensor, drawn: torch.Tensor
) -> torch.Tensor:
    """Return the mean of -log softmax over (rows · chosen, rows · others + shift) at the chosen item.

    A drawn item that is the wanted one is left out.

    Args:
        rows, chosen: float32 [P, D], states and the vectors of their items.
        others: float32 [K, D], vectors of the drawn items.
        shift: float32 [K], added to their scores.
        wanted: int64 [P], rows of the chosen items.
        drawn: int64 [K], rows of the drawn items.

    Returns:
        float32 []; 0 for no rows.
    """
    loss: torch.Tensor = _SampledCrossEntropy.apply(rows, chosen, others, shift, wanted, drawn)  # type: ignore[no-untyped-call]
    return loss


class _SampledCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        rows: torch.Tensor,
        chosen: torch.Tensor,
        others: torch.Tensor,
        shift: torch.Tensor,
        wanted: torch.Tensor,
        drawn: torch.Tensor,
    ) -> torch.Tensor:
        with torch.autocast(rows.device.type, enabled=False), torch.enable_grad():
            plain = [part.detach().float() for part in (rows, chosen, others, shift)]
            loss, *grads = _sampled_blocks(plain[0], plain[1], plain[2], plain[3], wanted, drawn)
        ctx.save_for_backward(*grads)
        return loss

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return (*(part * grads[0] for part in ctx.saved_tensors), None, None, None)


def _sampled_blocks(
    rows: torch.Tensor, chosen: torch.Tensor, others: torch.Tensor, shift: torch.Tensor, wanted: torch.Tensor, drawn: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    count, step = max(1, len(rows)), max(1, _CELLS // (len(others) + 1))
    total, own = rows.new_zeros(()), (rows * chosen).sum(1, keepdim=True)
    by_rows, by_chosen, by_others = torch.zeros_like(rows), torch.zeros_like(chosen), torch.zeros_like(others)
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        scores = torch.cat([own[part], linear(rows[part], others, shift)], 1)
        clashing = torch.isin(wanted[part], drawn).nonzero()[:, 0]
        if len(clashing):
            hidden = wanted[part][clashing].unsqueeze(1) == drawn
            scores[clashing, 1:] = scores[clashing, 1:].masked_fill(hidden, -torch.inf)
        shares = torch.softmax(scores, 1)
        total -= shares[:, 0].clamp(min=1e-38).log().sum()
        missing, rest = shares[:, :1] - 1, shares[:, 1:]
        by_rows[part] = (linear(rest.contiguous(), others.T) + missing * chosen[part]) / count
        by_chosen[part] = missing * rows[part] / count
        by_others.addmm_(rest.T, rows[part], alpha=1 / count)
    return total / count, by_rows, by_chosen, by_others
