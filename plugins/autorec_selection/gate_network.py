"""The network behind learned gates, and its training: hard concrete gates, embeddings, a factorization machine and a small network."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from autorec_kernel.search.tasks import threads_limited

__all__ = ["GateNetwork", "train_gates"]

_BETA, _LOW, _HIGH = 2.0 / 3.0, -0.1, 1.1  # temperature and stretch of Louizos et al. (2018), section 4
_CLOSED_AT = _BETA * math.log(-_LOW / _HIGH)
_HIDDEN = 32
_PASSES, _LEAST = 16, 100  # most passes over the rows, unless that were too few steps


class GateNetwork(torch.nn.Module):
    """Scores rows of codes; every feature's embedding is multiplied by its gate.

    Args:
        sizes: Number of codes of each reading.
        owner: The feature of each reading.
        generator: Draws the first weights and the gates.
    """

    def __init__(self, sizes: Sequence[int], owner: Sequence[int], width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.generator, self.features, self.width = generator, max(owner) + 1, width
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        self.starts = torch.as_tensor(starts, dtype=torch.int64)
        self.owner = torch.as_tensor(list(owner), dtype=torch.int64)
        self.table = self._weights(int(np.sum(sizes)), width, 0.1)
        self.linear = self._weights(int(np.sum(sizes)), 1, 0.01)
        self.first = self._weights(self.features * width, _HIDDEN, 1.0 / math.sqrt(self.features * width))
        self.shift = torch.nn.Parameter(torch.zeros(_HIDDEN))
        self.last = self._weights(_HIDDEN, 1, 1.0 / math.sqrt(_HIDDEN))
        self.bias = torch.nn.Parameter(torch.zeros(1))
        self.openness = torch.nn.Parameter(torch.full((self.features,), 1.0))

    def forward(self, codes: Tensor) -> Tensor:
        """Return float32 [B], logits or standardised values of codes int64 [B, V]."""
        gate = self.gates(len(codes))
        rows = codes + self.starts
        fields = self._of_features(self.table[rows]) * gate[:, :, None]
        alone = (self._of_features(self.linear[rows]) * gate[:, :, None]).sum((1, 2))
        pairs = 0.5 * (fields.sum(1).square() - fields.square().sum(1)).sum(1)
        hidden = torch.relu(fields.flatten(1) @ self.first + self.shift)
        return alone + pairs + (hidden @ self.last)[:, 0] + self.bias

    def gates(self, rows: int) -> Tensor:
        """Return float32 [rows, F] drawn gates: stretched sigmoids of noise around the openness, cut at 0 and 1 (equations 10 and 11)."""
        noise = torch.rand((rows, self.features), generator=self.generator).clamp(1e-6, 1 - 1e-6)
        soft = torch.sigmoid((noise.log() - (-noise).log1p() + self.openness) / _BETA)
        return (soft * (_HIGH - _LOW) + _LOW).clamp(0.0, 1.0)

    def odds(self) -> Tensor:
        """Return float32 [F], log odds that a gate is not 0 (equation 12)."""
        return self.openness - _CLOSED_AT

    def _of_features(self, values: Tensor) -> Tensor:
        found = values.new_zeros(len(values), self.features, values.shape[2])
        return found.index_add(1, self.owner, values)

    def _weights(self, rows: int, columns: int, scale: float) -> torch.nn.Parameter:
        return torch.nn.Parameter(torch.randn((rows, columns), generator=self.generator) * scale)


def train_gates(
    codes: np.ndarray,
    sizes: Sequence[int],
    owner: Sequence[int],
    labels: np.ndarray,
    link: str,
    rng: np.random.Generator,
    *,
    width: int,
    steps: int,
    batch: int,
    price: float,
) -> np.ndarray:
    """Return float64 [F], log odds that the gates are open after training on codes int [n, V], on one thread.

    Args:
        steps: At most; few rows are passed over sixteen times at most.
    """
    with threads_limited(1):
        generator = torch.Generator().manual_seed(int(rng.integers(2**31 - 1)))
        network = GateNetwork(sizes, owner, width, generator)
        inputs, truth = torch.as_tensor(codes, dtype=torch.int64), torch.as_tensor(labels, dtype=torch.float32)
        weights = [weight for name, weight in network.named_parameters() if name != "openness"]
        groups = [{"params": weights, "lr": 0.01}, {"params": [network.openness], "lr": 0.03}]
        optimiser = torch.optim.Adam(groups)
        codes_of = torch.zeros(network.features).index_add(0, network.owner, torch.as_tensor(list(sizes), dtype=torch.float32))
        share = price * (codes_of + width) / len(labels)
        steps = min(steps, max(_LEAST, _PASSES * len(labels) // batch))
        for step in range(steps):
            chosen = torch.randint(len(labels), (min(batch, len(labels)),), generator=generator)
            found = network(inputs[chosen])
            loss = _loss(found, truth[chosen], link) + min(1.0, 2 * step / steps) * (share * torch.sigmoid(network.odds())).sum()
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        return network.odds().detach().numpy().astype(np.float64)


def _loss(found: Tensor, truth: Tensor, link: str) -> Tensor:
    if link == "logit":
        return torch.nn.functional.binary_cross_entropy_with_logits(found, truth)
    return 0.5 * (found - truth).square().mean()
