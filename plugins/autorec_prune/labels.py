"""Labels: tensors of numbers as large as what they are about, which take no memory along axes where they do not change."""

from __future__ import annotations

import torch

__all__ = ["Label", "even", "lean", "short", "varying", "wide"]

Label = torch.Tensor  # int64, stride 0 along axes where it does not change


def varying(label: Label) -> tuple[int, ...]:
    """Return the axes along which a label changes."""
    return tuple(axis for axis, (size, stride) in enumerate(zip(label.shape, label.stride(), strict=True)) if size > 1 and stride)


def short(label: Label) -> Label:
    """Return the label with one place along all axes where it does not change."""
    axes = varying(label)
    return label[tuple(slice(None) if axis in axes else slice(0, 1) for axis in range(label.dim()))]


def lean(label: Label) -> Label:
    """Return the label with stride 0 wherever it does not change."""
    found = short(label)
    for axis in varying(found):
        first = found.narrow(axis, 0, 1)
        if bool((found == first).all()):
            found = first
    return found.expand(label.shape)


def wide(label: Label, shape: torch.Size) -> Label:
    """Return the label broadcast to a shape."""
    return label.expand(shape)


def even(tensor: torch.Tensor, axes: set[int], count: int) -> bool:
    """Return whether a tensor, broadcast to `count` axes, has equal values along some of them; of a sparse one it is not asked."""
    if tensor.layout != torch.strided:
        return False
    own = [axis - count + tensor.dim() for axis in axes]
    return all(axis < 0 or tensor.shape[axis] == 1 or bool((tensor == tensor.narrow(axis, 0, 1)).all()) for axis in own)
