"""`Bank`: the weights that all candidates of a supernet share, by the place of a node, its block and the leading slices for its sizes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch

from autorec_kernel.models import Network

__all__ = ["Bank", "Place", "places"]

_BETAS, _EPSILON = (0.9, 0.999), 1e-8
_RUNNING = {"running_mean", "running_var", "mean", "variance"}  # what batch normalisation and dice remember


@dataclass(frozen=True, slots=True)
class Place:
    """A tensor of a network that is shared.

    Args:
        key: Equal for tensors of all candidates that share their numbers.
        value: A view: writing into it changes the network.
        gradient: Of the same shape; None where the last step has not used it.
        learns: Whether gradients change it, rather than the forward pass.
    """

    key: str
    value: torch.Tensor
    gradient: torch.Tensor | None = None
    learns: bool = True


@dataclass(slots=True)
class _Entry:
    """One shared tensor, as large as any candidate has needed it, with the moments of its gradient."""

    weight: torch.Tensor
    mean: torch.Tensor
    square: torch.Tensor
    steps: int = 0


@dataclass(slots=True)
class Bank:
    """Weights of all candidates.

    A candidate takes the leading slice of every tensor that has its key: columns of embedding tables, rows and columns of layers (as the
    slimmable networks of Yu et al. 2019 do). What no candidate has had before keeps the initial weights of the first one that has it.
    """

    entries: dict[str, _Entry] = field(default_factory=dict)

    def lend(self, network: Network, *, grow: bool = False) -> float:
        """Write the shared weights into a network; return the share of its numbers that come from here.

        Args:
            grow: Whether what is missing, or too small, is taken over from the network first.
        """
        known, total = 0, 0
        for place in places(network):
            if grow:
                self._grow(place)
            total += place.value.numel()
            entry = self.entries.get(place.key)
            if entry is not None:
                part = tuple(slice(0, min(pair)) for pair in zip(entry.weight.shape, place.value.shape, strict=True))
                place.value[part] = entry.weight[part]
                known += place.value[part].numel()
        return known / max(1, total)

    def _grow(self, place: Place) -> None:
        entry, shape = self.entries.get(place.key), tuple(place.value.shape)
        if entry is not None:
            shape = tuple(max(pair) for pair in zip(entry.weight.shape, shape, strict=True))
            if shape == tuple(entry.weight.shape):
                return
        grown = _Entry(torch.zeros(shape), torch.zeros(shape), torch.zeros(shape), 0 if entry is None else entry.steps)
        grown.weight[_slices(place.value)] = place.value
        if entry is not None:
            for old, new in ((entry.weight, grown.weight), (entry.mean, grown.mean), (entry.square, grown.square)):
                new[_slices(old)] = old
        self.entries[place.key] = grown

    def learn(self, network: Network, rate: float, decay: float) -> None:
        """Make one step of AdamW (Loshchilov and Hutter 2019, algorithm 2) with the gradients of a network, in its slices alone."""
        for place in places(network):
            entry, part = self.entries[place.key], _slices(place.value)
            if not place.learns:
                entry.weight[part] = place.value
            if place.gradient is None or not place.learns:
                continue
            entry.steps += 1
            mean, square = entry.mean[part], entry.square[part]
            mean.mul_(_BETAS[0]).add_(place.gradient, alpha=1 - _BETAS[0])
            square.mul_(_BETAS[1]).addcmul_(place.gradient, place.gradient, value=1 - _BETAS[1])
            first, second = (1 - beta**entry.steps for beta in _BETAS)
            update = (mean / first) / ((square / second).sqrt_().add_(_EPSILON))
            entry.weight[part].mul_(1 - rate * decay).sub_(update, alpha=rate)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return key → weight."""
        return {key: entry.weight for key, entry in self.entries.items()}

    @classmethod
    def of(cls, tensors: Mapping[str, torch.Tensor]) -> Bank:
        """Return a bank that lends, and learns no more."""
        nothing = torch.zeros(0)
        return cls({key: _Entry(weight, nothing, nothing) for key, weight in tensors.items()})


def _slices(value: torch.Tensor) -> tuple[slice, ...]:
    return tuple(slice(0, size) for size in value.shape)


def places(network: Network) -> Iterator[Place]:
    """Yield everything of a network that is shared.

    A table goes by its vocabulary, those of width 1 apart from wider ones; any other tensor by the block of its node, the blocks that the
    node reads, its number among such nodes, and its own name and number of dimensions.
    """
    for store in network.embedding_stores():
        kind = "weights" if store.weight.shape[1] == 1 else "table"
        whole, gradient = store.weight.detach(), store.weight.grad
        for name, (start, size) in store.ranges.items():
            rows = slice(start, start + size)
            yield Place(f"{kind}/{name}", whole[rows], None if gradient is None else gradient[rows])
    blocks = {node.id: node.block for node in network.architecture.nodes}
    counts: Counter[str] = Counter()
    for node in network.architecture.nodes:
        if node.is_source or node.shares:
            continue
        word = f"{node.block}({','.join(blocks[name.lstrip('~')] for name in node.inputs)})"
        counts[word] += 1
        yield from _tensors(network.part(node.id), f"{word}.{counts[word]}")
    yield from _tensors(network.adapters, "adapters")


def _tensors(module: torch.nn.Module, word: str) -> Iterator[Place]:
    for name, tensor in module.named_parameters():
        yield Place(f"{word}/{name}.{tensor.dim()}", tensor.detach(), tensor.grad)
    for name, buffer in module.named_buffers():
        if name.rpartition(".")[2] in _RUNNING:
            yield Place(f"{word}/{name}.{buffer.dim()}", buffer, None, False)
