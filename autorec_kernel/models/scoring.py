"""Scores of trained networks on evaluation users and rows, with the same fallbacks as serving: model, fold-in, popularity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from autorec_kernel.evaluation import RankingEvaluator, RankingResult, RowResult, evaluate_rows
from autorec_kernel.features.labels import settled
from autorec_kernel.models.batches import to_tensors
from autorec_kernel.models.products import linear
from autorec_kernel.records.lists import take_lists
from autorec_kernel.records.serving_state import without_padding
from autorec_kernel.serving.foldin import FoldIn
from autorec_kernel.serving.predict import tells
from autorec_kernel.serving.products import place_vectors

if TYPE_CHECKING:
    from autorec_kernel.features import EvaluationSet, FeatureSet
    from autorec_kernel.features.feature_set import Split
    from autorec_kernel.models.network import Network
    from autorec_kernel.records.serving_state import ServingState

__all__ = ["evaluate_ranking", "predict_rows", "predict_tasks", "rank_block", "row_metrics", "task_metrics"]

_CELLS = 1_000_000  # scores held at a time: few megabytes, which stay in a cache between product and list
_USERS = 16_384  # users whose vectors are held at a time
_STEPS = 4_096  # history steps, padding included, read at a time
_ROWS = 2048  # rows predicted at a time, few enough to stay in a cache between layers
_TASK_METRICS = {"logit": ("auc", "log_loss"), "value": ("rmse", "mae")}  # link of a label -> what judges its task


def evaluate_ranking(
    network: Network, features: FeatureSet, evaluation: EvaluationSet, metrics: Sequence[str], *, exclude_seen: bool = True
) -> RankingResult:
    """Rank the whole catalogue for every user of `evaluation`.

    Args:
        network: A retriever in eval mode, on the CPU.
        evaluation: Users with their input histories, what they are to find, and what they have seen.
    """
    state = features.state()
    judge = RankingEvaluator(metrics, features.schema.items, popularity=state.chosen)
    vectors = network.item_vectors().numpy() if network.serving_outputs == ("user",) else None
    answers = _Answers(network, state, vectors)
    for several in _spans(len(evaluation), _USERS):
        users, histories = evaluation.users[several], _span(evaluation.histories, several)
        queries = answers.queries(users, histories) if vectors is not None else None
        for part in _spans(len(users), max(1, _CELLS // features.schema.items)):
            inside = slice(several.start + part.start, several.start + part.stop)
            found = answers.vectors_scores(queries[part]) if queries is not None else answers.scores(users[part], _span(histories, part))
            scores = answers.completed(found, users[part], histories[0][part.start : part.stop + 1])
            seen = _span(evaluation.seen, inside) if exclude_seen else None
            judge.add(users[part], scores, _span(evaluation.positives, inside), seen, scratch=True)
    return judge.result()


def rank_block(
    network: Network, state: ServingState, users: np.ndarray, histories: tuple[np.ndarray, np.ndarray], vectors: np.ndarray | None
) -> np.ndarray:
    """Return float32 [A, N], the catalogue scores of some users.

    A network that reads histories answers every user who has one; one that reads user ids answers the users it was trained on, and folds
    the others in from their history; who has nothing gets popularity. Of several vectors a user, the best one scores an item.
    """
    answers = _Answers(network, state, vectors)
    found = answers.read(users, histories) if vectors is None else answers.vectors_scores(answers.queries(users, histories))
    return answers.completed(found, users, histories[0])


class _Answers:
    """What a network and its fallbacks say of some users."""

    def __init__(self, network: Network, state: ServingState, vectors: np.ndarray | None) -> None:
        self._network, self._state = network, state
        self._bounds = _bounded(network.lengths)
        self._vectors = vectors
        self._table = None if vectors is None else torch.from_numpy(vectors)
        self._folds: FoldIn | None = None

    def read(self, users: np.ndarray, histories: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Return the network's output for users [A]: catalogue scores, or vectors."""
        with torch.no_grad():
            arrays = self._state.inputs(self._network.inputs, users=users, items=None, histories=histories, lengths=self._bounds)
            tensors = to_tensors(without_padding(arrays, self._state.schema), "cpu")
            (output,) = self._network.serve(*(tensors[name] for name in self._network.inputs))
        return np.asarray(output.numpy())

    def scores(self, users: np.ndarray, histories: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Return float32 [A, N], catalogue scores; users with like lengths are read together."""
        return self._by_length(users, histories) if self._network.lengths else self.read(users, histories)

    def queries(self, users: np.ndarray, histories: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Return float32 [A, D] or [A, K, D], the vectors of users; who reads ids folds in the users that training never saw."""
        if self._network.lengths:
            return self._by_length(users, histories)
        queries = self.read(users, histories)
        strangers = np.flatnonzero(((users == 0) | (users >= self._state.users.size)) & (np.diff(histories[0]) > 0))
        if len(strangers):
            assert self._vectors is not None
            self._folds = self._folds or FoldIn(self._vectors)
            place_vectors(queries, strangers, self._folds.users([histories[1][slice(*histories[0][i : i + 2])] for i in strangers]))
        return queries

    def vectors_scores(self, queries: np.ndarray) -> np.ndarray:
        """Return float32 [A, N], each item's product with the vector it suits best."""
        assert self._table is not None
        given = torch.from_numpy(queries)
        parts = given.unbind(1) if given.dim() == 3 else (given,)
        with torch.enable_grad():  # nothing here asks for a gradient, and the quick product is the one of training
            scores = linear(parts[0], self._table)
            for part in parts[1:]:
                scores = torch.maximum(scores, linear(part, self._table))
        return np.asarray(scores.numpy())

    def completed(self, scores: np.ndarray, users: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        """Give popularity to those of whom nothing is known: no history, nor anything else that the network reads."""
        known = (np.diff(offsets) > 0) | tells(self._state, self._network.inputs, users)
        if not known.all():
            scores[~known] = self._state.popularity
        return scores

    def _by_length(self, users: np.ndarray, histories: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Read users with like lengths together, so that padding is little."""
        found: np.ndarray | None = None
        for part in _parts(np.diff(histories[0]), max(self._bounds.values(), default=0)):
            values = self.read(users[part], _taken(histories, part))
            found = np.empty((len(users), *values.shape[1:]), dtype=np.float32) if found is None else found
            found[part] = values
        return found if found is not None else np.zeros((0, 1), dtype=np.float32)


def predict_rows(network: Network, features: FeatureSet, rows: np.ndarray, task: str) -> np.ndarray:
    """Return float32 [rows], predictions in label scale (probability or value), values clipped to the range of the labels."""
    return predict_tasks(network, features, rows)[task]


def predict_tasks(network: Network, features: FeatureSet, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Return task → what `predict_rows` says of it, for all tasks of the network in one pass."""
    parts: dict[str, list[np.ndarray]] = {task: [np.zeros(0, dtype=np.float32)] for task in network.tasks}
    with torch.no_grad():
        for start in range(0, len(rows), _ROWS):
            arrays = features.row_inputs(network.inputs, rows[start : start + _ROWS], lengths=_bounded(network.lengths))
            tensors = to_tensors(arrays, "cpu")
            served = network.serve(*(tensors[name] for name in network.inputs))
            for task, values in zip(network.tasks, served, strict=True):
                parts[task].append(values.numpy())
    ranges = features.schema.label_range
    return {task: np.clip(np.concatenate(found), *ranges[task][:2]) for task, found in parts.items()}


def row_metrics(network: Network, features: FeatureSet, split: Split, task: str, metrics: Sequence[str]) -> tuple[RowResult, np.ndarray]:
    """Return the metrics of one split's rows and the predictions."""
    rows = features.rows(split)
    predictions = predict_rows(network, features, rows, task)
    return evaluate_rows(metrics, features.labels(task)[rows], predictions, features.user_rows[rows]), predictions


def task_metrics(network: Network, features: FeatureSet, split: Split) -> dict[str, float | None]:
    """Return `metric:label` (`auc:click`) → value for every task of a network, each on the rows of a split whose label is known.

    An unknown label is known to be 0 where a label that it implies (`FeatureSchema.implies`) is 0: a conversion is judged over all
    impressions, whichever model predicts it, also where the data tell of conversions after a click only. Nothing where the data has one
    label, whose metrics go by their plain names.
    """
    if len(features.schema.tasks) < 2:
        return {}
    rows = features.rows(split)
    found: dict[str, float | None] = {}
    for task, predictions in predict_tasks(network, features, rows).items():
        others = (features.schema.implies or {}).get(task, ())
        labels = settled(features.labels(task)[rows], [features.labels(other)[rows] for other in others])
        known = ~np.isnan(labels)
        result = evaluate_rows(_TASK_METRICS[features.schema.tasks[task]], labels[known], predictions[known])
        found |= {f"{metric}:{task}": value for metric, value in result.values.items()}
    return found


def _bounded(lengths: Mapping[str, int]) -> dict[str, int]:
    return {name: length for name, length in lengths.items() if length}


def _spans(count: int, step: int) -> Iterator[slice]:
    for start in range(0, count, step):
        yield slice(start, min(count, start + step))


def _span(lists: tuple[np.ndarray, np.ndarray], part: slice) -> tuple[np.ndarray, np.ndarray]:
    """Return neighbouring lists without copying their items."""
    offsets = lists[0][part.start : part.stop + 1]
    return offsets - offsets[0], lists[1][offsets[0] : offsets[-1]]


def _taken(lists: tuple[np.ndarray, np.ndarray], rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    offsets, index = take_lists(lists[0], rows)
    return offsets, lists[1][index]


def _parts(lengths: np.ndarray, longest: int) -> Iterator[np.ndarray]:
    """Yield positions of users block by block, those with like lengths together; `longest` bounds what is read, 0 = all."""
    lengths = np.minimum(lengths, longest) if longest else lengths
    order = np.argsort(lengths, kind="stable")
    start = 0
    while start < len(order):
        part = order[start : start + _STEPS]
        kept = max(1, int(np.searchsorted(lengths[part] * np.arange(1, len(part) + 1), _STEPS, side="right")))
        yield part[:kept]
        start += kept
