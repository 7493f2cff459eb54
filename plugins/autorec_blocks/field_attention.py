"""Self-attention among the fields of one row: AutoInt's interacting layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import nn

from autorec_blocks.base import Block
from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Port, TensorSpec
from autorec_kernel.space import Choice, Int

__all__ = ["FieldAttention"]


class FieldAttention(Block):
    """ReLU(heads side by side + W_res e), each head Σ_k softmax_k(⟨W_q e_m, W_k e_k⟩) W_v e_k (Song et al. 2019, equations 5 to 8)."""

    class Config(ComponentConfig):
        """Options."""

        heads: Annotated[int, Int(1, 4)] = Field(2, ge=1, description="Attention heads.")
        head_width: Annotated[int, Choice(4, 8, 16, 32)] = Field(
            8, ge=1, description="Width of a head; a field leaves as wide as all heads."
        )

    accepts: ClassVar[tuple[Port, ...]] = ("fields",)
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return as many fields as there were, each as wide as all heads together.

        Raises:
            ContractError: There is a single field, which has nothing to attend to, or the fields are row indices.
        """
        if specs[0].index or specs[0].fields < 2:
            raise ContractError("field attention relates embedded fields to each other: it needs at least two")
        return TensorSpec("fields", specs[0].axis, fields=specs[0].fields, width=self.config.heads * self.config.head_width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: float32 [A, F, E] to [A, F, heads · head_width]."""
        return _FieldAttention(specs[0].width, self.config.heads, self.config.head_width)


class _FieldAttention(nn.Module):
    def __init__(self, width: int, heads: int, size: int) -> None:
        super().__init__()
        self.heads, self.wide = heads, heads * size
        self.project = nn.Linear(width, 4 * heads * size, bias=False)  # query, key, value and residual in one product

    def forward(self, fields: torch.Tensor) -> torch.Tensor:
        query, key, value, kept = self.project(fields).split(self.wide, 2)
        if self.heads > 1:
            mixed = self._attend(*(part.reshape(*part.shape[:2], self.heads, -1).transpose(1, 2) for part in (query, key, value)))
            return torch.relu(mixed.transpose(1, 2).flatten(2) + kept)
        return torch.relu(self._attend(query, key, value) + kept)

    def _attend(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        fits = query @ key.transpose(-1, -2)
        columns = fits.reshape(-1, fits.shape[-1]).t().contiguous()  # a softmax down columns is vectorised, one along so short rows is not
        return torch.softmax(columns, 0).t().reshape(fits.shape) @ value
