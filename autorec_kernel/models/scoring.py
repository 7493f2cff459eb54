"""Scores of trained networks on evaluation users and rows, with the same fallbacks as serving: model, fold-in, popularity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from autorec_kernel.evaluation import RankingEvaluator, RankingResult, RowResult, evaluate_rows
from autorec_kernel.models.batches import to_tensors
from autorec_kernel.records.serving_state import without_padding
from autorec_kernel.serving.foldin import FoldIn
from autorec_kernel.serving.products import catalogue_scores, place_vectors

if TYPE_CHECKING:
    from autorec_kernel.features import EvaluationSet, FeatureSet
    from autorec_kernel.features.feature_set import Split
    from autorec_kernel.models.network import Network
    from autorec_kernel.records.serving_state import ServingState

__all__ = ["evaluate_ranking", "predict_rows", "predict_tasks", "rank_block", "row_metrics", "task_metrics"]

_CELLS = 4_000_000  # scores held at a time
_STEPS = 4_096  # history steps, padding included, read at a time
_ROWS = 8192  # rows predicted at a time
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
    judge = RankingEvaluator(metrics, features.schema.items, popularity=state.popularity)
    vectors = network.item_vectors().numpy() if network.serving_outputs == ("user",) else None
    for part in _parts(evaluation, features.schema.items, reading=bool(network.lengths)):
        block = evaluation.take(part)
        scores = rank_block(network, state, block.users, block.histories, vectors)
        judge.add(block.users, scores, block.positives, block.seen if exclude_seen else None)
    return judge.result()


def rank_block(
    network: Network, state: ServingState, users: np.ndarray, histories: tuple[np.ndarray, np.ndarray], vectors: np.ndarray | None
) -> np.ndarray:
    """Return float32 [A, N], the catalogue scores of some users.

    A network that reads histories answers every user who has one; one that reads user ids answers the users it was trained on, and folds
    the others in from their history; who has nothing gets popularity. Of several vectors a user, the best one scores an item.
    """
    offsets, items = histories
    known = np.diff(offsets) > 0
    lists = [items[offsets[i] : offsets[i + 1]] for i in range(len(users))]
    with torch.no_grad():
        arrays = state.inputs(network.inputs, users=users, items=None, histories=histories, lengths=_bounded(network.lengths))
        tensors = to_tensors(without_padding(arrays, state.schema), "cpu")
        (output,) = network.serve(*(tensors[name] for name in network.inputs))
    if vectors is None:
        scores = output.numpy()
    else:
        queries = output.numpy()
        if not network.lengths:  # reads user ids: users that training never saw
            strangers = np.flatnonzero((users == 0) & known)
            if len(strangers):
                place_vectors(queries, strangers, FoldIn(vectors).users([lists[i] for i in strangers]))
            known = known | (users > 0)
        scores = catalogue_scores(queries, vectors)
    scores[~known] = state.popularity
    return scores


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

    Nothing where the data has one label, whose metrics go by their plain names.
    """
    if len(features.schema.tasks) < 2:
        return {}
    rows = features.rows(split)
    found: dict[str, float | None] = {}
    for task, predictions in predict_tasks(network, features, rows).items():
        labels = features.labels(task)[rows]
        known = ~np.isnan(labels)
        result = evaluate_rows(_TASK_METRICS[features.schema.tasks[task]], labels[known], predictions[known])
        found |= {f"{metric}:{task}": value for metric, value in result.values.items()}
    return found


def _bounded(lengths: Mapping[str, int]) -> dict[str, int]:
    return {name: length for name, length in lengths.items() if length}


def _parts(evaluation: EvaluationSet, items: int, *, reading: bool) -> Iterator[np.ndarray]:
    """Yield user positions block by block; where histories are read, users with like lengths together, so that padding is little."""
    if not reading:
        yield from np.array_split(np.arange(len(evaluation.users)), max(1, -(-len(evaluation.users) * items // _CELLS)))
        return
    lengths = np.diff(evaluation.histories[0])
    order = np.argsort(lengths, kind="stable")
    most, start = max(1, _CELLS // items), 0
    while start < len(order):
        part = order[start : start + most]
        kept = max(1, int(np.searchsorted(lengths[part] * np.arange(1, len(part) + 1), _STEPS, side="right")))
        yield part[:kept]
        start += kept
