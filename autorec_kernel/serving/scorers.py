"""Catalogue scores from the three forms a model can have: scores, user vectors, or one prediction a (user, item) row."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from autorec_kernel.errors import BundleError
from autorec_kernel.records.serving_state import without_padding
from autorec_kernel.serving.products import catalogue_scores
from autorec_kernel.serving.requests import Request, given_histories

if TYPE_CHECKING:
    from autorec_kernel.records.serving_state import Histories, ServingState
    from autorec_kernel.records.table import ColumnData
    from autorec_kernel.serving.graph import Graph

__all__ = ["RowScorer", "ScoreScorer", "Scorer", "VectorScorer", "make_scorer"]

_ROWS = 8192  # rows of one session call of a ranker


class Scorer(ABC):
    """A model with the state that its inputs come from."""

    def __init__(self, graph: Graph, state: ServingState) -> None:
        self.graph = graph
        self.state = state
        self._lengths = {name: length for name, length in graph.lengths.items() if length > 0}

    @abstractmethod
    def catalogue(self, requests: Sequence[Request]) -> np.ndarray:
        """Return float32 [A, N]; the histories of all requests are given, or none is."""

    def from_vectors(self, users: np.ndarray) -> np.ndarray:
        """Return float32 [A, N] for user vectors float32 [A, D] or [A, K, D]."""
        raise BundleError("this bundle has no item vectors", where=self.graph.name)

    def user_outputs(self, requests: Sequence[Request]) -> np.ndarray:
        """Return the first output of the graph for a batch of users."""
        if not self.graph.inputs:
            found = self.graph.run({})[self.graph.outputs[0]]
            return np.broadcast_to(found, (len(requests), *found.shape[1:]))
        inputs = self.state.inputs(
            self.graph.inputs,
            users=np.array([request.row for request in requests], dtype=np.int64),
            histories=given_histories(requests),
            lengths=self._lengths,
        )
        return self.graph.run(without_padding(inputs, self.state.schema))[self.graph.outputs[0]]


class ScoreScorer(Scorer):
    """A retriever whose graph ends in catalogue scores [A, N]."""

    def catalogue(self, requests: Sequence[Request]) -> np.ndarray:
        return self.user_outputs(requests)


class VectorScorer(Scorer):
    """A factorised retriever: user vectors [A, D] or [A, K, D] (best of K) against item vectors [N, D]."""

    def __init__(self, graph: Graph, state: ServingState, vectors: np.ndarray) -> None:
        super().__init__(graph, state)
        self.table = np.ascontiguousarray(vectors, dtype=np.float32)

    def catalogue(self, requests: Sequence[Request]) -> np.ndarray:
        return self.from_vectors(self.user_outputs(requests))

    def from_vectors(self, users: np.ndarray) -> np.ndarray:
        return catalogue_scores(users, self.table)

    @property
    def items(self) -> int:
        """Return the rows of the catalogue, row 0 (unknown) included."""
        return len(self.table)

    def query(self, user: np.ndarray) -> np.ndarray:
        """Return float32 [K, D], the vectors of one user, float32 [D] or [K, D]."""
        return user.reshape(-1, self.table.shape[1])

    def of(self, user: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return float32 [n], the scores of item rows for one user, float32 [D] or [K, D]."""
        scores: np.ndarray = catalogue_scores(user[None], self.table[rows])[0]
        return scores


class RowScorer(Scorer):
    """A ranker: one prediction a (user, item, context) row."""

    def __init__(self, graph: Graph, state: ServingState) -> None:
        super().__init__(graph, state)
        known = {feature.name: feature for feature in state.schema.features}
        self._user = [name for name in graph.inputs if known[name].depends == "user"]
        self._item = [name for name in graph.inputs if known[name].depends == "item"]
        self._rest = [name for name in graph.inputs if known[name].depends not in ("user", "item")]
        self._items: dict[str, np.ndarray] | None = None

    def catalogue(self, requests: Sequence[Request]) -> np.ndarray:
        return np.stack([self.given(request, np.arange(int(self.state.schema.items))) for request in requests])

    def rows(self, users: np.ndarray, items: np.ndarray, columns: Mapping[str, ColumnData] | None) -> np.ndarray:
        """Return float32 [tasks, A], the predictions of every task for a block of rows in the state at the end of training."""
        found = self.graph.run(self.state.inputs(self.graph.inputs, users=users, items=items, columns=columns, lengths=self._lengths))
        return np.stack([found[name].reshape(len(found[name]), -1)[:, 0] for name in self.graph.outputs])

    def given(self, request: Request, items: np.ndarray) -> np.ndarray:
        """Return float32 [n], one user's scores of item rows int64 [n]; what depends on user or item alone is read once."""
        if self._items is None:
            self._items = self._read(self._item, None, np.arange(int(self.state.schema.items)), None)
        user = self._read(self._user, np.array([request.row]), None, given_histories([request]))
        parts = [self._block(request, user, items[start : start + _ROWS]) for start in range(0, len(items), _ROWS)]
        return np.concatenate(parts)

    def _block(self, request: Request, user: Mapping[str, np.ndarray], items: np.ndarray) -> np.ndarray:
        assert self._items is not None
        histories = [request.history] * len(items) if request.given and self._rest else None
        rest = self._read(self._rest, np.array([request.row]), items, histories)
        repeated = {name: value if name in self.graph.once else np.repeat(value, len(items), axis=0) for name, value in user.items()}
        inputs = {**repeated, **{name: value.take(items, axis=0) for name, value in self._items.items()}, **rest}
        return self.graph.run(inputs)[self.graph.outputs[0]].reshape(len(items), -1)[:, 0]

    def _read(self, names: list[str], users: np.ndarray | None, items: np.ndarray | None, given: Histories | None) -> dict[str, np.ndarray]:
        return dict(self.state.inputs(names, users=users, items=items, histories=given, lengths=self._lengths))


def make_scorer(graph: Graph, state: ServingState, vectors: np.ndarray | None) -> Scorer:
    """Return the scorer for the graph's outputs.

    Raises:
        BundleError: A factorised retriever comes without item vectors.
    """
    if graph.outputs == ("score",):
        return ScoreScorer(graph, state)
    if graph.outputs != ("user",):
        return RowScorer(graph, state)
    if vectors is None or vectors.ndim != 2 or len(vectors) != state.schema.items:
        raise BundleError("the item vectors are missing or not one a catalogue row", where=graph.name)
    return VectorScorer(graph, state, vectors)
