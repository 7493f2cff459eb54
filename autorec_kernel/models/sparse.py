"""When an embedding table is trained row by row: where a pass over the whole table would cost more than the rows of a batch do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from autorec_kernel.models.sources import EmbeddingStore, Source, on_entity

if TYPE_CHECKING:
    from autorec_kernel.models.network import Network
    from autorec_kernel.records.architecture import Node

__all__ = ["sparse_lookups", "worthwhile"]

# Measured on one core (torch 2.13): nanoseconds of a dense step a weight (zeroing, norm, fused AdamW), and of a sparse one: for itself, for
# each row that is looked up (sorting), and for each weight of those rows. A dense step is kept until it costs twice as much.
_DENSE, _CALL, _LOOKUP, _WEIGHT, _MARGIN = 0.8, 150_000.0, 15.0, 2.0, 2.0
_STEPS = 50  # of a history whose length the graph leaves open


@contextmanager
def sparse_lookups(network: Network, size: int, mode: str) -> Iterator[list[EmbeddingStore]]:
    """Let lookups in large tables give sparse gradients for a while; yield the stores of those tables.

    Args:
        size: Rows a batch.
        mode: auto | on | off; `on` means every table that training never reads whole.
    """
    stores = [] if mode == "off" else [store for store in network.embedding_stores() if worthwhile(network, store, size, mode == "on")]
    for store in stores:
        store.sparse = True
    try:
        yield stores
    finally:
        for store in stores:
            store.sparse = False


def worthwhile(network: Network, store: EmbeddingStore, size: int, always: bool = False) -> bool:
    """Return whether sparse gradients pay for a store with batches of `size` rows; a function of the graph and the sizes alone.

    Args:
        always: Leave the costs aside: whether they are possible.
    """
    readers = [node for node in network.reach.training if node.is_source and _reads(network, node, store)]
    if not store.weight.requires_grad or not readers or any(node.block == "@table" or on_entity(node) for node in readers):
        return False
    rows, width = store.weight.shape
    lookups = sum(_lookups(network, node, size) for node in readers)
    sparse = _CALL + lookups * (_LOOKUP + _WEIGHT * width)
    return always or rows * width * _DENSE > _MARGIN * sparse


def _reads(network: Network, node: Node, store: EmbeddingStore) -> bool:
    part = network.part(node.id)
    return isinstance(part, Source) and part.reads(store)


def _lookups(network: Network, node: Node, size: int) -> int:
    """Return about how many rows a source looks up for a batch."""
    spec, steps = network.specs[node.id], int(node.config.get("length", 0)) or _STEPS
    if network.architecture.batching == "sequence":
        size = max(8, size // 8)
    if node.block == "@negatives" and spec.port == "table":
        return spec.rows
    return size * (steps if spec.port == "sequence" else max(1, spec.fields))
