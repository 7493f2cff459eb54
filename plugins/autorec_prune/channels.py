"""Modules that treat each unit of a layer by itself: they shrink with the units, whoever wrote them."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn
from torch_pruning.pruner.function import BasePruningFunc

__all__ = ["Channels", "is_by_unit", "of_units"]

_ROWS, _TOLERANCE = 4, 1e-6


class Channels(BasePruningFunc):  # type: ignore[misc]
    """Tells torch-pruning how a module with one number a unit shrinks: every parameter and buffer float [width] loses the same places."""

    def prune_out_channels(self, layer: nn.Module, idxs: Sequence[int]) -> nn.Module:
        """Drop the units `idxs` in place."""
        width = _width(layer)
        gone = set(idxs)
        _keep(layer, [place for place in range(width) if place not in gone], width)
        return layer

    prune_in_channels = prune_out_channels  # one number in, one number out

    def get_out_channels(self, layer: nn.Module) -> int:
        """Return how many units the module is made for."""
        return _width(layer)

    get_in_channels = get_out_channels


def of_units(layer: nn.Module) -> bool:
    """Return whether a module without parts holds vectors of one length, more than one number long: what `Channels` shrinks."""
    return not any(layer.children()) and _width(layer) > 1


def is_by_unit(layer: nn.Module, width: int) -> bool:
    """Return whether a module answers for each of `width` units from that unit alone.

    It is asked, in evaluation mode: with every other unit left out of the input and of its vectors, those left must get the same answer.
    """
    probe = copy.deepcopy(layer).eval()
    values = torch.linspace(-2.0, 2.0, _ROWS * width).view(_ROWS, width).sin()
    kept = list(range(0, width, 2))
    with torch.no_grad():
        try:
            whole = probe(values)[:, kept]
            if of_units(probe):
                _keep(probe, kept, _width(probe))
            part = probe(values[:, kept])
        except (RuntimeError, IndexError, TypeError, ValueError):
            return False
    return whole.shape == part.shape and torch.allclose(whole, part, atol=_TOLERANCE)


def _width(layer: nn.Module) -> int:
    """Return the one length of a module's vectors, 0 where there are none or several."""
    lengths = {value.shape[0] for value in (*layer.parameters(), *layer.buffers()) if value.dim() == 1}
    return lengths.pop() if len(lengths) == 1 else 0


def _keep(layer: nn.Module, kept: list[int], width: int) -> None:
    for name, value in [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]:
        if value.shape != (width,):
            continue
        left = value.detach()[kept].clone()
        if isinstance(value, nn.Parameter):
            setattr(layer, name, nn.Parameter(left, requires_grad=value.requires_grad))
        else:
            layer._buffers[name] = left
