"""Blocks that weigh what passes: learned gates, squeeze and excitation, attention over fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import nn

from autorec_blocks.base import Block
from autorec_blocks.dropout import Dropout
from autorec_blocks.pair_products import by_columns
from autorec_blocks.rated import rated, unit_layers
from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.models import by_hand
from autorec_kernel.records.architecture import Port, TensorSpec
from autorec_kernel.space import Float, Int, Ints

__all__ = ["AttentionPool", "FeatureGate", "Senet"]

Size = Annotated[int, Field(ge=1)]


class FeatureGate(Block):
    """x ⊙ 2σ(g): gates in (0, 2), near one when training starts.

    Without further inputs g is learned and the same for every row; further inputs are a context that a small network turns into g (feature
    selection of FinalMLP, Mao et al. 2023).
    """

    class Config(ComponentConfig):
        """Options."""

        groups: int = Field(0, ge=0, description="Equal parts of the vector that share a gate, e.g. one a field; 0 = one gate a number.")
        hidden_dims: Annotated[tuple[Size, ...], Ints(Int(8, 256, log=True), length=Int(0, 2))] = Field(
            (), description="Layers of the network that reads the context."
        )

    accepts: ClassVar[tuple[Port, ...]] = ("vector",)
    variadic: ClassVar[bool] = True
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a vector as wide as the first input.

        Raises:
            ContractError: The groups do not divide the width.
        """
        if self.config.groups and specs[0].width % self.config.groups:
            raise ContractError(f"{self.config.groups} gates cannot share a vector of width {specs[0].width} equally")
        return TensorSpec("vector", specs[0].axis, width=specs[0].width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: vector [A, D] and contexts [A, C_i] to [A, D]."""
        gates = self.config.groups or specs[0].width
        context = sum(spec.width for spec in specs[1:])
        return _Gate(gates, specs[0].width // gates, context, self.config.hidden_dims)


class _Gate(nn.Module):
    def __init__(self, gates: int, size: int, context: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.size = size
        if not context:
            self.logits = nn.Parameter(torch.zeros(gates))
            self.network: nn.Module | None = None
            return
        layers: list[nn.Module] = []
        for before, after in pairwise((context, *hidden)):
            layers += [nn.Linear(before, after), nn.ReLU()]
        last = nn.Linear((context, *hidden)[-1], gates)
        nn.init.normal_(last.weight, 0.0, 0.01)
        nn.init.zeros_(last.bias)
        self.network = nn.Sequential(*layers, last)

    def forward(self, *vectors: torch.Tensor) -> torch.Tensor:
        value, *context = vectors
        logits = self.logits if self.network is None else self.network(torch.cat(context, 1) if len(context) > 1 else context[0])
        gates = 2 * torch.sigmoid(logits)
        parts = value.reshape(value.shape[0], -1, self.size)
        return (parts * gates.unsqueeze(-1)).flatten(1)


class Senet(Block):
    """Fields weighed by their importance in this row: mean, two layers, sigmoid (Hu et al. 2018; SENET layer of Huang et al. 2019)."""

    class Config(ComponentConfig):
        """Options."""

        reduction_ratio: Annotated[int, Int(1, 8)] = Field(3, ge=1, description="Fields over hidden units; at least one unit is kept.")

    accepts: ClassVar[tuple[Port, ...]] = ("fields",)
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return fields like the input.

        Raises:
            ContractError: The fields are row indices.
        """
        if specs[0].index:
            raise ContractError("squeeze and excitation weighs embedded fields, got row indices")
        return TensorSpec("fields", specs[0].axis, fields=specs[0].fields, width=specs[0].width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: float32 [A, F, E] to [A, F, E]."""
        return _Senet(specs[0].fields, max(1, specs[0].fields // self.config.reduction_ratio))


class _Senet(nn.Module):
    def __init__(self, fields: int, hidden: int) -> None:
        super().__init__()
        squeeze = nn.Linear(fields, hidden)
        squeeze.bias.data.abs_()  # means of young embeddings are so small that a negative offset would silence a unit for good
        self.excite = nn.Sequential(squeeze, nn.ReLU(), nn.Linear(hidden, fields), nn.Sigmoid())

    def forward(self, fields: torch.Tensor) -> torch.Tensor:
        if by_hand(fields):
            columns = by_columns(fields)  # sums over so few numbers as a row has are slow
            weights: torch.Tensor = self.excite(columns.mean(1).t())
            return (columns * weights.t().unsqueeze(1)).permute(2, 0, 1)
        importance: torch.Tensor = self.excite(fields.mean(2))
        return fields * importance.unsqueeze(-1)


class AttentionPool(Block):
    """Fields pooled by softmax(hᵀ ReLU(W x + b)) (attention-based pooling, Xiao et al. 2017): weights that sum to one in each row."""

    class Config(ComponentConfig):
        """Options."""

        attention_dims: Annotated[tuple[Size, ...], Ints(Int(4, 64, log=True), length=Int(1, 2))] = Field(
            (16,), min_length=1, description="Hidden widths of the attention network."
        )
        dropout: Annotated[float, Float(0.0, 0.6)] = Field(
            0.0, ge=0.0, lt=1.0, description="Share of its hidden units dropped while training."
        )

    accepts: ClassVar[tuple[Port, ...]] = ("fields",)
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a vector as wide as one field.

        Raises:
            ContractError: The fields are row indices.
        """
        if specs[0].index:
            raise ContractError("attention pools embedded fields, got row indices")
        return TensorSpec("vector", specs[0].axis, width=specs[0].width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: float32 [A, F, E] to [A, E]."""
        return _AttentionPool(specs[0].width, self.config.attention_dims, self.config.dropout)


class _AttentionPool(nn.Module):
    def __init__(self, width: int, hidden: Sequence[int], dropout: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise((width, *hidden)):
            layer = nn.Linear(before, after)
            nn.init.zeros_(layer.bias)  # products of young embeddings are so small that a negative offset would silence a unit for good
            layers += [layer, nn.ReLU()]
            layers += [Dropout(dropout)] if dropout else []
        self.unit = nn.Sequential(*layers, nn.Linear(hidden[-1], 1, bias=False))  # softmax would cancel an offset

    def weights(self, fields: torch.Tensor) -> torch.Tensor:
        """Return float32 [A, F], the weights of [A, F, E]."""
        layers = unit_layers(self.unit) if by_hand(fields) else None
        if layers is None:
            return torch.softmax(self.unit(fields).squeeze(-1), 1)
        *hidden, last = layers
        scores = rated(fields.flatten(0, 1), [layer.weight for layer in hidden], [layer.bias for layer in hidden], last.weight[0])
        return torch.softmax(scores.view(fields.shape[:2]), 1)

    def forward(self, fields: torch.Tensor) -> torch.Tensor:
        return torch.bmm(self.weights(fields).unsqueeze(1), fields).squeeze(1)
