"""Zero-cost proxies: scores of an untrained network from one batch, larger is better."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from autorec_kernel.models import Network
from autorec_kernel.models.batches import Batch

__all__ = ["PROXIES", "code_kernel", "codes_of", "gradient_norm", "naswot", "snip", "synflow"]


def gradient_norm(network: Network, batch: Batch) -> float:
    """Return ln(1 + Σ_p ‖∂L/∂p‖₂) over the parameter tensors p (`grad_norm` of Abdelfattah et al. 2021, section 3.1)."""
    with _gradients(network, network.loss(batch)):
        return math.log1p(sum(float(value.grad.norm()) for value in _learned(network)))


def snip(network: Network, batch: Batch) -> float:
    """Return ln(1 + Σ_θ |∂L/∂θ · θ|) over all weights θ (Lee, Ajanthan and Torr 2019, equation 5; summed as in Abdelfattah et al. 2021)."""
    with _gradients(network, network.loss(batch)):
        return math.log1p(sum(float((value.detach() * value.grad).abs().sum()) for value in _learned(network)))


def synflow(network: Network, batch: Batch) -> float:
    """Return ln(1 + Σ_θ |∂R/∂θ · θ|), R the sum of the outputs of the network with |θ| for θ (Tanaka et al. 2020, equations 2 and 3).

    In the original the input is all ones and there is no data. Here rows are looked up, so ids are those of the batch; numbers are ones.
    The network has no activations but its own, and R is what the loss reads; where this is the loss alone, its size stands for it.
    """
    ones = {
        name: torch.ones_like(value) if value.is_floating_point() and not name.startswith("@") else value for name, value in batch.items()
    }
    with _positive(network):
        values = network(ones)
        names = network.loss_nodes if not network.tasks else tuple(network.architecture.outputs.values())
        with _gradients(network, sum((values[name].abs().sum() for name in names), start=torch.zeros(()))):
            return math.log1p(sum(float((value.detach() * value.grad).abs().sum()) for value in _learned(network)))


def naswot(network: Network, batch: Batch) -> float:
    """Return ln |det K| / N, K the kernel of the codes of the N rows (Mellor et al. 2021, section 3, equation 2).

    The code of a row there is which rectifiers are on. Here blocks differ too much for that, so a bit is the sign of a number that a node
    yields, over all nodes with one value a row. A small ridge on the diagonal keeps rows with one code from hiding all others.
    """
    with torch.no_grad():
        kernel = code_kernel(codes_of(network(batch), network, len(next(iter(batch.values())))))
    ridge = 1e-3 * torch.eye(len(kernel), dtype=torch.float64)
    return float(torch.linalg.slogdet(kernel + ridge)[1]) / len(kernel)


def code_kernel(codes: torch.Tensor) -> torch.Tensor:
    """Return float64 [N, N], the share of bits that two rows have in common: 1 minus their Hamming distance over the number of bits.

    Args:
        codes: bool [N, bits].
    """
    bits = codes.to(torch.float64)
    return (bits @ bits.T + (1 - bits) @ (1 - bits).T) / max(1, codes.shape[1])


def codes_of(values: Mapping[str, Any], network: Network, rows: int) -> torch.Tensor:
    """Return bool [rows, bits], the signs of what the nodes of a network yield for each row; sources are left out."""
    parts = [torch.ones(rows, 1, dtype=torch.bool)]
    for node in network.architecture.nodes:
        value = values.get(node.id)
        value = value[0] if isinstance(value, tuple) else value
        if not node.is_source and torch.is_tensor(value) and value.is_floating_point() and value.dim() and len(value) == rows:
            parts.append(value.reshape(rows, -1) > 0)
    return torch.cat(parts, 1)


def _learned(network: Network) -> Iterator[Any]:
    return (value for value in network.parameters() if value.grad is not None)


@contextmanager
def _gradients(network: Network, total: torch.Tensor) -> Iterator[None]:
    """Have the gradients of a number in the network for a while."""
    network.zero_grad(set_to_none=True)
    total.backward()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        network.zero_grad(set_to_none=True)


@contextmanager
def _positive(network: Network) -> Iterator[None]:
    """Have the sizes of all weights in place of the weights for a while."""
    before = [value.detach().clone() for value in network.parameters()]
    with torch.no_grad():
        for value in network.parameters():
            value.abs_()
    try:
        yield
    finally:
        with torch.no_grad():
            for value, old in zip(network.parameters(), before, strict=True):
                value.copy_(old)


PROXIES: Mapping[str, Callable[[Network, Batch], float]] = {
    "synflow": synflow,
    "naswot": naswot,
    "gradient-norm": gradient_norm,
    "snip": snip,
}
