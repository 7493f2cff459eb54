"""Losses as blocks: port LOSS, read in training only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from autorec_blocks.base import Block
from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.models.losses import pointwise_loss
from autorec_kernel.records.architecture import Port, TensorSpec
from autorec_kernel.space import Float

__all__ = ["BprLoss", "PointwiseLoss", "SampledSoftmaxLoss", "SoftmaxLoss"]

Steps = tuple[torch.Tensor, torch.Tensor]


class PointwiseLoss(Block):
    """Mean cross-entropy (logit, probability) or squared error (value) over rows whose label is known."""

    class Config(ComponentConfig):
        """Options."""

        weight: float = Field(1.0, gt=0, description="Factor of this loss in the sum.")

    accepts: ClassVar[tuple[Port, ...]] = ("scores", "vector")
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a loss.

        Raises:
            ContractError: Scores and labels differ in number.
        """
        if max(1, len(specs[0].tasks)) != specs[1].width:
            raise ContractError(f"{len(specs[0].tasks)} scores a row cannot be compared with {specs[1].width} labels")
        return TensorSpec("loss")

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: scores [A, T] and labels [A, T] to []."""
        return _Pointwise(specs[0].link or "logit", self.config.weight)


class _Pointwise(nn.Module):
    def __init__(self, link: str, weight: float) -> None:
        super().__init__()
        self.link, self.weight = link, weight

    def forward(self, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return self.weight * pointwise_loss(scores.flatten(), labels.flatten(), self.link)


class BprLoss(Block):
    """Mean of -log σ(score of the chosen item - score of an item not chosen) (Rendle et al. 2009, section 4)."""

    class Config(ComponentConfig):
        """No options."""

    accepts: ClassVar[tuple[Port, ...]] = ("vector", "vector", "fields")

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a loss.

        Raises:
            ContractError: User, item and negatives differ in width.
        """
        if len({spec.width for spec in specs}) != 1:
            raise ContractError(f"users, items and negatives must have one width, got {[spec.width for spec in specs]}")
        return TensorSpec("loss")

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: users [A, D], items [A, D], negatives [A, K, D] to []."""
        return _Bpr()


class _Bpr(nn.Module):
    def forward(self, users: torch.Tensor, items: torch.Tensor, negatives: torch.Tensor) -> torch.Tensor:
        margin = (users * items).sum(1, keepdim=True) - (users.unsqueeze(1) * negatives).sum(2)
        return functional.softplus(-margin).mean()


class SoftmaxLoss(Block):
    """Cross-entropy of the chosen item against the whole catalogue, at every real step of a sequence."""

    class Config(ComponentConfig):
        """Options."""

        temperature: Annotated[float, Float(0.05, 1.0, log=True)] = Field(1.0, description="Scores are divided by it.")

    accepts: ClassVar[tuple[Port, ...]] = ("sequence", "table", "sequence")
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a loss.

        Raises:
            ContractError: States and items differ in width, or the targets are not item rows.
        """
        if specs[0].width != specs[1].width or not specs[2].index:
            widths = f"{specs[0].width}, {specs[1].width}"
            raise ContractError(f"softmax needs states and items of one width ({widths}) and targets as item rows")
        return TensorSpec("loss")

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: states [A, L, D], items [N, D], targets int64 [A, L] to []."""
        return _Softmax(self.config.temperature)


class _Softmax(nn.Module):
    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, states: Steps, items: torch.Tensor, targets: Steps) -> torch.Tensor:
        rows, wanted = _real(states, targets)
        return functional.cross_entropy(rows @ items[1:].T / self.temperature, wanted - 1)


class SampledSoftmaxLoss(Block):
    """Cross-entropy of the chosen item against negatives shared by the batch; uniform draws need no log-q correction among themselves.

    The chosen item is drawn with certainty and each of the N others K/N times, so negatives are raised by log(N/K) (Bengio and Senécal
    2008): the loss then estimates the full softmax. A negative that equals the chosen item is left out, and row 0 is no item.
    """

    class Config(ComponentConfig):
        """Options."""

        temperature: Annotated[float, Float(0.05, 1.0, log=True)] = Field(1.0, description="Scores are divided by it.")
        correct: bool = Field(True, description="Whether negatives are raised by log(N/K).")

    accepts: ClassVar[tuple[Port, ...]] = ("sequence", "sequence", "table", "table")
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a loss.

        Raises:
            ContractError: The widths differ, or targets and negatives are not item rows.
        """
        if specs[0].width != specs[2].width or not (specs[1].index and specs[3].index):
            raise ContractError("sampled softmax takes states, targets as item rows, an item table as wide, and negatives as item rows")
        return TensorSpec("loss")

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: states [A, L, D], targets int64 [A, L], items [N, D], negatives int64 [K] to []."""
        return _SampledSoftmax(self.config.temperature, self.config.correct)


class _SampledSoftmax(nn.Module):
    def __init__(self, temperature: float, correct: bool) -> None:
        super().__init__()
        self.temperature, self.correct = temperature, correct

    def forward(self, states: Steps, targets: Steps, items: torch.Tensor, negatives: torch.Tensor) -> torch.Tensor:
        rows, wanted = _real(states, targets)
        chosen = (rows * functional.embedding(wanted, items)).sum(1, keepdim=True) / self.temperature
        others = rows @ functional.embedding(negatives, items).T / self.temperature
        if self.correct:
            others = others + float(np.log((items.shape[0] - 1) / negatives.shape[0]))
        others = others.masked_fill(wanted.unsqueeze(1) == negatives.unsqueeze(0), -1e9)
        return (torch.logsumexp(torch.cat([chosen, others], 1), 1) - chosen[:, 0]).mean()


def _real(states: Steps, targets: Steps) -> tuple[torch.Tensor, torch.Tensor]:
    keep = targets[1] & states[1]
    return states[0][keep], targets[0][keep]
