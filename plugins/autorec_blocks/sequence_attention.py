"""Attention of a history to itself with an additive score, and several histories side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import nn

from autorec_blocks.base import Block
from autorec_blocks.dropout import Dropout
from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Port, TensorSpec
from autorec_kernel.space import Float, Int

__all__ = ["AdditiveAttention", "JoinSteps"]

Steps = tuple[torch.Tensor, torch.Tensor]  # float32 [A, L, E], mask bool [A, L]


class AdditiveAttention(Block):
    """Each step's weighted sum of the steps up to itself: Σ_j≤t vᵀσ(A₁ h_t + A₂ h_j) · h_j (Li et al. 2017, equations 6 to 8).

    With `mean` the score is vᵀσ(A₁ h_t + A₂ h_j + A₃ m_t + b), m_t the mean of the steps up to t (Liu et al. 2018, equations 2 and 7).
    The weights are not normalised, as in both papers.
    """

    class Config(ComponentConfig):
        """Options."""

        width: Annotated[int, Int(8, 128, log=True), Field(ge=1)] = Field(64, description="Hidden units of the score.")
        mean: bool = Field(False, description="Whether the score reads the mean of the steps so far too, and has an offset.")

    accepts: ClassVar[tuple[Port, ...]] = ("sequence",)
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a sequence like the input.

        Raises:
            ContractError: The steps are row indices.
        """
        if specs[0].index:
            raise ContractError("additive attention takes steps of numbers, got row indices")
        return TensorSpec("sequence", specs[0].axis, width=specs[0].width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: [A, L, E] to [A, L, E]."""
        return _Additive(specs[0].width, self.config)


class _Additive(nn.Module):
    def __init__(self, width: int, config: AdditiveAttention.Config) -> None:
        super().__init__()
        self.now, self.then = nn.Linear(width, config.width, bias=False), nn.Linear(width, config.width, bias=False)
        self.mean = nn.Linear(width, config.width) if config.mean else None
        self.score = nn.Linear(config.width, 1, bias=False)

    def forward(self, value: Steps) -> Steps:
        steps, mask = value
        steps = steps.masked_fill(~mask.unsqueeze(-1), 0.0)
        now, then, place = self.now(steps), self.then(steps), torch.arange(steps.shape[1], device=steps.device)
        if self.mean is not None:
            counts = mask.to(steps.dtype).cumsum(1).clamp(min=1.0)
            now = now + self.mean(steps.cumsum(1) / counts.unsqueeze(-1))
        weights = self.score(torch.sigmoid(now.unsqueeze(2) + then.unsqueeze(1))).squeeze(-1)
        older = place.unsqueeze(0) <= place.unsqueeze(1)
        return weights.masked_fill(~(older & mask.unsqueeze(2)), 0.0) @ steps, mask


class JoinSteps(Block):
    """Several sequences of the same steps side by side, step by step."""

    class Config(ComponentConfig):
        """Options."""

        dropout: Annotated[float, Float(0.0, 0.6), Field(ge=0, lt=1)] = Field(0.0, description="Share of units dropped while training.")

    accepts: ClassVar[tuple[Port, ...]] = ("sequence",)
    variadic: ClassVar[bool] = True
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a sequence as wide as all inputs together.

        Raises:
            ContractError: Some steps are row indices.
        """
        if any(spec.index for spec in specs):
            raise ContractError("steps of numbers are joined, got row indices")
        return TensorSpec("sequence", specs[0].axis, width=sum(spec.width for spec in specs))

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: sequences [A, L, E_i] to [A, L, ΣE_i]; a step is real where it is in all of them."""
        return _JoinSteps(self.config.dropout)


class _JoinSteps(nn.Module):
    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)

    def forward(self, *values: Steps) -> Steps:
        mask = values[0][1]
        for _, other in values[1:]:
            mask = mask & other
        joined: torch.Tensor = self.dropout(torch.cat([steps for steps, _ in values], -1))
        return joined.masked_fill(~mask.unsqueeze(-1), 0.0), mask
