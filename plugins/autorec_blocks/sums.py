"""Sums of sequences and of sets of fields: what a residual connection is where values are no vectors (He et al. 2016)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from autorec_blocks.base import Block, numbers
from autorec_blocks.sequence import Steps
from autorec_kernel.records.architecture import Port, TensorSpec

__all__ = ["AddFields", "AddSteps"]


class AddSteps(Block):
    """The first sequence plus the others, step by step; one of another width goes through a bias-free projection to the first one's.

    The first says which steps are real. The others have the same steps, or a single one, which is added to every step.
    """

    accepts: ClassVar[tuple[Port, ...]] = ("sequence",)
    variadic: ClassVar[bool] = True

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a sequence like the first input.

        Raises:
            ContractError: Some steps are row indices.
        """
        numbers("a sum of steps", specs)
        return TensorSpec("sequence", specs[0].axis, width=specs[0].width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: sequences [A, L, E_i] or [A, 1, E_i] to [A, L, E_0]."""
        return _AddSteps([spec.width for spec in specs])


class _AddSteps(nn.Module):
    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.projections = _projections(widths)

    def forward(self, *values: Steps) -> Steps:
        total, mask = values[0]
        for projection, (steps, real) in zip(self.projections, values[1:], strict=True):
            total = total + projection(steps.masked_fill(~real.unsqueeze(-1), 0.0))
        return total.masked_fill(~mask.unsqueeze(-1), 0.0), mask


class AddFields(Block):
    """The first set of fields plus the others, field by field; other widths go through a bias-free projection to the first one's.

    Of a set with another number of fields, the mean is added to every field.
    """

    accepts: ClassVar[tuple[Port, ...]] = ("fields",)
    variadic: ClassVar[bool] = True

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return fields like the first input.

        Raises:
            ContractError: Some fields are row indices.
        """
        numbers("a sum of fields", specs)
        return TensorSpec("fields", specs[0].axis, fields=specs[0].fields, width=specs[0].width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: fields [A, F_i, E_i] to [A, F_0, E_0]."""
        return _AddFields([spec.width for spec in specs], [spec.fields for spec in specs])


class _AddFields(nn.Module):
    def __init__(self, widths: Sequence[int], counts: Sequence[int]) -> None:
        super().__init__()
        self.projections = _projections(widths)
        self.alike = tuple(count == counts[0] for count in counts[1:])

    def forward(self, *values: torch.Tensor) -> torch.Tensor:
        total = values[0]
        for projection, alike, fields in zip(self.projections, self.alike, values[1:], strict=True):
            total = total + projection(fields if alike else fields.mean(1, keepdim=True))
        return total


def _projections(widths: Sequence[int]) -> nn.ModuleList:
    """Return a projection for each but the first; none is needed where the widths agree."""
    return nn.ModuleList(nn.Identity() if width == widths[0] else nn.Linear(width, widths[0], bias=False) for width in widths[1:])
