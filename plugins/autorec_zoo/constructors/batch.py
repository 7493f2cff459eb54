"""Whether a batch is one that a network can read: its names, types and shapes, and the range of its ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from autorec_kernel.errors import DataError, UsageError
from autorec_kernel.models.sources import LABEL, NEGATIVES, TARGET
from autorec_kernel.records.features import Feature, FeatureSchema

__all__ = ["demand_names", "demand_values"]

_SHAPES = {"id": "[B]", "bag": "[B, W]", "history": "[B, L]"}


def demand_names(batch: Any, names: Iterable[str]) -> None:
    """Demand that a batch holds what is read of it.

    Raises:
        UsageError: It is no mapping, or a name is missing.
    """
    wanted = list(names)
    if not isinstance(batch, Mapping):
        raise UsageError(f"a batch maps names to tensors, got a {type(batch).__name__}", hint=f"give a dict with {wanted}")
    missing = [name for name in wanted if name not in batch]
    if missing:
        raise UsageError(f"the batch lacks {missing}", hint=f"it has {list(batch)}, and the network reads {wanted}")


def demand_values(batch: Mapping[str, Any], schema: FeatureSchema, *, steps: bool) -> None:
    """Demand that what a batch holds of the network's inputs is of the right kind; other entries are passed over.

    Args:
        steps: Whether histories have a target a step.

    Raises:
        UsageError: A value is no tensor, or of another type, shape or number of rows than the others.
        DataError: An id is out of range; there is one look at the values a call, which a device is waited for.
    """
    known = {feature.name: feature for feature in schema.features}
    sizes: dict[str, int] = {}
    rows: dict[str, tuple[int, ...]] = {}
    for name, value in batch.items():
        if name not in known and name not in (TARGET, NEGATIVES) and not name.startswith(LABEL):
            continue
        if not isinstance(value, torch.Tensor):
            raise UsageError(f"{name!r} must be a tensor, got a {type(value).__name__}")
        size = _kind(name, value, known.get(name), schema)
        sizes |= {name: size} if size else {}
        rows |= {name: tuple(value.shape)} if name != NEGATIVES else {}
    if len({shape[:1] for shape in rows.values()}) > 1:
        raise UsageError(f"the columns of a batch have different numbers of rows: { {name: shape[0] for name, shape in rows.items()} }")
    if steps and TARGET in rows:
        _demand_steps({name: shape for name, shape in rows.items() if name == TARGET or (name in known and known[name].kind == "history")})
    _demand_range(batch, sizes)


def _demand_steps(shapes: Mapping[str, tuple[int, ...]]) -> None:
    if len(set(shapes.values())) > 1:
        raise UsageError(f"every step of a history has a target, but their shapes differ: {dict(shapes)}")


def _kind(name: str, value: torch.Tensor, feature: Feature | None, schema: FeatureSchema) -> int:
    """Return how many ids there are for the values of an entry, 0 = they are no ids."""
    if name.startswith(LABEL) or (feature is not None and feature.kind == "numeric"):
        width = feature.width if feature is not None else 1
        fits = value.shape[1:] in ((width,), *([()] if width == 1 else [])) and value.dim() and (feature is not None or value.dim() == 1)
        if not fits or not value.is_floating_point() or value.dtype == torch.float64:
            _refuse(name, value, f"float32 [B{f', {width}' if width > 1 else ''}]")
        return 0
    integer = not (value.is_floating_point() or value.is_complex() or value.dtype == torch.bool)
    if feature is None:
        if not integer or not 1 <= value.dim() <= 3:
            _refuse(name, value, "int64 row numbers of items")
        return schema.items
    if not integer or value.dim() != _SHAPES[feature.kind].count(",") + 1:
        _refuse(name, value, f"int64 {_SHAPES[feature.kind]}")
    return feature.size


def _refuse(name: str, value: torch.Tensor, wanted: str) -> None:
    raise UsageError(f"{name!r} must be {wanted}, got {str(value.dtype).removeprefix('torch.')} {list(value.shape)}")


def _demand_range(batch: Mapping[str, torch.Tensor], sizes: Mapping[str, int]) -> None:
    ids = {name: batch[name] for name in sizes if batch[name].numel() and batch[name].device.type != "meta"}
    if not ids:
        return
    ends = torch.stack([torch.stack(value.aminmax()).long() for value in ids.values()]).tolist()
    for name, (low, high) in zip(ids, ends, strict=True):
        if low < 0 or high >= sizes[name]:
            wrong = low if low < 0 else high
            hint = "count values from 1, and give 0 for one that is not known"
            raise DataError(f"column {name!r} holds {wrong}: its ids run from 0 (unknown) to {sizes[name] - 1}", hint=hint)
