"""Rules of operators that sum over coordinates: products of matrices, attention, convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from autorec_prune.labels import Label, even, short, varying
from autorec_prune.watch import Watch

__all__ = ["Products"]


class Products(Watch):
    """Labels of what operators sum over are put together."""

    def product(self, first: torch.Tensor, second: torch.Tensor, added: Sequence[Any], out: torch.Tensor, *, turned: bool = False) -> None:
        """What is summed over in a product of matrices is put together; the other axes of both keep their numbers."""
        lefts, rights = self.of(first), [label.t() for label in self.of(second)] if turned else self.of(second)
        over = (first.dim() - 1, max(0, (second.dim() - 2)))
        kept = self._contracted((first, lefts, over[0]), (second.t() if turned else second, rights, over[1]))
        shape = out.shape
        rows = [label.narrow(over[0], 0, 1).expand(shape) if second.dim() > 1 else label[..., 0] for label in kept[0]]
        columns = [label.narrow(over[1], 0, 1).expand(shape) for label in kept[1]] if second.dim() > 1 else []
        self.put(out, self.together([one for one in added if isinstance(one, torch.Tensor)], shape, [*rows, *columns]))

    def convolved(self, args: Any, out: torch.Tensor) -> None:
        """Channels are summed over as columns are in a product; places stay apart."""
        values, weight, bias = args[:3]
        flat = [label for label in self.of(values) if varying(label) == (1,)]
        self.fix(label for label in (*self.of(values), *self.of(weight)) if {*varying(label)} - {0, 1} or len(varying(label)) > 1)
        inner = [label for label in self.of(weight) if varying(label) == (1,)]
        if len(flat) == len(inner) == 1:
            self.found.unite(short(flat[0]).numpy().ravel(), short(inner[0]).numpy().ravel())
        else:
            self.fix([*flat, *inner])
        rows = [
            short(label).view(1, -1, *(1 for _ in out.shape[2:])).expand(out.shape) for label in self.of(weight) if varying(label) == (0,)
        ]
        offsets = self.of(bias) if isinstance(bias, torch.Tensor) else []
        for row in rows:
            for offset in offsets:
                self.found.unite(short(row).numpy().ravel(), offset.numpy())
        self.put(out, rows)

    def _contracted(self, left: Any, right: Any) -> tuple[list[Label], list[Label]]:
        """Put together what two operands are summed over; return the labels that are left of each."""
        over = [[label for label in labels if axis in varying(label)] for _, labels, axis in (left, right)]
        kept = [[label for label in labels if axis not in varying(label)] for _, labels, axis in (left, right)]
        sides = [
            [self._alone(label, axis, batched=tensor.dim() == 3) for label in labels]
            for (tensor, _, axis), labels in zip((left, right), over, strict=True)
        ]
        for (tensor, _, axis), own, other in ((left, *over), (right, *over[::-1])):
            if not own and other and not even(tensor, {axis}, tensor.dim()):
                self.fix(other)
        for one in sides[0]:
            for other in sides[1]:
                if one is not None and other is not None:
                    pair = torch.broadcast_tensors(one, other)  # type: ignore[no-untyped-call]
                    self.found.unite(pair[0].numpy(), pair[1].numpy())
        return kept[0], kept[1]

    def _alone(self, label: Label, axis: int, *, batched: bool) -> Label | None:
        """Return int64 [batch or 1, K] of a label along an axis that is summed over; None, and it is fixed, where another changes it."""
        allowed = {axis, 0} if batched else {axis}
        if not {*varying(label)} <= allowed:
            self.fix([label])
            return None
        numbers = short(label)
        return numbers.reshape(numbers.shape[0] if batched and axis != 0 else 1, -1)

    def attended(self, args: Any, out: torch.Tensor) -> None:
        """Queries and keys are summed over their last axis; values keep theirs."""
        query, key, value = args[:3]
        for one in self.of(query):
            for other in self.of(key):
                shape = (*one.shape[:2], 1, one.shape[-1])
                if 2 in varying(one) or 2 in varying(other):
                    self.fix([one, other])
                else:
                    self.unite(one.narrow(2, 0, 1).expand(shape), other.narrow(2, 0, 1).expand(shape))
        if bool(self.of(query)) != bool(self.of(key)):
            self.fix([*self.of(query), *self.of(key)])
        self.fix(label for label in self.of(value) if 2 in varying(label))
        self.put(out, [label.narrow(2, 0, 1).expand(out.shape) for label in self.of(value)])
