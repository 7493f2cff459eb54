"""The default loss of each link: what a graph without a LOSS node is trained on (DESIGN section 2, rule 1)."""

from __future__ import annotations

import torch
from torch.nn import functional

__all__ = ["pointwise_loss"]


def pointwise_loss(predictions: torch.Tensor, labels: torch.Tensor, link: str) -> torch.Tensor:
    """Return float32 [], the mean negative log-likelihood over rows whose label is known.

    Args:
        predictions: float32 [A]: logits, probabilities or values, as `link` says.
        labels: float32 [A], NaN = unknown.
        link: logit and probability → cross-entropy; value → squared error.
    """
    unknown = torch.isnan(labels)
    # the usual case on the CPU, at a third of the cost; elsewhere asking would make a device wait
    if labels.device.type == "cpu" and not unknown.any():
        return _each(predictions, labels, link, "mean")
    known = ~unknown
    targets = torch.where(known, labels, torch.zeros_like(labels))
    return (_each(predictions, targets, link, "none") * known).sum() / known.sum().clamp(min=1)


def _each(predictions: torch.Tensor, targets: torch.Tensor, link: str, reduction: str) -> torch.Tensor:
    if link == "value":
        return functional.mse_loss(predictions, targets, reduction=reduction)
    if link == "logit":
        return functional.binary_cross_entropy_with_logits(predictions, targets, reduction=reduction)
    # torch bounds the logarithm at -100 itself and lets a gradient through that, times the slope of a sigmoid, stays that of a logit;
    # a bound of ours on the probability would cut it off for the rare events that products of probabilities are about
    return functional.binary_cross_entropy(predictions.clamp(0.0, 1.0), targets, reduction=reduction)
