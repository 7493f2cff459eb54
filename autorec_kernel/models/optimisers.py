"""Optimisers: one rule for dense parameters, and rules with one accumulator a row for embedding tables, whose gradients may be sparse."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import torch

from autorec_kernel.models.adam import Adam, offered

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Optimiser", "OptimiserKind", "RowAdagrad", "RowAdam", "coalesced"]

OptimiserKind = Literal["adamw", "adam", "adagrad"]
_SPAN = 64  # steps between two visits of whole tables


class RowRule(Protocol):
    """How the rows of one table move."""

    def step(self, rate: float) -> None:
        """Apply the gradient of the table."""

    def settle(self) -> None:
        """Apply what is due on rows that no batch has read lately."""


class RowAdam:
    """Adam without momentum and with one second moment a row, for sparse gradients; rows that a batch does not read cost nothing.

    With G the mean squared gradient of a row, v ← β₂v + (1-β₂)G at every step, and w ← w - rate·g / (√(v / (1-β₂ᵗ)) + ε): Kingma and Ba
    (2015), algorithm 1 with β₁ = 0. A row without a gradient only has v shrink, so its decay is kept as one factor of the whole table
    and is exact. Weight decay (Loshchilov and Hutter 2019) reaches the whole table every 64 steps, by the product of their factors.

    Args:
        weight: float32 [R, D].
        decay: Decoupled weight decay.
        coupled: Whether decay is added to the gradient of the rows read instead (Adam).
    """

    def __init__(self, weight: nn.Parameter, decay: float, *, coupled: bool = False, beta: float = 0.999, epsilon: float = 1e-8) -> None:
        self.weight, self.decay, self.coupled, self.beta, self.epsilon = weight, decay, coupled, beta, epsilon
        self._power = torch.zeros(len(weight), device=weight.device)  # v divided by β₂ to the steps since the last visit
        self._steps, self._since, self._shrink = 0, 0, 1.0

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Apply the coalesced sparse gradient of the table."""
        rows, values = _parts(self.weight)
        self._steps, self._since = self._steps + 1, self._since + 1
        if self.coupled and self.decay:
            values = values + self.decay * self.weight.index_select(0, rows)
        self._shrink *= 1.0 if self.coupled else 1.0 - rate * self.decay
        scale = self.beta**self._since
        power = self._power.index_select(0, rows).add_(values.square().mean(1), alpha=(1.0 - self.beta) / scale)
        self._power.index_copy_(0, rows, power)
        root = power.mul_(scale / (1.0 - self.beta**self._steps)).sqrt_().add_(self.epsilon)
        self.weight.index_add_(0, rows, values / root.unsqueeze(1), alpha=-rate)
        if self._since >= _SPAN:
            self.settle()

    @torch.no_grad()
    def settle(self) -> None:
        """Visit the whole table: decay its weights and its second moments."""
        if self._since:
            self._power.mul_(self.beta**self._since)
        if self._shrink != 1.0:
            self.weight.mul_(self._shrink)
        self._since, self._shrink = 0, 1.0


class RowAdagrad:
    """Adagrad (Duchi et al. 2011) with one accumulator a row: s ← s + mean(g²), w ← w - rate·g / (√s + ε), as recommenders train tables.

    Takes dense and coalesced sparse gradients (Naumov et al. 2019 describe such tables; Mudigere et al. 2022, section 4.1, the row-wise
    rule). Decoupled weight decay reaches the whole table every 64 steps.

    Args:
        weight: float32 [R, D].
    """

    def __init__(self, weight: nn.Parameter, decay: float, *, epsilon: float = 1e-8) -> None:
        self.weight, self.decay, self.epsilon = weight, decay, epsilon
        self._sum = torch.zeros(len(weight), device=weight.device)
        self._since, self._shrink = 0, 1.0

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Apply the gradient of the table."""
        gradient = self.weight.grad
        if gradient is None:
            return
        self._since, self._shrink = self._since + 1, self._shrink * (1.0 - rate * self.decay)
        if gradient.is_sparse:
            rows, values = _parts(self.weight)
            total = self._sum.index_select(0, rows).add_(values.square().mean(1))
            self._sum.index_copy_(0, rows, total)
            self.weight.index_add_(0, rows, values / total.sqrt_().add_(self.epsilon).unsqueeze(1), alpha=-rate)
        else:
            self._sum.add_(gradient.square().mean(1))
            self.weight.addcdiv_(gradient, self._sum.sqrt().add_(self.epsilon).unsqueeze(1), value=-rate)
        if self._since >= _SPAN:
            self.settle()

    @torch.no_grad()
    def settle(self) -> None:
        """Decay the weights of the whole table."""
        if self._shrink != 1.0:
            self.weight.mul_(self._shrink)
        self._since, self._shrink = 0, 1.0


class Optimiser:
    """One step for all parameters: torch's fused rule for the dense ones, a row rule for each table.

    Args:
        learned: All parameters to train.
        tables: Those that are embedding tables [R, D].
        sparse: The tables whose gradients are sparse.
        kind: adamw | adam | adagrad; what is sparse moves by `RowAdam`, or by `RowAdagrad`, which adagrad means for every table.
    """

    def __init__(
        self,
        learned: Iterable[nn.Parameter],
        tables: Collection[nn.Parameter],
        sparse: Collection[nn.Parameter],
        *,
        kind: OptimiserKind = "adamw",
        rate: float = 1e-3,
        decay: float = 0.0,
    ) -> None:
        self.learned = list(learned)
        rowwise = list(tables if kind == "adagrad" else sparse)
        ids = {id(table) for table in rowwise}
        self.sparse = [parameter for parameter in self.learned if id(parameter) in {id(table) for table in sparse}]
        dense = [parameter for parameter in self.learned if id(parameter) not in ids]
        self.dense = _dense(kind, dense, rate, decay) if dense else None
        self.rows: list[RowRule] = [
            RowAdagrad(table, decay) if kind == "adagrad" else RowAdam(table, decay, coupled=kind == "adam") for table in rowwise
        ]

    def clear(self) -> None:
        """Forget the gradients."""
        for parameter in self.learned:
            parameter.grad = None

    def gather(self) -> list[torch.Tensor]:
        """Sum what several lookups gave one row, and return the gradients: the values alone of a sparse one."""
        for table in self.sparse:
            if table.grad is not None:
                table.grad = coalesced(table.grad)
        found = [parameter.grad for parameter in self.learned if parameter.grad is not None]
        return [gradient._values() if gradient.is_sparse else gradient for gradient in found]

    def step(self, rate: float) -> None:
        """Move every parameter that has a gradient."""
        if self.dense is not None:
            self.dense.step(rate)
        for rule in self.rows:
            rule.step(rate)

    def settle(self) -> None:
        """Bring tables up to date with what is applied to them only now and then."""
        for rule in self.rows:
            rule.settle()


def coalesced(gradient: torch.Tensor) -> torch.Tensor:
    """Return a sparse gradient [R, D] with every row once, ascending; a row's parts are added in the order in which they were read."""
    if gradient.is_coalesced() or not gradient.is_sparse:
        return gradient
    if gradient.device.type != "cpu":
        return gradient.coalesce()
    rows, places = np.unique(gradient._indices()[0].numpy(), return_inverse=True)
    values = gradient._values()
    sums = values.new_zeros(len(rows), values.shape[1]).index_add_(0, torch.from_numpy(places), values)
    return torch.sparse_coo_tensor(torch.from_numpy(rows)[None], sums, gradient.shape, is_coalesced=True, check_invariants=False)


def total_norm(gradients: list[torch.Tensor]) -> torch.Tensor:
    """Return float32 [], the Euclidean norm of all gradients together."""
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients))) if gradients else torch.zeros(())


def scale_to(gradients: list[torch.Tensor], norm: torch.Tensor, limit: float) -> None:
    """Shrink gradients in place so that their norm is at most `limit`, without waiting for a device to tell the norm."""
    if gradients and norm.device.type == "cpu" and float(norm) <= limit:
        return
    factor = (limit / (norm + 1e-12)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(factor)


def _parts(weight: nn.Parameter) -> tuple[torch.Tensor, torch.Tensor]:
    gradient = weight.grad
    if gradient is None:
        return torch.zeros(0, dtype=torch.int64, device=weight.device), weight.new_zeros(0, weight.shape[1])
    return gradient._indices()[0], gradient._values()


class _Rule:
    """A rule of `torch.optim` whose rate is given at each step."""

    def __init__(self, optimiser: torch.optim.Optimizer) -> None:
        self.optimiser = optimiser

    def step(self, rate: float) -> None:
        """Apply the gradients."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.step()


def _dense(kind: OptimiserKind, parameters: list[nn.Parameter], rate: float, decay: float) -> Adam | _Rule:
    if kind != "adagrad" and offered(parameters):
        return Adam(parameters, decay, coupled=kind == "adam")
    fused = parameters[0].device.type in ("cpu", "cuda")
    if kind == "adamw":
        return _Rule(torch.optim.AdamW(parameters, lr=rate, weight_decay=decay, fused=fused))
    if kind == "adam":
        return _Rule(torch.optim.Adam(parameters, lr=rate, weight_decay=decay, fused=fused))
    return _Rule(torch.optim.Adagrad(parameters, lr=rate, weight_decay=decay, fused=fused, eps=1e-8))
