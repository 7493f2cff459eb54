"""Training of a supernet: a random candidate for every batch (single paths, uniformly sampled)."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from autorec_kernel.contracts.evaluator import EvaluationContext
from autorec_kernel.errors import AutoRecError
from autorec_kernel.models import Network
from autorec_kernel.models.batches import Batch
from autorec_kernel.models.batching import batches_for
from autorec_kernel.search.genes import decode
from autorec_kernel.space import SearchSpace
from autorec_supernet.bank import Bank
from autorec_supernet.delegate import fresh, seed_for

__all__ = ["Feed", "PathSettings", "trained_bank"]

_DRAW, _ORDER, _NOISE = 201, 202, 203
_TRIES = 50
_OPEN = 6  # runs through the rows that are kept at a time: each holds columns in memory


@dataclass(frozen=True, slots=True)
class PathSettings:
    """How a supernet is trained; the rate falls along a line to 0."""

    steps: int
    learning_rate: float
    weight_decay: float
    batch_size: int
    id_dropout: float
    clip_norm: float = 5.0


@dataclass(slots=True)
class Feed:
    """Batches for networks that change from step to step: those that read the same share one run through the rows."""

    context: EvaluationContext
    size: int
    id_dropout: float
    rng: np.random.Generator
    _open: dict[str, tuple[Any, Iterator[Batch]]] = field(default_factory=dict)

    def next(self, network: Network) -> Batch:
        """Return the next batch for a network."""
        key = self._key(network)
        if key not in self._open:
            source = batches_for(network, self.context.features, self.size, "cpu", self.id_dropout)
            self._open[key] = source, iter(())
        source, running = self._open[key] = self._open.pop(key)  # the last one used goes last
        if len(self._open) > _OPEN:
            del self._open[next(iter(self._open))]
        for batch in running:
            return batch
        self._open[key] = source, source.epoch(self.rng)
        return next(self._open[key][1])

    def _key(self, network: Network) -> str:
        graph = network.architecture
        drawn = [dict(node.config) for node in graph.nodes if node.block == "@negatives"]
        return repr([network.training_inputs, network.tasks, sorted(network.lengths.items()), graph.batching, drawn])


def trained_bank(space: SearchSpace, context: EvaluationContext, settings: PathSettings) -> tuple[Bank, int]:
    """Train shared weights: every step draws a candidate of the space uniformly, and one batch (Guo et al. 2020, section 3.2).

    Returns:
        The weights, and how many steps there was time for; no step where nothing of the space learns by gradient.
    """
    bank, rng = Bank(), np.random.default_rng(seed_for(context, _DRAW))
    feed = Feed(context, settings.batch_size, settings.id_dropout, np.random.default_rng(seed_for(context, _ORDER)))
    taken = 0
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(seed_for(context, _NOISE).generate_state(1)[0]))
        for step in range(settings.steps):
            network = _path(space, context, rng)
            if network is None or (context.deadline is not None and time.monotonic() > context.deadline):
                break
            bank.lend(network, grow=True)
            if _gradients(network, feed.next(network), settings.clip_norm):
                bank.learn(network, settings.learning_rate * (1 - step / settings.steps), settings.weight_decay)
            taken += 1
    return bank, taken


def _path(space: SearchSpace, context: EvaluationContext, rng: np.random.Generator) -> Network | None:
    """Return a random candidate that learns by gradient."""
    for _ in range(_TRIES):
        genotype, seed = space.sample(rng), int(rng.integers(2**31))
        try:
            network = fresh(decode(genotype, context.features.schema, context.kernel), context, seed)
        except AutoRecError:
            continue
        if network.trainable:
            return network
    return None


def _gradients(network: Network, batch: Batch, limit: float) -> bool:
    """Compute the gradients of one batch, their norm cut to `limit`; return whether they are finite."""
    network.train()
    loss = network.loss(batch)
    if not math.isfinite(float(loss.detach())):
        return False
    loss.backward()  # type: ignore[no-untyped-call]
    return math.isfinite(float(torch.nn.utils.clip_grad_norm_(network.parameters(), limit)))
