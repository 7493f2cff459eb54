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
    known = ~torch.isnan(labels)
    targets = torch.where(known, labels, torch.zeros_like(labels))
    if link == "value":
        each = (predictions - targets) ** 2
    elif link == "logit":
        each = functional.binary_cross_entropy_with_logits(predictions, targets, reduction="none")
    else:
        each = functional.binary_cross_entropy(predictions.clamp(1e-7, 1 - 1e-7), targets, reduction="none")
    return (each * known).sum() / known.sum().clamp(min=1)
