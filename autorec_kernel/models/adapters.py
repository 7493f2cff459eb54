"""Adapters: every block fits behind every other one, because each pair of ports has one default conversion (DESIGN section 2, rule 5)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Port, TensorSpec

__all__ = ["Sequence", "adapt_module", "adapt_spec", "masked_mean"]

Sequence = tuple[torch.Tensor, torch.Tensor]  # float32 [A, L, E] (or int64 [A, L]) and mask bool [A, L]


def adapt_spec(spec: TensorSpec, port: Port) -> TensorSpec:
    """Return what `spec` becomes on `port`.

    Raises:
        ContractError: Tables and losses convert to nothing else; a row index [A] only to a sequence of one step; only what has one row
            a user or an item becomes a table.
    """
    if spec.port == port:
        return spec
    if port == "table" and spec.axis != "row" and not spec.index and spec.port in ("vector", "fields"):
        return replace(spec, port="table", fields=0, width=_flat_width(spec), tasks=(), link=None)
    if spec.index and spec.port == "vector" and port == "sequence":
        return replace(spec, port="sequence")
    if spec.index or spec.port in ("table", "loss") or port in ("table", "loss"):
        raise ContractError(f"a {'row index' if spec.index else spec.port} cannot be adapted to a {port}")
    width = _flat_width(spec)
    rows = 0 if spec.axis == "row" else spec.rows
    if port == "vector":
        return replace(spec, port="vector", fields=0, width=width, rows=rows, tasks=(), link=None)
    if port == "scores":
        return replace(spec, port="scores", fields=0, width=1, rows=0, tasks=("score",), link="value")
    depth = 1 if port == "sequence" else _count(spec)
    return replace(spec, port=port, fields=depth, width=_cell_width(spec), rows=rows, tasks=(), link=None)


def adapt_module(spec: TensorSpec, port: Port) -> nn.Module:
    """Return the module that performs `adapt_spec`."""
    if spec.port == port:
        return nn.Identity()
    if port == "scores":
        return _Project(spec)
    if spec.index:
        return _IndexSteps()
    return {"vector": _ToVector, "fields": _ToFields, "sequence": _ToSequence, "table": _ToVector}[port](spec.port)


def masked_mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return float32 [A, E], the mean over the real steps of [A, L, E]; zeros for an empty row."""
    weights = mask.to(values.dtype).unsqueeze(-1)
    return (values * weights).sum(1) / weights.sum(1).clamp(min=1.0)


def _count(spec: TensorSpec) -> int:
    return spec.fields if spec.port == "fields" else 1


def _cell_width(spec: TensorSpec) -> int:
    return spec.width if spec.port != "scores" else len(spec.tasks) or spec.rows or 1


def _flat_width(spec: TensorSpec) -> int:
    return spec.fields * spec.width if spec.port == "fields" else _cell_width(spec)


class _ToVector(nn.Module):
    def __init__(self, port: Port) -> None:
        super().__init__()
        self.port = port

    def forward(self, value: torch.Tensor | Sequence) -> torch.Tensor:
        if isinstance(value, tuple):
            return masked_mean(*value)
        return value.flatten(1)


class _ToFields(_ToVector):
    def forward(self, value: torch.Tensor | Sequence) -> torch.Tensor:
        return super().forward(value).unsqueeze(1)


class _ToSequence(_ToVector):
    def forward(self, value: torch.Tensor | Sequence) -> Sequence:  # type: ignore[override]
        assert isinstance(value, torch.Tensor)
        steps = value if value.dim() == 3 else value.unsqueeze(1)
        return steps, torch.ones_like(steps[:, :, 0], dtype=torch.bool)


class _IndexSteps(nn.Module):
    def forward(self, value: torch.Tensor) -> Sequence:
        steps = value.unsqueeze(1)
        return steps, steps != 0


class _Project(nn.Module):
    def __init__(self, spec: TensorSpec) -> None:
        super().__init__()
        self.flatten = _ToVector(spec.port)
        self.weight = nn.Linear(_flat_width(spec), 1, bias=False)

    def forward(self, value: torch.Tensor | Sequence) -> torch.Tensor:
        projected: torch.Tensor = self.weight(self.flatten(value))
        return projected
