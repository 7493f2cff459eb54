"""The cross layer of deep and cross networks, in its three parameterisations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.autograd.function import once_differentiable

from autorec_blocks.base import Block
from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.models import by_hand, unwatched
from autorec_kernel.records.architecture import Port, TensorSpec
from autorec_kernel.space import Choice, Int

__all__ = ["Cross"]


class Cross(Block):
    """One explicit cross of the first input x_0 with the current value x; l layers in a chain reach degree l + 1.

    vector: x_0 (xᵀw) + b + x (DCN, Wang et al. 2017, equation 3). matrix: x_0 ⊙ (W x + b) + x (DCN-V2, Wang et al. 2021, equation 1).
    mixture: Σ_i g_i(x) x_0 ⊙ (U_i tanh(C_i tanh(V_iᵀ x)) + b) + x, low rank, gates g by softmax (ibid., equations 3 and 4).
    """

    class Config(ComponentConfig):
        """Options."""

        parameterization: Annotated[Literal["vector", "matrix", "mixture"], Choice("vector", "matrix", "mixture")] = Field(
            "matrix", description="What weighs the current value."
        )
        rank: Annotated[int, Int(4, 128, log=True)] = Field(32, ge=1, description="Inner width of an expert (mixture).")
        experts: Annotated[int, Int(1, 8)] = Field(4, ge=1, description="Low-rank experts (mixture).")

    accepts: ClassVar[tuple[Port, ...]] = ("vector", "vector")
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a vector as wide as the inputs.

        Raises:
            ContractError: The inputs differ in width.
        """
        if specs[0].width != specs[1].width:
            raise ContractError(f"a cross multiplies vectors of one width, got {specs[0].width} and {specs[1].width}")
        return TensorSpec("vector", specs[0].axis, width=specs[0].width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: x_0 and x, float32 [A, D] each, to [A, D]."""
        width = specs[0].width
        if self.config.parameterization == "vector":
            return _VectorCross(width)
        if self.config.parameterization == "matrix":
            return _MatrixCross(width)
        return _MixtureCross(width, self.config.rank, self.config.experts)


class _VectorCross(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Linear(width, 1, bias=False)
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, first: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        if by_hand(first, value, self.bias) and unwatched(self.weight):
            found: torch.Tensor = _Crossed.apply(first, value, self.weight.weight, self.bias)  # type: ignore[no-untyped-call]
            return found
        return torch.addcmul(value + self.bias, first, self.weight(value))


class _Crossed(torch.autograd.Function):
    """x_0 (xᵀw) + b + x: its gradient in half the passes that torch derives."""

    @staticmethod
    def forward(ctx: Any, first: torch.Tensor, value: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        scale = value @ weight.t()
        ctx.save_for_backward(first, value, weight, scale)
        return torch.addcmul(value + bias, first, scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        first, value, weight, scale = ctx.saved_tensors
        of_scale = (gradient * first).sum(1, keepdim=True)
        return gradient * scale, torch.addcmul(gradient, of_scale, weight), of_scale.t() @ value, gradient.sum(0)


class _MatrixCross(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(width, width)

    def forward(self, first: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        return torch.addcmul(value, first, self.layer(value))


class _MixtureCross(nn.Module):
    """All experts in three products: V of all side by side, C one matrix an expert, U weighed by its gate."""

    def __init__(self, width: int, rank: int, experts: int) -> None:
        super().__init__()
        self.shape = (experts, rank)
        self.down = nn.Linear(width, experts * rank, bias=False)
        self.core = nn.Parameter(torch.empty(experts, rank, rank).uniform_(-1, 1) / rank**0.5)
        self.up = nn.Linear(experts * rank, width, bias=False)
        self.bias = nn.Parameter(torch.zeros(width))
        self.gate = nn.Linear(width, experts) if experts > 1 else None

    def forward(self, first: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        inner = torch.tanh(self.down(value)).reshape(-1, *self.shape)
        inner = torch.tanh(torch.einsum("aer,ers->aes", inner, self.core))
        if self.gate is not None:
            inner = inner * torch.softmax(self.gate(value), 1).unsqueeze(-1)
        return torch.addcmul(value, first, self.up(inner.flatten(1)) + self.bias)  # gates sum to one, so the offset needs none
