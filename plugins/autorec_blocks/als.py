"""Implicit alternating least squares (Hu, Koren and Volinsky 2008), and the user vector that any history gets from its items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import nn

from autorec_blocks.base import Block
from autorec_blocks.counts import StoredTable
from autorec_blocks.neighbours import binary_matrix
from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Port, TensorSpec
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.space import Float, Int

__all__ = ["AlsItems", "FoldIn"]

_ROWS = 2048  # systems solved at a time


class AlsItems(Block):
    """Item factors of min Σ_ui c_ui (p_ui - x_u·y_i)² + λ(Σ‖x‖² + Σ‖y‖²), c = 1 + α where chosen (p = 1), else 1 (p = 0).

    Each side in turn: x_u = (YᵀY + α Σ_{i∈u} y yᵀ + λI)⁻¹ (1 + α) Σ_{i∈u} y, where YᵀY is computed once for all users (Hu et al.
    2008, equation 4). What is stored are the whitened factors z = L⁻¹y with LLᵀ = YᵀY + λI: with u = Lᵀx the scores u·z = x·y stay the
    same, and the user's system becomes (I + α Σ zzᵀ) u = (1 + α) Σ z, which needs no other table (`FoldIn`).
    """

    class Config(ComponentConfig):
        """Options."""

        rows: int = Field(0, ge=0, description="Rows of the catalogue, row 0 = unknown included.")
        width: Annotated[int, Int(8, 256, log=True), Field(ge=1)] = Field(64, description="Factor dimension.")
        regularisation: Annotated[float, Float(0.1, 1000.0, log=True), Field(gt=0)] = Field(10.0, description="Ridge penalty λ.")
        confidence: Annotated[float, Float(0.5, 100.0, log=True), Field(gt=0)] = Field(5.0, description="Extra weight α of a choice.")
        sweeps: Annotated[int, Int(3, 20), Field(ge=1)] = Field(10, description="Alternations of the two sides.")

    accepts: ClassVar[tuple[Port, ...]] = ()
    arrays: ClassVar[tuple[str, ...]] = ("interactions",)
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a table [N, width]."""
        return TensorSpec("table", "item", width=self.config.width, rows=self.config.rows)

    def solve(self, specs: Sequence[TensorSpec], arrays: Mapping[str, Any], rng: np.random.Generator) -> Mapping[str, np.ndarray]:
        """Alternate, then whiten."""
        matrix, config = binary_matrix(arrays["interactions"]), self.config
        turned = matrix.T.tocsr()
        items = rng.normal(0.0, 0.1 / np.sqrt(config.width), (matrix.shape[1], config.width)).astype(np.float32)
        for _ in range(config.sweeps):
            users = _half(matrix, items, config.regularisation, config.confidence)
            items = _half(turned, users, config.regularisation, config.confidence)
        gram = items.T.astype(np.float64) @ items + config.regularisation * np.eye(config.width)
        return {"values": np.linalg.solve(np.linalg.cholesky(gram), items.T).T.astype(np.float32)}

    def seconds(self, specs: Sequence[TensorSpec], schema: FeatureSchema) -> float:
        """Return the time of the Gram matrices and of the systems."""
        width, rows = self.config.width, schema.users + schema.items
        return self.config.sweeps * (2 * schema.events * (width**2 / 2e10 + 1e-8) + rows * (width**3 / 1.2e10 + 1e-5))

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the table."""
        return StoredTable(arrays["values"])


def _half(matrix: Any, fixed: np.ndarray, penalty: float, confidence: float) -> np.ndarray:
    """Return float32 [rows, D], the factors of the rows of `matrix` given those of its columns."""
    shared = fixed.T @ fixed + np.float32(penalty) * np.eye(fixed.shape[1], dtype=np.float32)
    wanted = np.asarray(matrix @ fixed) * np.float32(1 + confidence)
    found = np.empty_like(wanted)
    for start in range(0, matrix.shape[0], _ROWS):
        stop = min(start + _ROWS, matrix.shape[0])
        systems = np.empty((stop - start, *shared.shape), np.float32)
        for place in range(stop - start):
            own = fixed[matrix.indices[matrix.indptr[start + place] : matrix.indptr[start + place + 1]]]
            systems[place] = shared + np.float32(confidence) * (own.T @ own)
        found[start:stop] = np.linalg.solve(systems, wanted[start:stop, :, None])[..., 0]
    return found


class FoldIn(Block):
    """The ridge solution u = (I + α Σ w zzᵀ)⁻¹ (1 + α) Σ w z over the items of a history: a user vector for anyone who chose something.

    Solved by conjugate gradients (Hestenes and Stiefel 1952; for implicit feedback Takács et al. 2011), as many steps as told, so that
    the graph stays a list of products. The newest step weighs w = 1, the one before `decay`, …
    """

    class Config(ComponentConfig):
        """Options."""

        confidence: Annotated[float, Float(0.5, 100.0, log=True), Field(gt=0)] = Field(5.0, description="Extra weight α of a choice.")
        decay: Annotated[float, Float(0.5, 1.0)] = Field(1.0, gt=0, le=1, description="Weight of a step relative to the one after it.")
        iterations: int = Field(10, ge=1, description="Steps of conjugate gradients.")

    accepts: ClassVar[tuple[Port, ...]] = ("sequence", "table")
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a vector as wide as the table.

        Raises:
            ContractError: The history does not come as item rows (`index = true`), or the table is none of vectors.
        """
        if not specs[0].index:
            raise ContractError("a fold-in reads a history of item rows: give its @history source index = true")
        if specs[1].neighbours or specs[1].index:
            raise ContractError("a fold-in needs a table of item vectors, got neighbours or row indices")
        return TensorSpec("vector", specs[0].axis, width=specs[1].width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: int64 [A, L] with its mask and a table [N, D] to float32 [A, D]."""
        return _FoldIn(self.config)


class _FoldIn(nn.Module):
    def __init__(self, config: FoldIn.Config) -> None:
        super().__init__()
        self.confidence, self.decay, self.iterations = config.confidence, config.decay, config.iterations

    def forward(self, value: tuple[torch.Tensor, torch.Tensor], table: torch.Tensor) -> torch.Tensor:
        history, mask = value
        real = mask.to(table.dtype)
        age = real.sum(1, keepdim=True) - real.cumsum(1)
        weights = (torch.exp(age * float(np.log(self.decay))) * real).unsqueeze(-1)
        items = nn.functional.embedding(history, table)
        return self._gradients(items, weights, (1 + self.confidence) * (items * weights).sum(1))

    def _gradients(self, items: torch.Tensor, weights: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """Return float32 [A, D] from items [A, L, D], their weights [A, L, 1] and the right side [A, D]."""
        found, residual, direction = torch.zeros_like(wanted), wanted, wanted
        size = (residual * residual).sum(1, keepdim=True)
        for _ in range(self.iterations):
            seen = (items @ direction.unsqueeze(-1)) * weights * self.confidence
            image = direction + (items * seen).sum(1)
            step = size / (direction * image).sum(1, keepdim=True).clamp(min=1e-30)
            found, residual = found + step * direction, residual - step * image
            after = (residual * residual).sum(1, keepdim=True)
            direction, size = residual + after / size.clamp(min=1e-30) * direction, after
        return found
