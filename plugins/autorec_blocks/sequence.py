"""Blocks that read a history step by step: positions, recurrent units, self-attention encoder."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from autorec_blocks.base import Block, numbers
from autorec_blocks.dropout import Dropout
from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Port, TensorSpec
from autorec_kernel.space import Float, Int

__all__ = ["ContinuedGru", "Encoder", "Gru", "Lstm", "Positions"]

Steps = tuple[torch.Tensor, torch.Tensor]  # float32 [A, L, E], mask bool [A, L]


class Positions(Block):
    """Adds a learned vector to each step, counted back from the newest one, so that padding and truncation never shift a position."""

    class Config(ComponentConfig):
        """Options."""

        max_length: int = Field(50, ge=1, description="Steps that are told apart; older ones share the last position.")
        dropout: Annotated[float, Float(0.0, 0.6), Field(ge=0, lt=1)] = Field(0.0, description="Share of units dropped while training.")

    accepts: ClassVar[tuple[Port, ...]] = ("sequence",)
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a sequence like the input."""
        return TensorSpec("sequence", specs[0].axis, width=specs[0].width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: [A, L, E] to [A, L, E]."""
        return _Positions(self.config.max_length, specs[0].width, self.config.dropout)


class _Positions(nn.Module):
    def __init__(self, length: int, width: int, dropout: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(length, width).normal_(0.0, 0.02))
        self.dropout = Dropout(dropout)

    def forward(self, value: Steps) -> Steps:
        steps, mask = value
        flags = mask.to(torch.int64)
        age = (flags.sum(1, keepdim=True) - flags.cumsum(1)).clamp(0, self.weight.shape[0] - 1)
        moved = self.dropout(steps + functional.embedding(age, self.weight))
        return moved * mask.unsqueeze(-1).to(moved.dtype), mask


class Gru(Block):
    """A gated recurrent unit (Cho et al. 2014); padding sits behind the real steps, so no state passes through it."""

    class Config(ComponentConfig):
        """Options."""

        width: Annotated[int, Int(8, 256, log=True), Field(ge=1)] = Field(64, description="Hidden state dimension.")
        layers: Annotated[int, Int(1, 3), Field(ge=1)] = Field(1, description="Stacked units.")
        dropout: Annotated[float, Float(0.0, 0.6), Field(ge=0, lt=1)] = Field(
            0.0, description="Share of the input's units dropped while training."
        )

    accepts: ClassVar[tuple[Port, ...]] = ("sequence",)
    unit: ClassVar[type[nn.GRU | nn.LSTM]] = nn.GRU
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return one hidden state a step."""
        return TensorSpec("sequence", specs[0].axis, width=self.config.width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: [A, L, E] to [A, L, width]."""
        return _Recurrent(self.unit, specs[0].width, self.config.width, self.config.layers, self.config.dropout)


class Lstm(Gru):
    """Long short-term memory (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000), otherwise as `Gru`."""

    unit = nn.LSTM

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return one hidden state a step.

        Raises:
            ContractError: The steps are row indices.
        """
        numbers("an LSTM", specs)
        return super().output(specs)


class _Recurrent(nn.Module):
    def __init__(self, unit: type[nn.GRU | nn.LSTM], width: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.unit = unit(width, hidden, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.dropout = Dropout(dropout)

    def forward(self, value: Steps) -> Steps:
        steps, mask = value
        states, _ = self.unit(self.dropout(steps))
        return states * mask.unsqueeze(-1).to(states.dtype), mask


class ContinuedGru(Block):
    """One gated recurrent unit (Cho et al. 2014) that goes on from a given state: a session cut into batches is read as a whole."""

    class Config(ComponentConfig):
        """Options."""

        width: Annotated[int, Int(8, 256, log=True), Field(ge=1)] = Field(64, description="Hidden state dimension.")
        dropout: Annotated[float, Float(0.0, 0.6), Field(ge=0, lt=1)] = Field(
            0.0, description="Share of the input's units dropped while training."
        )

    accepts: ClassVar[tuple[Port, ...]] = ("sequence", "vector")
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return one hidden state a step."""
        return TensorSpec("sequence", specs[0].axis, width=self.config.width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: steps [A, L, E] and the state before them [A, S] to [A, L, width]; another width than S is projected."""
        return _ContinuedGru(specs[0].width, specs[1].width, self.config)


class _ContinuedGru(nn.Module):
    def __init__(self, width: int, state: int, config: ContinuedGru.Config) -> None:
        super().__init__()
        self.unit = nn.GRU(width, config.width, batch_first=True)
        self.enter = nn.Identity() if state == config.width else nn.Linear(state, config.width, bias=False)
        self.dropout = Dropout(config.dropout)

    def forward(self, value: Steps, before: torch.Tensor) -> Steps:
        steps, mask = value
        states, _ = self.unit(self.dropout(steps), self.enter(before).unsqueeze(0))
        return states * mask.unsqueeze(-1).to(states.dtype), mask


class Encoder(Block):
    """Pre-norm self-attention layers (Vaswani et al. 2017); causal by default, as SASRec has it (Kang and McAuley 2018).

    With `rotary`, queries and keys are turned by their step, so that attention sees distances (Su et al. 2021, equation 34). Padding sits
    behind the real steps; a causal layer needs no mask against it.
    """

    class Config(ComponentConfig):
        """Options."""

        layers: Annotated[int, Int(1, 4), Field(ge=1)] = Field(2, description="Attention layers.")
        heads: Annotated[int, Int(1, 4), Field(ge=1)] = Field(1, description="Attention heads; the width must be a multiple of it.")
        expansion: float = Field(1.0, gt=0, description="Width of the feed-forward layer as a multiple of the model width.")
        dropout: Annotated[float, Float(0.0, 0.6), Field(ge=0, lt=1)] = Field(0.2, description="Share of units dropped while training.")
        attention_dropout: float = Field(0.0, ge=0, lt=1, description="Share of attention weights dropped while training; slow.")
        causal: bool = Field(True, description="Whether a step sees only itself and older ones.")
        rotary: bool = Field(False, description="Whether attention sees the distance of two steps.")

    accepts: ClassVar[tuple[Port, ...]] = ("sequence",)
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a sequence like the input.

        Raises:
            ContractError: The width is not a multiple of the heads, or of twice the heads with `rotary`.
        """
        heads = self.config.heads * (2 if self.config.rotary else 1)
        if specs[0].width % heads:
            told = f"{self.config.heads} {'rotary ' if self.config.rotary else ''}heads"
            raise ContractError(f"an encoder of width {specs[0].width} cannot have {told}: choose a divisor")
        return TensorSpec("sequence", specs[0].axis, width=specs[0].width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: [A, L, E] to [A, L, E]."""
        return _Encoder(specs[0].width, self.config)


class _Encoder(nn.Module):
    def __init__(self, width: int, config: Encoder.Config) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(width, config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, value: Steps) -> Steps:
        steps, mask = value
        for layer in self.layers:
            steps = layer(steps, mask)
        return self.norm(steps) * mask.unsqueeze(-1).to(steps.dtype), mask


class _Layer(nn.Module):
    def __init__(self, width: int, config: Encoder.Config) -> None:
        super().__init__()
        hidden = max(1, int(width * config.expansion))
        self.heads, self.causal, self.rotary, self.rate = config.heads, config.causal, config.rotary, config.attention_dropout
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project, self.merge = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.forward_net = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), Dropout(config.dropout), nn.Linear(hidden, width))
        self.dropout = Dropout(config.dropout)

    def forward(self, steps: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        steps = steps + self.dropout(self._attend(self.before(steps), mask))
        moved: torch.Tensor = self.dropout(self.forward_net(self.between(steps)))
        return steps + moved

    def _attend(self, steps: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        batch, length, width = steps.shape
        query, key, value = self.project(steps).view(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        if self.rotary:
            query, key = _turned(query), _turned(key)
        rate = self.rate if self.training else 0.0
        seen = None if self.causal else _visible(mask, length)
        mixed = functional.scaled_dot_product_attention(query, key, value, seen, dropout_p=rate, is_causal=self.causal)
        merged: torch.Tensor = self.merge(mixed.transpose(1, 2).reshape(batch, length, width))
        return merged


def _visible(mask: torch.Tensor, length: int) -> torch.Tensor:
    """Return bool [A, 1, L, L], the real steps; its own step keeps a row of padding finite."""
    steps = torch.arange(length, device=mask.device)
    return mask[:, None, None, :] | (steps.unsqueeze(0) == steps.unsqueeze(1))


def _turned(vectors: torch.Tensor) -> torch.Tensor:
    """Return [A, H, L, D] with each pair of numbers (d, d + D/2) turned by the angle step · 10000^(-2d/D)."""
    half = vectors.shape[-1] // 2
    rates = torch.exp(torch.arange(half, device=vectors.device) * (-math.log(10_000.0) / half))
    angles = torch.arange(vectors.shape[2], device=vectors.device).unsqueeze(1) * rates
    cos, sin = angles.cos().to(vectors.dtype), angles.sin().to(vectors.dtype)
    left, right = vectors[..., :half], vectors[..., half:]
    return torch.cat([left * cos - right * sin, left * sin + right * cos], -1)
