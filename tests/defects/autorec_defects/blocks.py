"""Model blocks with in-place writes, wrong shapes, dead parameters or loose state, each beside a sound one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import nn

from autorec_kernel.config import ComponentConfig
from autorec_kernel.records.architecture import Port, TensorSpec


class Affine:
    """One affine layer."""

    class Config(ComponentConfig):
        """Options."""

        width: int = Field(5, description="Output dimension.")

    accepts: ClassVar[tuple[Port, ...]] = ("vector",)
    variadic: ClassVar[bool] = False
    arrays: ClassVar[tuple[str, ...]] = ()
    module: ClassVar[Any] = nn.Linear

    def __init__(self, config: Config) -> None:
        self.config = config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        return TensorSpec("vector", specs[0].axis, width=self.config.width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        module: nn.Module = self.module(specs[0].width, self.config.width)
        return module


class _Squeezing(nn.Linear):
    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return super().forward(value).squeeze()


class Squeezes(Affine):
    """DEFECT (wrong shapes): a batch of one loses its axis."""

    module = _Squeezing


class _Unused(nn.Linear):
    def __init__(self, width: int, out: int) -> None:
        super().__init__(width, out)
        self.forgotten = nn.Linear(out, out)


class Unused(Affine):
    """DEFECT (dead parameters): a layer that nothing calls."""

    module = _Unused


class _Two(nn.Module):
    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(width, out), nn.Linear(out, out)

    def between(self, value: torch.Tensor) -> torch.Tensor:
        return torch.tanh(value)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return self.second(self.between(self.first(value)))


class TwoLayers(Affine):
    """Two layers."""

    module = _Two


class _Cut(_Two):
    def between(self, value: torch.Tensor) -> torch.Tensor:
        return torch.tanh(value.detach())


class Detached(TwoLayers):
    """DEFECT (dead parameters): the gradient is cut before the first layer."""

    module = _Cut


class _Gated(_Two):
    def __init__(self, width: int, out: int) -> None:
        super().__init__(width, out)
        self.dropout = nn.Dropout(0.3)
        self.gate = nn.Parameter(torch.zeros(out))

    def gated(self, value: torch.Tensor) -> torch.Tensor:
        return value * (1 + self.gate)

    def between(self, value: torch.Tensor) -> torch.Tensor:
        return self.gated(self.dropout(value))


class Dropped(Affine):
    """Two layers with dropout and a gate between them."""

    module = _Gated


class _GatedWhileServing(_Gated):
    def gated(self, value: torch.Tensor) -> torch.Tensor:
        return value if self.training else super().gated(value)


class DeadWhileTraining(Dropped):
    """DEFECT (dead parameters): the gate is skipped while dropout is on, which is when it would learn."""

    module = _GatedWhileServing


class _Scaled(nn.Linear):
    def __init__(self, width: int, out: int) -> None:
        super().__init__(width, out)
        self.keep(torch.randn(out))

    def keep(self, scale: torch.Tensor) -> None:
        self.register_buffer("scale", scale)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return super().forward(value) * self.scale


class Scaled(Affine):
    """A layer with a random fixed scale, kept as a buffer."""

    module = _Scaled


class _Loose(_Scaled):
    def keep(self, scale: torch.Tensor) -> None:
        self.scale = scale


class LooseTensor(Scaled):
    """DEFECT (unserialisable state): the scale is a plain attribute, which no state dict holds."""

    module = _Loose


class Widened(Affine):
    """The input beside an affine layer of it."""

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        return TensorSpec("vector", specs[0].axis, width=self.config.width + specs[0].width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        return _Beside(specs[0].width, self.config.width)


class _Beside(nn.Linear):
    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return torch.cat([value, super().forward(value)], 1)


class WiderThanSaid(Widened):
    """DEFECT (wrong shapes): says the width for inputs of four, whatever comes in."""

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        return TensorSpec("vector", specs[0].axis, width=self.config.width + 4)


class _Mean(nn.Module):
    def forward(self, value: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        steps, mask = value
        return (steps * mask.unsqueeze(-1)).sum(1)


class Masked(Affine):
    """The sum of the real steps."""

    accepts: ClassVar[tuple[Port, ...]] = ("sequence",)

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        return TensorSpec("vector", specs[0].axis, width=specs[0].width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        return _Mean()


class _MeanInPlace(nn.Module):
    def forward(self, value: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        steps, mask = value
        if not steps.requires_grad:
            steps.masked_fill_(~mask.unsqueeze(-1), 0.0)
        return (steps * mask.unsqueeze(-1)).sum(1)


class MasksInPlace(Masked):
    """DEFECT (mutated inputs): zeroes the padded steps of the caller's tensor."""

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        return _MeanInPlace()
