"""The mean of a history so far, at each of its steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from torch import nn

from autorec_blocks.base import Block, numbers
from autorec_blocks.sequence import Steps
from autorec_kernel.records.architecture import Port, TensorSpec

__all__ = ["RunningMean"]


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
