"""Batches made of whole users or whole items: autoencoders see one entity with all its events a row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from autorec_kernel.models.batches import Batch, negatives_of, to_tensors
from autorec_kernel.models.entities import Entities
from autorec_kernel.models.sources import NEGATIVES, TARGET
from autorec_kernel.records.as_of import gather_last

if TYPE_CHECKING:
    from autorec_kernel.features import FeatureSet
    from autorec_kernel.models.network import Network

__all__ = ["EntityBatches"]


class EntityBatches:
    """Every user (or item) with at least one training event, once an epoch.

    A batch holds what the graph reads of the entity axis (`@user:…`, `@item:…`), of users their history, and as `@target` the items of
    that history.

    Args:
        network: `batching` of its architecture says which entities.
        features: The events.
        size: Entities a batch.
        device: Where the tensors go.
    """

    def __init__(self, network: Network, features: FeatureSet, size: int, device: str = "cpu") -> None:
        self.network, self.features, self.size, self.device = network, features, size, device
        self.axis = network.architecture.batching
        self.entities = Entities(features)
        events = features.interactions
        counts = np.diff(events.offsets) if self.axis == "user" else np.bincount(events.items, minlength=events.item_count)
        self.rows = np.flatnonzero(counts > 0)
        self.names = [name for name in network.training_inputs if name.startswith(f"@{self.axis}:")]
        self.plain = [name for name in network.training_inputs if not name.startswith("@") and name not in network.lengths]

    def __len__(self) -> int:
        return -(-len(self.rows) // self.size)

    def epoch(self, rng: np.random.Generator) -> Iterator[Batch]:
        """Yield every entity once, in an order drawn from `rng`."""
        order = rng.permutation(self.rows)
        for start in range(0, len(order), self.size):
            yield to_tensors(self._batch(order[start : start + self.size], rng), self.device)

    def _batch(self, rows: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
        batch = self.entities.inputs(self.names, rows)
        if self.axis == "user":
            batch |= self.features.state().inputs(self.plain, users=rows)
            wanted = {**self.network.lengths, **({TARGET: 0} if TARGET in self.network.training_inputs else {})}
            read = {length: self._histories(rows, length) for length in set(wanted.values())}
            batch |= {name: read[length] for name, length in wanted.items()}
        if NEGATIVES in self.network.training_inputs:
            batch[NEGATIVES] = rng.integers(1, self.features.schema.items, int(negatives_of(self.network).get("count", 1)))
        return batch

    def _histories(self, users: np.ndarray, length: int) -> np.ndarray:
        """Return int64 [A, L], the newest `length` items of each user (0 = all), oldest first, padded on the right."""
        events = self.features.interactions
        starts, ends = events.offsets[users], events.offsets[users + 1]
        longest = int((ends - starts).max(initial=1))
        return gather_last(events.items, starts, ends, min(length, longest) or longest)
