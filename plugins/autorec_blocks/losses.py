"""Losses of predictions against labels, of distributions and of reconstructions; port LOSS, read in training only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn

from autorec_blocks.base import Block
from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.models.losses import pointwise_loss
from autorec_kernel.records.architecture import Port, TensorSpec
from autorec_kernel.space import Float

__all__ = ["KlLoss", "MaskedMseLoss", "PointwiseLoss"]


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


class KlLoss(Block):
    """Divergence of the normal distributions N(mean, exp(log-variance)) from the standard normal one, mean over rows.

    ½ Σ_d (exp(v_d) + m_d² - 1 - v_d) (Kingma and Welling 2014, appendix B); its weight is the β of Liang et al. (2018, section 2.2.2),
    which may grow linearly from 0 over the first updates as there. The updates so far are saved with the weights.
    """

    class Config(ComponentConfig):
        """Options."""

        weight: Annotated[float, Float(0.01, 1.0, log=True)] = Field(0.2, gt=0, description="Factor of this loss in the sum.")
        anneal_steps: int = Field(0, ge=0, description="Updates over which the factor grows to `weight`; 0 = it is that from the start.")

    accepts: ClassVar[tuple[Port, ...]] = ("vector", "vector")
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a loss.

        Raises:
            ContractError: Means and log-variances differ in width.
        """
        if specs[0].width != specs[1].width or specs[0].index or specs[1].index:
            raise ContractError(f"means of width {specs[0].width} need log-variances of that width, got {specs[1].width}")
        return TensorSpec("loss")

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: means [A, D] and log-variances [A, D] to []."""
        return _Kl(self.config.weight, self.config.anneal_steps)


class _Kl(nn.Module):
    updates: torch.Tensor  # int64 [], training passes so far, where they matter

    def __init__(self, weight: float, anneal_steps: int) -> None:
        super().__init__()
        self.weight, self.anneal_steps = weight, anneal_steps
        if anneal_steps:
            self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    def forward(self, means: torch.Tensor, logs: torch.Tensor) -> torch.Tensor:
        terms = torch.exp(logs.clamp(max=60.0)) + means.square() - 1.0 - logs
        whole = 0.5 * self.weight * terms.sum(1).mean()
        if not (self.anneal_steps and self.training):
            return whole
        self.updates += 1
        return whole * (self.updates / self.anneal_steps).clamp(max=1.0)


class MaskedMseLoss(Block):
    """Squared error on observed entries only (Sedhain et al. 2015, equation 2: the norm over O).

    Those are the entries that are not 0 in a third input (`@interactions` with `observed`), else those whose value is not 0: labels that
    may be 0 need the third input.
    """

    class Config(ComponentConfig):
        """Options."""

        weight: float = Field(1.0, gt=0, description="Factor of this loss in the sum.")
        mean_over: Literal["entries", "rows"] = Field(
            "entries", description="What the sum of squares is divided by: observed entries, or rows (the equation's sum a row)."
        )

    accepts: ClassVar[tuple[Port, ...]] = ("vector", "vector")
    variadic: ClassVar[bool] = True
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a loss.

        Raises:
            ContractError: Predictions and observations differ in width, or there are more than three inputs.
        """
        if len(specs) > 3:
            raise ContractError(
                f"the masked squared error takes predictions, values and a mask of what is observed, got {len(specs)} inputs"
            )
        if len(specs) == 3 and (specs[2].width != specs[1].width or specs[2].index):
            raise ContractError(f"a mask of width {specs[2].width} cannot tell which of {specs[1].width} values are observed")
        if specs[0].width != specs[1].width or specs[0].index or specs[1].index:
            raise ContractError(f"predictions of width {specs[0].width} cannot be compared with observations of width {specs[1].width}")
        return TensorSpec("loss")

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: predictions [A, M], values [A, M] and maybe a mask [A, M], 0 = not observed, to []."""
        return _MaskedMse(self.config.weight, self.config.mean_over == "rows")


class _MaskedMse(nn.Module):
    def __init__(self, weight: float, by_rows: bool) -> None:
        super().__init__()
        self.weight, self.by_rows = weight, by_rows

    def forward(self, predictions: torch.Tensor, values: torch.Tensor, *mask: torch.Tensor) -> torch.Tensor:
        known = ((mask[0] if mask else values) != 0).to(predictions.dtype)
        total = self.weight * ((predictions - values).square() * known).sum()
        return total / max(1, len(known)) if self.by_rows else total / known.sum().clamp(min=1.0)
