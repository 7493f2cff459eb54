"""Which batches a graph is trained on follows from its `batching` alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

import numpy as np

from autorec_kernel.errors import ContractError
from autorec_kernel.features.stacked import RERANK_SHARE, rerank_part
from autorec_kernel.models.batches import Batch, Batches
from autorec_kernel.models.entity_batches import EntityBatches
from autorec_kernel.models.session_batches import SessionBatches

if TYPE_CHECKING:
    from autorec_kernel.features import FeatureSet
    from autorec_kernel.models.network import Network

__all__ = ["BatchSource", "batches_for"]


class BatchSource(Protocol):
    """Training batches, epoch by epoch."""

    def __len__(self) -> int:
        """Return how many batches an epoch has."""
        ...

    def epoch(self, rng: np.random.Generator) -> Iterator[Batch]:
        """Yield everything once, in an order drawn from `rng`."""
        ...


def batches_for(network: Network, features: FeatureSet, size: int, device: str = "cpu", id_dropout: float = 0.0) -> BatchSource:
    """Return the batches of one network on one feature set.

    Args:
        size: Rows, users or items a batch; of a sequence or a session, several steps are read at once, and it counts as eight rows.
        device: Where the tensors go.
        id_dropout: Share of user and item ids that a ranker sees as unknown, so that it learns to answer strangers.

    A stacked network is fed the rows alone that its closed forms have not seen (`models/stacking.py`). They are few, so one counts as
    ten: an epoch has as many steps as one of all rows.

    Raises:
        ContractError: A stacked network is not fed by rows.
    """
    batching = network.architecture.batching
    if network.stacked:
        if batching != "row":
            raise ContractError(f"a graph with a stacked block learns from rows, and its batching is {batching!r}")
        features, size = rerank_part(features), max(8, round(RERANK_SHARE * size))
    if batching == "session":
        return SessionBatches(network, features, max(8, size // 8), device)
    if batching in ("user", "item"):
        return EntityBatches(network, features, size, device)
    return Batches(network, features, size, device, id_dropout)
