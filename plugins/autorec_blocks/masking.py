"""Steps that are hidden while training and asked for again, as a cloze test."""

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

__all__ = ["DrawSteps", "HideSteps", "KeepSteps"]

Steps = tuple[torch.Tensor, torch.Tensor]  # float32 [A, L, E] (or int64 [A, L]), mask bool [A, L]


class DrawSteps(Block):
    """Some of the steps, new ones in every training step: their rows, 0 for the others; none in eval mode."""

    class Config(ComponentConfig):
        """Options."""

        share: Annotated[float, Float(0.05, 0.8)] = Field(0.2, gt=0, lt=1, description="Probability of each step.")

    accepts: ClassVar[tuple[Port, ...]] = ("sequence",)
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a sequence of row indices.

        Raises:
            ContractError: The steps are numbers.
        """
        return _indices(specs)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: int64 [A, L] to int64 [A, L]."""
        return _DrawSteps(self.config.share)


class _DrawSteps(nn.Module):
    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, value: Steps) -> Steps:
        rows, mask = value
        if not self.training:
            return torch.zeros_like(rows), mask
        drawn = (torch.rand(mask.shape, device=mask.device) < self.share) & mask
        return rows * drawn, mask


class HideSteps(Block):
    """The drawn steps give way to one learned vector, which also stands behind the newest step, where the next one is asked for.

    The second input holds the rows of the steps, the third one repeats those that are drawn (blocks/draw-steps). This is the cloze task of
    Sun et al. (2019, section 3.6), with the mask that they append for prediction.
    """

    class Config(ComponentConfig):
        """No options."""

    accepts: ClassVar[tuple[Port, ...]] = ("sequence", "sequence", "sequence")

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a sequence like the first input, one step longer.

        Raises:
            ContractError: The first input holds row indices, or the others do not.
        """
        if specs[0].index:
            raise ContractError("steps of numbers are hidden, got row indices")
        _indices(specs[1:])
        return TensorSpec("sequence", specs[0].axis, width=specs[0].width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: [A, L, E], rows int64 [A, L] and drawn rows int64 [A, L] to [A, L + 1, E]."""
        return _HideSteps(specs[0].width)


class _HideSteps(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.blank = nn.Parameter(torch.empty(width).normal_(0.0, 0.05))

    def forward(self, value: Steps, rows: Steps, drawn: Steps) -> Steps:
        steps, mask = value
        longer, chosen = _longer(mask, rows[0] == drawn[0])
        padded = functional.pad(steps, (0, 0, 0, 1)).masked_fill(~longer.unsqueeze(-1), 0.0)
        return torch.where(chosen.unsqueeze(-1), self.blank, padded), longer


class KeepSteps(Block):
    """The answers of `hide-steps`: the rows of the drawn steps, and behind the newest step the last of the targets."""

    class Config(ComponentConfig):
        """No options."""

    accepts: ClassVar[tuple[Port, ...]] = ("sequence", "sequence", "sequence")

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a sequence of row indices, one step longer.

        Raises:
            ContractError: An input holds numbers.
        """
        return _indices(specs)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: rows, drawn rows and targets int64 [A, L] to int64 [A, L + 1], masked but for the answers."""
        return _KeepSteps()


class _KeepSteps(nn.Module):
    def forward(self, value: Steps, drawn: Steps, targets: Steps) -> Steps:
        rows, mask = value
        longer, chosen = _longer(mask, rows == drawn[0])
        newest = (targets[1].to(torch.int64).sum(1, keepdim=True) - 1).clamp(min=0)
        wanted = targets[0].gather(1, newest) * targets[1].any(1, keepdim=True)
        end = longer & ~functional.pad(mask, (0, 1))
        found = torch.where(end, wanted, functional.pad(rows, (0, 1)))
        kept = chosen & (found != 0)
        return found * kept, kept


def _indices(specs: Sequence[TensorSpec]) -> TensorSpec:
    if not all(spec.index for spec in specs):
        raise ContractError("this block takes the rows of steps: a @history source with index = true")
    return specs[0]


def _longer(mask: torch.Tensor, drawn: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return bool [A, L + 1] twice: the steps and one behind the newest; the drawn ones and that one."""
    place = torch.arange(mask.shape[1] + 1, device=mask.device)
    count = mask.to(torch.int64).sum(1, keepdim=True)
    return place <= count, functional.pad(drawn & mask, (0, 1)) | (place == count)
