"""Blocks that make and join sets of fields: numbers as fields, several sets as one."""

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
from autorec_kernel.space import Choice

__all__ = ["JoinFields", "NumericFields"]


class NumericFields(Block):
    """Numbers as fields: each number times a learned vector (Song et al. 2019, equation 4); a group of numbers sums to one field."""

    class Config(ComponentConfig):
        """Options."""

        width: Annotated[int, Choice(4, 8, 16, 32)] = Field(16, ge=1, description="Width of a field.")
        groups: tuple[Annotated[int, Field(ge=1)], ...] = Field(
            (), description="How many neighbouring numbers make up each field, e.g. 64 for a text vector; empty = one number a field."
        )

    accepts: ClassVar[tuple[Port, ...]] = ("vector",)
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return one field a number, or one a group.

        Raises:
            ContractError: The groups do not cover the numbers.
        """
        groups = self.config.groups
        if groups and sum(groups) != specs[0].width:
            raise ContractError(f"groups {groups} cover {sum(groups)} numbers, the vector has {specs[0].width}")
        return TensorSpec("fields", specs[0].axis, fields=len(groups) or specs[0].width, width=self.config.width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: float32 [A, D] to [A, F, width]."""
        return _NumericFields(self.config.groups or (1,) * specs[0].width, self.config.width)


class _NumericFields(nn.Module):
    belongs: torch.Tensor

    def __init__(self, groups: Sequence[int], width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(sum(groups), width).normal_(0.0, 0.05))
        self.grouped = any(size > 1 for size in groups)
        owner = torch.repeat_interleave(torch.arange(len(groups)), torch.tensor(groups))
        belongs = (owner.unsqueeze(0) == torch.arange(len(groups)).unsqueeze(1)).float() if self.grouped else torch.zeros(0)
        self.register_buffer("belongs", belongs, persistent=False)  # [F, D]: 1 where a number is part of a field

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        if not self.grouped:
            return numbers.unsqueeze(-1) * self.weight
        spread = (self.belongs.unsqueeze(-1) * self.weight).transpose(0, 1).flatten(1)  # [D, F·E]
        return (numbers @ spread).unflatten(1, (-1, self.weight.shape[1]))


class JoinFields(Block):
    """Several sets of fields of one width as one set."""

    class Config(ComponentConfig):
        """No options."""

    accepts: ClassVar[tuple[Port, ...]] = ("fields",)
    variadic: ClassVar[bool] = True

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return all fields, in the order of the inputs.

        Raises:
            ContractError: The widths differ.
        """
        widths = {spec.width for spec in specs}
        if len(widths) > 1 or any(spec.index for spec in specs):
            raise ContractError(f"join-fields puts fields of one width together, got widths {[spec.width for spec in specs]}")
        return TensorSpec("fields", specs[0].axis, fields=sum(spec.fields for spec in specs), width=specs[0].width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: fields [A, F_i, E] to [A, ΣF_i, E]."""
        return _Join()


class _Join(nn.Module):
    def forward(self, *fields: torch.Tensor) -> torch.Tensor:
        return torch.cat(fields, 1)
