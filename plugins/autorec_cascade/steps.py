"""`StepRows`: a history as the table rows of its steps, so that steps and candidates are described by one item tower."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Port, TensorSpec

__all__ = ["StepRows"]

Steps = tuple[torch.Tensor, torch.Tensor]


class StepRows:
    """The table row of every step; zeros where a step is padding."""

    class Config(ComponentConfig):
        """No options."""

    accepts: ClassVar[tuple[Port, ...]] = ("sequence", "table")
    variadic: ClassVar[bool] = False
    arrays: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: Config) -> None:
        self.config = config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a sequence as wide as the table.

        Raises:
            ContractError: The history does not come as rows, or the second input is no table of numbers.
        """
        history, table = specs
        if not history.index or table.index or table.neighbours:
            raise ContractError("step-rows takes a history of item rows (@history with index = true) and a table of numbers")
        return TensorSpec("sequence", history.axis, width=table.width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: int64 [A, L] with its mask and [R, D] to [A, L, D] with the mask."""
        return _StepRows()


class _StepRows(nn.Module):
    def forward(self, history: Steps, table: torch.Tensor) -> Steps:
        ids, mask = history
        if torch.compiler.is_compiling():
            rows = functional.embedding(ids, table)
        else:  # the gradient of a selection is cheaper than that of a lookup
            rows = table.index_select(0, ids.reshape(-1)).view(*ids.shape, table.shape[1])
        return rows.masked_fill(~mask.unsqueeze(2), 0.0), mask
