"""What every rule for an operator needs: to read, to write and to join the labels of tensors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from autorec_prune.coordinates import Coordinates
from autorec_prune.labels import Label, even, lean, short, varying, wide

__all__ = ["Watch"]


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Labels of the tensors that a network makes while it runs.

    Args:
        found: Where it is written down which numbers belong together.
    """

    def __init__(self, found: Coordinates) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found = found
        self.labels: dict[int, tuple[torch.Tensor, list[Label]]] = {}  # with the tensor, whose id is its own while it lives

    def of(self, tensor: torch.Tensor) -> list[Label]:
        """Return the labels of a tensor, one for each set of axes that has numbers."""
        known = self.labels.get(id(tensor))
        return known[1] if known is not None else []

    def put(self, tensor: torch.Tensor, labels: Iterable[Label]) -> None:
        """Label a tensor."""
        self.labels[id(tensor)] = (tensor, [label for label in map(lean, labels) if varying(label)])

    def fix(self, labels: Iterable[Label]) -> None:
        """Let nothing go of what labels are about."""
        for label in labels:
            self.found.fix(np.unique(short(label).numpy()))

    def unite(self, first: Label, second: Label) -> None:
        """Put the numbers of two labels of one shape together, place by place."""
        axes = {*varying(first), *varying(second)}
        kept = tuple(slice(None) if axis in axes else slice(0, 1) for axis in range(first.dim()))
        self.found.unite(first[kept].numpy(), second[kept].numpy())

    def together(self, given: Sequence[torch.Tensor], shape: torch.Size, known: Sequence[Label] = ()) -> list[Label]:
        """Return the labels of what is computed place by place from tensors that are broadcast to a shape."""
        found = list(known)
        every = [[wide(label, shape) for label in self.of(one)] for one in given]
        for label in (label for labels in every for label in labels):
            near = next((at for at, other in enumerate(found) if {*varying(other)} & {*varying(label)}), None)
            if near is None:
                found.append(label)
                continue
            self.unite(found[near], label)
            found[near] = max((found[near], label), key=lambda one: len(varying(one)))
        for one, labels in zip(given, every, strict=True):
            for label in found:
                axes = {*varying(label)}
                if not any(axes & {*varying(own)} for own in labels) and not even(one, axes, len(shape)):
                    self.fix([label])
        return found
