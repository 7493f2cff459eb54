"""Blocks of autoencoders on histories: a bag of steps, dropped at random, and a Gaussian code drawn in training."""

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
from autorec_kernel.records.architecture import Port, TensorSpec
from autorec_kernel.space import Float

__all__ = ["Bag", "Reparameterise"]

Steps = tuple[torch.Tensor, torch.Tensor]  # int64 [A, L], mask bool [A, L]


class Bag(Block):
    """The table rows of a history, summed and divided by a power of their number: W x / ‖x‖ of a multi-hot x, never built.

    `power` 0 sums, 0.5 divides by the length of the multi-hot vector (Liang et al. 2018, section 2.2), 1 takes the mean.
    While training, steps are dropped and the others scaled up (denoising); only the newest `newest` steps count.
    """

    class Config(ComponentConfig):
        """Options."""

        power: Annotated[float, Float(0.0, 1.0), Field(ge=0)] = Field(
            1.0, description="The sum is divided by this power of the number of steps."
        )
        dropout: Annotated[float, Float(0.0, 0.8), Field(ge=0, lt=1)] = Field(0.0, description="Share of steps dropped while training.")
        newest: int = Field(0, ge=0, description="Steps that count, from the end; 0 = all.")

    accepts: ClassVar[tuple[Port, ...]] = ("sequence", "table")
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a vector as wide as the table.

        Raises:
            ContractError: The history does not come as rows, or the second input is no table of numbers.
        """
        if not specs[0].index or specs[1].index or specs[1].neighbours:
            raise ContractError("a bag takes a history of item rows (@history with index = true) and a table of numbers")
        return TensorSpec("vector", specs[0].axis, width=specs[1].width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: int64 [A, L] with its mask and table [R, D] to [A, D]."""
        return _Bag(self.config)


class _Bag(nn.Module):
    def __init__(self, config: Bag.Config) -> None:
        super().__init__()
        self.power, self.rate, self.newest = config.power, config.dropout, config.newest

    def forward(self, history: Steps, table: torch.Tensor) -> torch.Tensor:
        ids, mask = history
        if self.newest:
            real = mask.to(torch.int64)
            mask = mask & (real.sum(1, keepdim=True) - real.cumsum(1) < self.newest)
        scale = mask.to(table.dtype).sum(1, keepdim=True).clamp(min=1.0) ** -self.power
        if torch.compiler.is_compiling():  # the runtime has no embedding bag; a gather and a product say the same
            weights = mask.to(table.dtype) * scale
            return torch.matmul(weights.unsqueeze(1), functional.embedding(ids, table)).squeeze(1)
        places = mask.flatten().nonzero()[:, 0]  # padding is most of a batch: only real steps are summed
        if self.training and self.rate:
            places, scale = places[torch.rand(len(places), device=mask.device) >= self.rate], scale / (1 - self.rate)
        rows = places.div(mask.shape[1], rounding_mode="floor")
        starts = functional.pad(torch.bincount(rows, minlength=len(ids)).cumsum(0)[:-1], (1, 0))
        return functional.embedding_bag(ids.flatten()[places], table, starts, mode="sum") * scale


class Reparameterise(Block):
    """A Gaussian code: mean + ε · exp(½ log-variance) with fresh ε in training, the mean alone in serving (Kingma and Welling 2014)."""

    class Config(ComponentConfig):
        """Options."""

        spread: Annotated[float, Float(0.1, 1.0)] = Field(1.0, gt=0, description="Factor of the noise.")

    accepts: ClassVar[tuple[Port, ...]] = ("vector", "vector")
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a vector as wide as the mean.

        Raises:
            ContractError: Mean and log-variance differ in width, or are no numbers.
        """
        if specs[0].width != specs[1].width or specs[0].index or specs[1].index:
            raise ContractError(f"a mean of width {specs[0].width} does not go with a log-variance of width {specs[1].width}")
        return TensorSpec("vector", specs[0].axis, width=specs[0].width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: mean [A, D], log-variance [A, D] to [A, D]."""
        return _Reparameterise(self.config.spread)


class _Reparameterise(nn.Module):
    def __init__(self, spread: float) -> None:
        super().__init__()
        self.spread = spread

    def forward(self, mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return mean
        noise: torch.Tensor = torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        return mean + self.spread * noise
