"""Losses between a student and a teacher's list of best items: scores by value, by share, by order, and vectors by their angles."""

from __future__ import annotations

from typing import Literal

import torch
from torch.nn import functional

__all__ = ["Agreement", "agreement", "alike"]

Agreement = Literal["listwise", "pointwise", "pairwise"]
_NEVER = -1e9


def agreement(
    kind: Agreement, own: torch.Tensor, others: torch.Tensor, taught: torch.Tensor, rest: torch.Tensor, mask: torch.Tensor, left: int
) -> torch.Tensor:
    """Return float32 [], how far a student's lists are from a teacher's, mean over lists.

    Args:
        kind: `listwise`: cross-entropy of the teacher's softmax over the list and over all other items together, for which the
            student's scores of a sample stand (Hinton et al. 2015, section 2; the top of a list as in RankDistil, Reddi et al. 2021).
            `pointwise`: squared difference of scores, each list's own mean taken off (Ba and Caruana 2014, section 2.2).
            `pairwise`: cross-entropy of which of two neighbours comes first, with the chance that the teacher gives it (Burges et al.
            2005, equation 3); how far apart neighbours are is drawn anew each time, and the last of a list comes before a sampled item.
        own: float32 [R, k], the student's scores of the list, over its temperature.
        others: float32 [R, S], its scores of sampled items, -inf where one is in the list.
        taught: float32 [R, k], the teacher's scores, over its temperature.
        rest: float32 [R], log of the sum of exp of its scores of all other items.
        mask: bool [R, k], where the list has an item.
        left: Items that are not in the list.
    """
    if kind == "listwise":
        return _shares(own.masked_fill(~mask, _NEVER), others, taught.masked_fill(~mask, _NEVER), rest, left)
    if kind == "pointwise":
        return _values(own, taught, mask.to(own.dtype))
    return _orders(own, others, taught, mask)


def alike(own: torch.Tensor, taught: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return float32 [], how differently two models see the items of a list: mean squared difference of the cosines of their vectors.

    Vectors of different widths can be compared so without a projection (Tung and Mori 2019, equation 4, with unit vectors).

    Args:
        own: float32 [R, k, D], the student's item vectors.
        taught: float32 [R, k, T], the teacher's.
        mask: bool [R, k], where the list has an item.
    """
    first, second = (functional.normalize(vectors, dim=2) for vectors in (own, taught))
    both = (mask.unsqueeze(1) & mask.unsqueeze(2)).to(own.dtype)
    apart = (first @ first.transpose(1, 2) - second @ second.transpose(1, 2)).square()
    return (apart * both).sum() / both.sum().clamp(min=1.0)


def _shares(own: torch.Tensor, others: torch.Tensor, taught: torch.Tensor, rest: torch.Tensor, left: int) -> torch.Tensor:
    """A sampled item stands for (items left over) / (items sampled) of them."""
    sampled = torch.isfinite(others).sum(1).clamp(min=1)
    below = torch.logsumexp(others.clamp(min=_NEVER), 1) + torch.log(left / sampled)
    wanted = torch.softmax(torch.cat([taught, rest.unsqueeze(1)], 1), 1)
    return -(wanted * torch.log_softmax(torch.cat([own, below.unsqueeze(1)], 1), 1)).sum(1).mean()


def _values(own: torch.Tensor, taught: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    count = mask.sum(1, keepdim=True).clamp(min=1.0)
    off = [(scores * mask - (scores * mask).sum(1, keepdim=True) / count) * mask for scores in (own, taught)]
    return ((off[0] - off[1]).square().sum(1) / count[:, 0]).mean()


def _orders(own: torch.Tensor, others: torch.Tensor, taught: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    apart = int(torch.randint(1, own.shape[1], ()))
    first, second = slice(None, -apart), slice(apart, None)
    both = (mask[:, first] & mask[:, second]).to(own.dtype)
    chance = torch.sigmoid(taught[:, first] - taught[:, second])
    lost = functional.binary_cross_entropy_with_logits(own[:, first] - own[:, second], chance, reduction="none")
    last = own.gather(1, (mask.sum(1, keepdim=True) - 1).clamp(min=0))
    below = functional.softplus(others[:, : own.shape[1]].clamp(min=_NEVER) - last).mean()
    return (lost * both).sum() / both.sum().clamp(min=1.0) + below
