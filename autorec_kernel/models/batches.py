"""Training batches: shuffled rows or sequences of a feature set as tensors, with negatives drawn outside the user's history."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from autorec_kernel.errors import ContractError
from autorec_kernel.features.gather import release
from autorec_kernel.features.held import Held, bytes_of_a_row
from autorec_kernel.models.columns import Columns
from autorec_kernel.models.order import at_once, shuffled, stretches_of
from autorec_kernel.models.positives import Positives
from autorec_kernel.models.sources import LABEL, NEGATIVES, TARGET

if TYPE_CHECKING:
    from autorec_kernel.features import FeatureSet
    from autorec_kernel.models.network import Network

__all__ = ["Batch", "Batches", "negatives_of", "to_tensors"]

Batch = dict[str, torch.Tensor]
_BUCKET = 32  # batches whose sequences are sorted by length together
_TRIES = 4  # draws before a negative that is a training positive gives way to the next item that is none


class Batches:
    """The training batches of one network on one feature set.

    A retriever is fed its positive rows; one that learns labels beside recall is fed all rows with a known item, so that labels are learned
    on chosen and not chosen rows alike. Of a row that is no positive, `@target` and `@negatives` are 0: it teaches no recall.

    Args:
        network: Says which inputs, how many negatives and which batching it needs.
        features: The rows.
        size: Rows a batch; with sequence batching, one sequence counts as eight rows.
        device: Where the tensors go.
        id_dropout: Share of user and item ids that a ranker sees as unknown, so that it learns to answer strangers.
    """

    def __init__(self, network: Network, features: FeatureSet, size: int, device: str = "cpu", id_dropout: float = 0.0) -> None:
        self.network, self.features, self.device = network, features, device
        self.sequential = network.architecture.batching == "sequence"
        self.size = max(8, size // 8) if self.sequential else size
        self.negatives = negatives_of(network) if NEGATIVES in network.training_inputs else None
        self.names = [name for name in network.training_inputs if not name.startswith("@")]
        self.labels = [name.removeprefix(LABEL) for name in network.training_inputs if name.startswith(LABEL)]
        self.lengths = {name: length for name, length in network.lengths.items() if length}
        self.id_dropout = id_dropout if network.tasks else 0.0
        entities = [features.schema[name] for name in (features.schema.user, features.schema.item) if name in self.names]
        self.hidden = tuple(feature for feature in entities if self.id_dropout)
        self._known: Positives | None = None
        self.rows: np.ndarray | None = None  # which rows, where they are not simply the first ones
        self.chosen: np.ndarray | None = None  # the positive rows, ascending, where others are fed too
        self.columns: Columns | None = None  # what is held of them in memory
        self._prepare()

    def _prepare(self) -> None:
        if self.sequential:
            lengths = list(self.network.lengths.values())
            if not lengths:
                raise ContractError("sequence batching needs a @history source")
            longest = int(np.diff(self.features.interactions.offsets).max(initial=1))
            self.steps, self.targets = self.features.sequences(longest if 0 in lengths else max(lengths))
            self.count = len(self.steps)
            self.lengths_of_sequences = (self.targets != 0).sum(1)
            return
        retrieving = not self.network.tasks
        chosen = self.features.positive_rows() if retrieving else None
        rows = self.features.rows("train") if chosen is None or self.labels else chosen
        if chosen is not None and self.labels:
            rows = rows[self.features.item_rows[rows] > 0]
            self.chosen = chosen if len(chosen) < len(rows) else None
        self.count = len(rows)
        if self.count and rows[-1] >= self.count:
            self.rows = rows.astype(np.int32) if rows[-1] < 2**31 else rows  # half the memory of a very long table
        if at_once(self.count, bytes_of_a_row(self.features, self.names)):
            self.columns = Columns(self.features, self.names, self.labels, rows)
        release(self.features.parts)

    def __len__(self) -> int:
        return -(-self.count // self.size)

    def epoch(self, rng: np.random.Generator) -> Iterator[Batch]:
        """Yield every row once, in an order drawn from `rng`; sequences of like length together, so that little padding is computed."""
        return (job() for job in self.jobs(rng))

    def jobs(self, rng: np.random.Generator) -> Iterator[Callable[[], Batch]]:
        """Yield what builds each batch of an epoch: calls that depend on nothing but their place in it, so they may run side by side."""
        parts = ((part, None) for part in self._bucketed(rng)) if self.sequential else self._stretches(rng)
        key = int(rng.integers(2**63))
        for number, (part, held) in enumerate(parts):
            yield partial(self._built, part, key, number, held)

    def _stretches(self, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, Held | None]]:
        """Yield the parts of each batch; of a long file the places among rows that are read into memory a stretch at a time."""
        row_bytes = bytes_of_a_row(self.features, self.names)
        for stretch in stretches_of(shuffled(self.count, rng, row_bytes), self.size):
            held = None
            if not at_once(self.count, row_bytes):
                order, stretch = np.argsort(stretch), stretch.copy()
                rows = self._numbers(stretch[order])
                stretch[order] = np.arange(len(stretch))
                held = Held(self.features, rows, self.names, self.labels, -(-len(stretch) // self.size))
            yield from ((stretch[at : at + self.size], held) for at in range(0, len(stretch), self.size))

    def _numbers(self, places: np.ndarray) -> np.ndarray:
        """Return the row numbers int64 of places among the rows that are fed."""
        return places if self.rows is None else self.rows[places].astype(np.int64)

    def _bucketed(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Return batches of sequences of like length, in random order."""
        order, group = rng.permutation(self.count), self.size * _BUCKET
        order = np.concatenate([_by(self.lengths_of_sequences, order[at : at + group]) for at in range(0, self.count, group)] or [order])
        starts = rng.permutation(np.arange(0, self.count, self.size))
        return (order[start : start + self.size] for start in starts)

    def _built(self, part: np.ndarray, key: int, number: int, held: Held | None) -> Batch:
        """Return one batch; its draws come from the epoch's key and its number."""
        draws = self.hidden or self.negatives is not None  # a generator costs as much as reading the rows
        rng = np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, number])) if draws else None
        batch = to_tensors(self._sequences(part, rng) if self.sequential else self._rows(part, rng, held), self.device)
        if held is not None:
            held.let_go()
        return batch

    def _sequences(self, part: np.ndarray, rng: np.random.Generator | None) -> dict[str, np.ndarray]:
        steps, targets = self.steps[part], self.targets[part]
        longest = max(1, int((targets != 0).sum(1).max(initial=1)))
        batch = {self.names[0]: steps[:, :longest], TARGET: targets[:, :longest]}
        return self._with_negatives(batch, self.features, None, rng)

    def _rows(self, part: np.ndarray, rng: np.random.Generator | None, held: Held | None) -> dict[str, np.ndarray]:
        features, rows = (self.features, self._numbers(part)) if held is None else (held.read(), part)
        batch = self._inputs(features, rows, part if held is None else None)
        for feature in self.hidden:
            assert rng is not None
            batch[feature.name] = np.where(rng.random(len(rows)) < self.id_dropout, 0, batch[feature.name])
        if TARGET in self.network.training_inputs:
            batch[TARGET] = features.rows_at("item", rows)
        batch = self._with_negatives(batch, features, rows, rng)
        return self._recall_of_chosen(batch, rows if held is None else held.rows[part])

    def _inputs(self, features: FeatureSet, rows: np.ndarray, places: np.ndarray | None) -> dict[str, np.ndarray]:
        """Return features and labels of rows; what is held in memory is found by its place among the rows that are fed."""
        found, labels = ({}, {}) if self.columns is None or places is None else self.columns.read(places)
        others = [name for name in self.names if name not in found]
        if others:
            found |= features.row_inputs(others, rows, lengths=self.lengths)
        for task in self.labels:
            found[f"{LABEL}{task}"] = labels[task] if task in labels else features.labels_at(task, rows)
        return found

    def _recall_of_chosen(self, batch: dict[str, np.ndarray], rows: np.ndarray) -> dict[str, np.ndarray]:
        """Take target and negatives from the rows that are no positives; without these the batch stays as it is."""
        if self.chosen is None:
            return batch
        at = np.minimum(np.searchsorted(self.chosen, rows), max(0, len(self.chosen) - 1))
        others = self.chosen[at] != rows if len(self.chosen) else np.ones(len(rows), dtype=bool)
        own = self.negatives is not None and not self.negatives.get("shared", False)
        for name in (TARGET, NEGATIVES) if own else (TARGET,):
            if name in batch:
                batch[name] = np.where(others.reshape(-1, *[1] * (batch[name].ndim - 1)), 0, batch[name])
        return batch

    def _with_negatives(
        self, batch: dict[str, np.ndarray], features: FeatureSet, rows: np.ndarray | None, rng: np.random.Generator | None
    ) -> dict[str, np.ndarray]:
        if self.negatives is None or rng is None:
            return batch
        items, count = self.features.schema.items, int(self.negatives.get("count", 1))
        if self.negatives.get("shared", False) or rows is None:
            batch[NEGATIVES] = rng.integers(1, items, count)
            return batch
        users = features.rows_at("user", rows)
        drawn = rng.integers(1, items, len(rows) * count)
        owners = np.repeat(users, count)
        left = np.arange(len(drawn))
        for attempt in range(_TRIES + items):
            left = left[self._positives().holds(owners[left], drawn[left])]
            if not len(left):
                break
            drawn[left] = rng.integers(1, items, len(left)) if attempt < _TRIES else drawn[left] % (items - 1) + 1
        batch[NEGATIVES] = drawn.reshape(len(rows), count)
        return batch

    def _positives(self) -> Positives:
        if self._known is None:
            self._known = Positives(self.features.interactions)
        return self._known


def _by(lengths: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return rows[np.argsort(lengths[rows], kind="stable")]


def negatives_of(network: Network) -> Mapping[str, Any]:
    """Return the config of the graph's `@negatives` source."""
    return next(node.config for node in network.architecture.nodes if node.block == "@negatives")


def to_tensors(arrays: dict[str, np.ndarray], device: str) -> Batch:
    """Return the arrays as tensors: integers int64, the rest float32."""
    found = {}
    for name, array in arrays.items():
        kind = np.int64 if np.issubdtype(array.dtype, np.integer) else np.float32
        found[name] = torch.from_numpy(np.ascontiguousarray(array, dtype=kind)).to(device, non_blocking=True)
    return found
