"""Losses that normalise over items: the catalogue, a shared sample, or the other rows of the batch; port LOSS, training only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import nn

from autorec_blocks.bag_entropy import bag_cross_entropy
from autorec_blocks.base import Block
from autorec_blocks.cross_entropy import catalogue_cross_entropy, sampled_cross_entropy
from autorec_blocks.tables import rows_of
from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Port, TensorSpec
from autorec_kernel.space import Float

__all__ = ["InBatchSoftmaxLoss", "MultinomialLoss", "SampledSoftmaxLoss", "SoftmaxLoss"]

Steps = tuple[torch.Tensor, torch.Tensor]
_Temperature = Annotated[float, Float(0.05, 1.0, log=True), Field(gt=0)]


class SoftmaxLoss(Block):
    """Cross-entropy of the chosen item against the whole catalogue, at every real step of a sequence.

    Smoothing gives every item the same small share of the wanted distribution (Szegedy et al. 2016, section 7).
    """

    class Config(ComponentConfig):
        """Options."""

        temperature: _Temperature = Field(1.0, description="Scores are divided by it.")
        smoothing: float = Field(0.0, ge=0, lt=1, description="Share of the wanted distribution that all items have alike.")

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
        return _Softmax(self.config.temperature, self.config.smoothing)


class _Softmax(nn.Module):
    def __init__(self, temperature: float, smoothing: float) -> None:
        super().__init__()
        self.temperature, self.smoothing = temperature, smoothing

    def forward(self, states: Steps, items: torch.Tensor, targets: Steps) -> torch.Tensor:
        rows, wanted = real_steps(states, targets)
        return catalogue_cross_entropy(rows / self.temperature, items, wanted, self.smoothing)


class SampledSoftmaxLoss(Block):
    """Cross-entropy of the chosen item against negatives shared by the batch, corrected so that it estimates the full softmax.

    The chosen item is there with certainty and item j K·q_j times on average, so negatives are lowered by log(K·q_j) (Bengio and Senécal
    2008): q is 1/N for uniform draws, and the share of count^power where a table of log(1 + count) is given as fifth input. A negative
    that equals the chosen item is left out, and row 0 is no item.
    """

    class Config(ComponentConfig):
        """Options."""

        temperature: _Temperature = Field(1.0, description="Scores are divided by it.")
        correct: bool = Field(True, description="Whether negatives are lowered by log(K·q).")
        power: float = Field(1.0, ge=0, description="Exponent of the counts that negatives were drawn by.")

    accepts: ClassVar[tuple[Port, ...]] = ("sequence", "sequence", "table", "table")
    variadic: ClassVar[bool] = True
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a loss.

        Raises:
            ContractError: The widths differ, targets and negatives are not item rows, or the counts are no table of numbers.
        """
        if specs[0].width != specs[2].width or not (specs[1].index and specs[3].index):
            raise ContractError("sampled softmax takes states, targets as item rows, an item table as wide, and negatives as item rows")
        if len(specs) > 5 or any(spec.index or spec.neighbours for spec in specs[4:]):
            raise ContractError("sampled softmax takes at most one table more: log(1 + count) of each item (blocks/item-counts)")
        return TensorSpec("loss")

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: states [A, L, D], targets int64 [A, L], items [N, D], negatives int64 [K] and counts [N, ≥ 1] to []."""
        return _SampledSoftmax(self.config)


class _SampledSoftmax(nn.Module):
    def __init__(self, config: SampledSoftmaxLoss.Config) -> None:
        super().__init__()
        self.temperature, self.correct, self.power = config.temperature, config.correct, config.power

    def forward(self, states: Steps, targets: Steps, items: torch.Tensor, negatives: torch.Tensor, *counts: torch.Tensor) -> torch.Tensor:
        rows, wanted = real_steps(states, targets)
        chosen, others = rows_of(items, wanted), rows_of(items, negatives)
        shift = self._shift(items, negatives, counts) if self.correct else items.new_zeros(len(negatives))
        return sampled_cross_entropy(rows / self.temperature, chosen, others, shift, wanted, negatives)

    def _shift(self, items: torch.Tensor, negatives: torch.Tensor, counts: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Return float32 [K], -log(K·q) of each negative."""
        if not counts:
            return items.new_full((len(negatives),), math.log((len(items) - 1) / len(negatives)))
        drawn = torch.expm1(counts[0].detach()[1:, 0]).clamp(min=1.0).pow(self.power)
        return (drawn.sum() / len(negatives)).log() - drawn.log()[(negatives - 1).clamp(min=0)]


class InBatchSoftmaxLoss(Block):
    """Cross-entropy of each row's own item against the items of the other rows.

    Items come into a batch as often as they are chosen, so each score is lowered by log q, q = the item's share of the training events
    (Yi et al. 2019, equations 3 and 5). Another row's equal item is no negative; a row whose item is unknown (0) teaches nothing.
    The counts are log(1 + count), as `item-counts` yields them.
    """

    class Config(ComponentConfig):
        """Options."""

        temperature: _Temperature = Field(1.0, description="Scores are divided by it.")
        correct: bool = Field(True, description="Whether scores are lowered by log q.")

    accepts: ClassVar[tuple[Port, ...]] = ("vector", "vector", "vector", "table")
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a loss.

        Raises:
            ContractError: Users and items differ in width, the targets are not item rows, or the counts are no table of numbers.
        """
        widths = (specs[0].width, specs[1].width)
        if widths[0] != widths[1] or specs[0].index or specs[1].index or not specs[2].index:
            raise ContractError(f"in-batch softmax takes users and items of one width ({widths}) and the items' rows")
        if specs[3].index or specs[3].neighbours:
            raise ContractError("in-batch softmax takes log(1 + count) of each item in the first column of a table (blocks/item-counts)")
        return TensorSpec("loss")

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: users [A, D], items [A, D], item rows int64 [A], counts [N, ≥ 1] to []."""
        return _InBatchSoftmax(self.config.temperature, self.config.correct)


class _InBatchSoftmax(nn.Module):
    def __init__(self, temperature: float, correct: bool) -> None:
        super().__init__()
        self.temperature, self.correct = temperature, correct

    def forward(self, users: torch.Tensor, items: torch.Tensor, rows: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        scores = users @ items.T / self.temperature
        if self.correct:
            chosen = torch.expm1(counts.detach()[:, 0]).clamp(min=1.0)  # an item is in the batch because it was chosen
            scores = scores - (chosen / chosen.sum()).log()[rows].unsqueeze(0)
        own = torch.eye(len(rows), dtype=torch.bool, device=rows.device)
        scores = scores.masked_fill((rows.unsqueeze(0) == rows.unsqueeze(1)) & ~own | (rows == 0).unsqueeze(0) & ~own, -1e9)
        losses = torch.logsumexp(scores, 1) - scores.diagonal()
        real = (rows != 0).to(losses.dtype)
        return (losses * real).sum() / real.sum().clamp(min=1.0)


class MultinomialLoss(Block):
    """Minus the log-likelihood of all chosen items under one softmax over the catalogue, summed a row, mean over rows.

    Σ_i x_ui log π_i(u) of Liang et al. (2018, equation 2); an item that was chosen twice counts twice.
    """

    class Config(ComponentConfig):
        """Options."""

        mean: bool = Field(False, description="Whether a row's sum is divided by its number of items.")

    accepts: ClassVar[tuple[Port, ...]] = ("vector", "table", "sequence")
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a loss.

        Raises:
            ContractError: Vectors and items differ in width, or the targets are not item rows.
        """
        if specs[0].width != specs[1].width or specs[0].index or specs[1].index or not specs[2].index:
            widths = f"{specs[0].width}, {specs[1].width}"
            raise ContractError(f"the multinomial loss takes vectors and an item table of one width ({widths}) and targets as item rows")
        return TensorSpec("loss")

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: vectors [A, D], items [N, D], targets int64 [A, L] to []."""
        return _Multinomial(self.config.mean)


class _Multinomial(nn.Module):
    def __init__(self, mean: bool) -> None:
        super().__init__()
        self.mean = mean

    def forward(self, vectors: torch.Tensor, items: torch.Tensor, targets: Steps) -> torch.Tensor:
        wanted, mask = targets
        rows, steps = (mask & (wanted != 0)).nonzero(as_tuple=True)
        counts = torch.bincount(rows, minlength=len(vectors))
        shares = torch.ones_like(counts, dtype=torch.float32) / max(1, len(vectors))
        return bag_cross_entropy(vectors, items, wanted[rows, steps], counts, shares / counts.clamp(min=1) if self.mean else shares)


def real_steps(states: Steps, targets: Steps) -> tuple[torch.Tensor, torch.Tensor]:
    """Return float32 [P, D] and int64 [P], the states and targets of the steps that have both."""
    keep = (targets[1] & states[1]).flatten().nonzero()[:, 0]
    return states[0].flatten(0, 1).index_select(0, keep), targets[0].flatten().index_select(0, keep)
