"""Session-parallel batches: every slot walks through one session after the other (Hidasi et al. 2016, section 3.1.1)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from autorec_kernel.errors import ContractError
from autorec_kernel.models.batches import Batch, negatives_of, to_tensors
from autorec_kernel.models.memory import RESET
from autorec_kernel.models.sources import NEGATIVES, TARGET

if TYPE_CHECKING:
    from autorec_kernel.features import FeatureSet
    from autorec_kernel.models.network import Network

__all__ = ["SessionBatches"]


class SessionBatches:
    """Slots in parallel; each batch holds the next `steps` transitions of every slot's session, one session being one user's history.

    A slot whose session ends goes on with the next one in the following batch, which says so in `@reset`. A session's last batch is
    padded on the right; slots that have no session left hold padding alone.

    Args:
        network: Its `@history` source names the input; `steps` of its config (1) is how many transitions a batch holds.
        features: The events.
        size: Slots, at most one a session.
        device: Where the tensors go.
    """

    def __init__(self, network: Network, features: FeatureSet, size: int, device: str = "cpu") -> None:
        sources = [node for node in network.architecture.nodes if node.block == "@history"]
        if len(sources) != 1:
            raise ContractError(f"session batching needs one @history source, the graph has {len(sources)}")
        self.network, self.features, self.device = network, features, device
        self.name, self.steps = str(sources[0].config["columns"][0]), int(sources[0].config.get("steps", 1))
        events = features.interactions
        self.sessions = np.flatnonzero(np.diff(events.offsets) > 1)
        self.starts, self.ends = events.offsets[self.sessions], events.offsets[self.sessions + 1] - 1  # of the inputs
        self.slots = max(1, min(size, len(self.sessions)))

    def __len__(self) -> int:
        parts = -(-(self.ends - self.starts) // self.steps)
        return int(max(-(-parts.sum() // self.slots), parts.max(initial=0)))

    def epoch(self, rng: np.random.Generator) -> Iterator[Batch]:
        """Yield every transition once, sessions in an order drawn from `rng`."""
        order = rng.permutation(len(self.sessions))
        waiting = iter(order[self.slots :])
        at, end = self.starts[order[: self.slots]].copy(), self.ends[order[: self.slots]].copy()
        reset = np.ones(len(at), bool)
        while (at < end).any():
            yield self._batch(at, end, reset, rng)
            at += self.steps
            reset = at >= end
            for slot, session in zip(np.flatnonzero(reset), waiting, strict=False):
                at[slot], end[slot] = self.starts[session], self.ends[session]

    def _batch(self, at: np.ndarray, end: np.ndarray, reset: np.ndarray, rng: np.random.Generator) -> Batch:
        place = at[:, None] + np.arange(self.steps)
        real, last = place < end[:, None], len(self.features.interactions.items) - 1
        items = self.features.interactions.items
        batch = {self.name: np.where(real, items[np.minimum(place, last)], 0), RESET: reset.copy()}
        if TARGET in self.network.training_inputs:
            batch[TARGET] = np.where(real, items[np.minimum(place + 1, last)], 0)
        if NEGATIVES in self.network.training_inputs:
            config = negatives_of(self.network)
            batch[NEGATIVES] = rng.integers(1, self.features.schema.items, int(config.get("count", 1)))
        return to_tensors(batch, self.device)
