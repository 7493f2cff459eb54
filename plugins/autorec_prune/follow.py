"""Follows the coordinates of a network's tensors through every operator while it answers a few rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from autorec_prune.coordinates import FIXED, Coordinates
from autorec_prune.labels import Label, even, lean, short, varying, wide
from autorec_prune.products import Products

__all__ = ["follow"]

_LONGEST = 16_384  # an axis beyond it is one of rows, and stays
_SAME = "add sub mul div neg exp log sqrt rsqrt pow sigmoid tanh relu gelu silu leaky_relu elu softplus clamp clamp_min clamp_max where"
_SAME += " masked_fill abs square maximum minimum erf threshold addcmul addcdiv lerp _softmax _log_softmax prelu _prelu_kernel hardtanh"
_SAME += " reciprocal sin cos native_dropout eq ne lt le gt ge logical_and logical_or logical_not bitwise_and bitwise_not rsub log1p"
_MOVED = "view _unsafe_view reshape t transpose permute expand unsqueeze squeeze select slice split split_with_sizes unbind chunk"
_MOVED += " unsafe_chunk unsafe_split unsafe_split_with_sizes narrow alias detach clone contiguous _to_copy lift_fresh"
_READ = "index index_select gather take_along_dim"
_SUMMED = "sum mean amax amin var std norm linalg_vector_norm logsumexp any all"
_KINDS = {
    name: kind for kind, names in (("same", _SAME), ("moved", _MOVED), ("read", _READ), ("summed", _SUMMED)) for name in names.split()
}
_KINDS |= {name: "product" for name in ("mm", "bmm", "mv", "dot", "addmm", "baddbmm", "addmv")}
_PIECES = ("select", "slice", "split", "unbind", "chunk", "unsafe", "narrow")
_FRESH = ("new_", "zeros_like", "ones_like", "full_like", "empty_like", "_has_")  # tensors of a tensor's shape, without its values
_KEPT = ("alias", "detach", "clone", "contiguous", "_to_copy", "lift_fresh")


def follow(tensors: Mapping[str, torch.Tensor], answer: Callable[[], Sequence[torch.Tensor]]) -> Coordinates:
    """Return the coordinates of a network's tensors.

    Coordinates are put together where operators add, multiply or sum over them, so that changing their order changes no answer. An operator
    that is not known, or one that tells them apart (an index, a constant that differs from one to the next), fixes what it reads.

    Args:
        tensors: Name → parameter or buffer, the very objects that the network reads.
        answer: Runs the network and returns what it says, of which nothing can go.
    """
    found = Coordinates()
    watch = _Watch(found, tensors)
    with torch.no_grad(), watch:
        said = answer()
    watch.fix(label for one in said for label in watch.of(one))
    return found


class _Watch(Products):  # type: ignore[no-untyped-call]
    """Labels what comes out of every operator."""

    def __init__(self, found: Coordinates, tensors: Mapping[str, torch.Tensor]) -> None:
        super().__init__(found)
        self.names = {id(tensor): name for name, tensor in tensors.items()}
        for name, tensor in tensors.items():
            axes = [axis for axis, count in enumerate(tensor.shape) if 1 < count <= _LONGEST]
            self.labels[id(tensor)] = (tensor, [self._named(name, tensor, axis) for axis in axes])

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator and label its results."""
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        given = list(_tensors((args, kwargs)))
        self.found.seen.update(self.names[id(one)] for one in given if id(one) in self.names)
        if any(self.of(one) for one in given):
            self._rule(func._schema.name.partition("::")[2].rstrip("_"), func, args, kwargs, given, out)
        return out

    def _named(self, name: str, tensor: torch.Tensor, axis: int) -> Label:
        numbers = torch.from_numpy(self.found.name((name, axis), tensor.shape[axis]))
        return numbers.view([-1 if place == axis else 1 for place in range(tensor.dim())]).expand(tensor.shape)

    def _rule(self, name: str, func: Any, args: Any, kwargs: Any, given: list[torch.Tensor], out: Any) -> None:
        match _KINDS.get(name, name):
            case "same" | "native_layer_norm":
                first = out[0] if isinstance(out, tuple) else out
                self.put(first, self.together(given, first.shape))
            case "moved":
                self._moved(name, func, args, kwargs, out)
            case "read":
                self._read(func, args, kwargs, out)
            case "summed":
                self._summed(name, args, kwargs, out)
            case "copy":
                self.put(out, [wide(label, out.shape) for label in self.of(args[1])])
            case "cumsum":
                self._added_up(args, out)
            case "cat" | "stack":
                self._joined(name, args, kwargs, out)
            case "embedding" | "_embedding_bag" | "_embedding_bag_forward_only":
                self._looked_up(args, out[0] if isinstance(out, tuple) else out)
            case "constant_pad_nd":
                self._padded(args, out)
            case "convolution" if not args[6] and args[8] == 1:
                self.convolved(args, out)
            case _ if name.startswith(_FRESH):
                pass
            case "product":
                self.product(args[-2], args[-1], args[:-2], out)
            case "linear":
                self.product(args[0], args[1], args[2:], out, turned=True)
            case _ if name.startswith("_scaled_dot_product"):
                self.attended(args, out[0] if isinstance(out, tuple) else out)
            case _:
                self.found.strange.add(name)
                self.fix(label for one in given for label in self.of(one))

    def _added_up(self, args: Any, out: torch.Tensor) -> None:
        """A running sum tells the places along its axis apart."""
        self.fix(label for label in self.of(args[0]) if args[1] % out.dim() in varying(label))
        self.put(out, self.of(args[0]))

    def _looked_up(self, args: Any, out: torch.Tensor) -> None:
        """Rows are read by their numbers, columns stay what they are."""
        self.fix(label for label in self.of(args[0]) if 0 in varying(label))
        self.put(out, [label[0].expand(out.shape) for label in self.of(args[0]) if 0 not in varying(label)])

    def _moved(self, name: str, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        """Move the labels as the values were moved; what is taken apart is noted."""
        outs = list(out) if isinstance(out, (list, tuple)) else [out]
        moved: list[list[Label]] = [[] for _ in outs]
        for label in self.of(args[0]):
            if name in _KEPT:
                found = [label]
            elif name in ("view", "_unsafe_view"):
                found = [label.reshape(outs[0].shape)]
            else:
                result = func(label, *args[1:], **kwargs)
                found = list(result) if isinstance(result, (list, tuple)) else [result]
            found = [lean(one) for one in found]
            self._apart(label, found, pieces=name.startswith(_PIECES))
            for labels, one in zip(moved, found, strict=True):
                labels.append(one)
        for one, labels in zip(outs, moved, strict=True):
            self.put(one, labels)

    def _apart(self, label: Label, found: list[Label], *, pieces: bool) -> None:
        """Note parts that one axis fell into: pieces that were cut off, and rows of an axis that became several."""
        whole = len(np.unique(short(label).numpy()))
        for one in found:
            numbers = short(one).numpy()
            if pieces and 0 < len(np.unique(numbers)) < whole:
                self.found.part(numbers)
            if len(varying(one)) > max(1, len(varying(label))):
                for row in numbers.reshape(-1, numbers.shape[max(varying(one))]):
                    self.found.part(row)

    def _read(self, func: Any, args: Any, kwargs: Any, out: torch.Tensor) -> None:
        """Rows are read by their numbers; along such an axis nothing can go."""
        axes = {args[1] % args[0].dim()} if isinstance(args[1], int) else set(_indexed(args[1]))
        self.fix(label for label in self.of(args[0]) if axes & {*varying(label)})
        self.put(out, [func(label, *args[1:], **kwargs) for label in self.of(args[0]) if not axes & {*varying(label)}])

    def _summed(self, name: str, args: Any, kwargs: Any, out: torch.Tensor) -> None:
        """A sum over coordinates is the same in every order: what is summed has no number left."""
        place, count = 2 if "norm" in name else 1, args[0].dim()
        dims = kwargs.get("dim", args[place] if len(args) > place else None)
        axes = {*range(count)} if dims is None or dims == [] else {dim % count for dim in ([dims] if isinstance(dims, int) else dims)}
        left: slice | int = slice(0, 1) if out.dim() == count else 0
        at = tuple(left if axis in axes else slice(None) for axis in range(count))
        self.put(out, [label[at] for label in self.of(args[0]) if not axes & {*varying(label)}])

    def _joined(self, name: str, args: Any, kwargs: Any, out: torch.Tensor) -> None:
        """Side by side every part keeps its numbers, and what has none is fixed; along other axes the parts are put together."""
        dim = (args[1] if len(args) > 1 else kwargs.get("dim", 0)) % out.dim()
        labels = [self.of(one) if name == "cat" else [label.unsqueeze(dim) for label in self.of(one)] for one in args[0]]
        values = [one if name == "cat" else one.unsqueeze(dim) for one in args[0]]
        along = [next((label for label in own if dim in varying(label)), None) for own in labels]
        beside = []
        if any(label is not None for label in along):
            none = [torch.full((), FIXED).expand(value.shape) for value in values]
            beside = [torch.cat([other if label is None else label for label, other in zip(along, none, strict=True)], dim)]
        others: list[Label] = []
        for own in labels:
            for label in (one.narrow(dim, 0, 1).expand(out.shape) for one in own if dim not in varying(one)):
                near = next((other for other in others if {*varying(other)} & {*varying(label)}), None)
                others += [label] if near is None else []
                self.unite(label if near is None else near, label)
        for value, own in zip(values, labels, strict=True):
            missing = [label for label in others if not any({*varying(label)} & {*varying(one)} for one in own)]
            self.fix(label for label in missing if not even(value, {*varying(label)}, out.dim()))
        self.put(out, [*beside, *others])

    def _padded(self, args: Any, out: torch.Tensor) -> None:
        """What is put beside coordinates is fixed."""
        found, sides = [], list(zip(args[1][::2], args[1][1::2], strict=True))  # from the last axis
        for label in self.of(args[0]):
            wider = {label.dim() - 1 - place for place, side in enumerate(sides) if any(side)}
            if wider & {*varying(label)}:
                found.append(torch.constant_pad_nd(label, args[1], FIXED))
            else:
                found.append(label[tuple(slice(0, 1) if axis in wider else slice(None) for axis in range(label.dim()))].expand(out.shape))
        self.put(out, found)


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _tensors(one)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


def _indexed(index: Sequence[torch.Tensor | None]) -> Iterator[int]:
    """Yield the axes that an index reads rows of; a mask reads as many as it has."""
    axis = 0
    for one in index:
        wide = 1 if one is None or one.dtype != torch.bool else one.dim()
        yield from range(axis, axis + wide) if one is not None else ()
        axis += wide
