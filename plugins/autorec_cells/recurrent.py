"""Blocks over a history that only look back: long short-term memory and the mean so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field
from torch import nn

from autorec_cells.base import Block, Steps, numbers
from autorec_kernel.config import ComponentConfig
from autorec_kernel.records.architecture import Port, TensorSpec
from autorec_kernel.space import Float, Int

__all__ = ["Lstm", "RunningMean"]


class Lstm(Block):
    """Long short-term memory (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000).

    Padding sits behind the real steps, so no state passes through it.
    """

    class Config(ComponentConfig):
        """Options."""

        width: Annotated[int, Int(8, 256, log=True), Field(ge=1)] = Field(64, description="Hidden state dimension.")
        layers: Annotated[int, Int(1, 3), Field(ge=1)] = Field(1, description="Stacked units.")
        dropout: Annotated[float, Float(0.0, 0.6), Field(ge=0, lt=1)] = Field(
            0.0, description="Share of the input's units dropped while training."
        )

    accepts: ClassVar[tuple[Port, ...]] = ("sequence",)
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return one hidden state a step.

        Raises:
            ContractError: The steps are row indices.
        """
        numbers("an LSTM", specs)
        return TensorSpec("sequence", specs[0].axis, width=self.config.width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: [A, L, E] to [A, L, width]."""
        return _Lstm(specs[0].width, self.config.width, self.config.layers, self.config.dropout)


class _Lstm(nn.Module):
    def __init__(self, width: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.unit = nn.LSTM(width, hidden, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.dropout = nn.Dropout(dropout)

    def forward(self, value: Steps) -> Steps:
        steps, mask = value
        states, _ = self.unit(self.dropout(steps))
        return states.masked_fill(~mask.unsqueeze(-1), 0.0), mask


class RunningMean(Block):
    """Each step is the mean of the real steps up to itself: what pooling becomes where every step is to be answered from."""

    accepts: ClassVar[tuple[Port, ...]] = ("sequence",)

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a sequence like the input.

        Raises:
            ContractError: The steps are row indices.
        """
        numbers("a running mean", specs)
        return TensorSpec("sequence", specs[0].axis, width=specs[0].width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: [A, L, E] to [A, L, E]."""
        return _RunningMean()


class _RunningMean(nn.Module):
    def forward(self, value: Steps) -> Steps:
        steps, mask = value
        real = mask.unsqueeze(-1)
        counts = mask.to(steps.dtype).cumsum(1).clamp(min=1.0)
        means = steps.masked_fill(~real, 0.0).cumsum(1) / counts.unsqueeze(-1)
        return means.masked_fill(~real, 0.0), mask
