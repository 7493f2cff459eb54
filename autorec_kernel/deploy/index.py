"""Building the index of a factorised retriever with a large catalogue: the first one that finds what exact lists hold, or none."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from autorec_kernel.deploy.bundle import ServedModel
from autorec_kernel.serving.foldin import FoldIn
from autorec_kernel.serving.graph import Graph
from autorec_kernel.serving.nearest import GATE, GOLDEN, Nearest, below, failed, questions
from autorec_kernel.serving.scorers import VectorScorer

if TYPE_CHECKING:
    from autorec_kernel.kernel import Kernel
    from autorec_kernel.records.serving_state import ServingState

__all__ = ["EXACT_UP_TO", "with_index"]

_log = logging.getLogger(__name__)

EXACT_UP_TO = 50_000  # items that are scored one by one: half a millisecond a user
_ASKED = 512  # users that recall is measured on; the first of them are asked again whenever the bundle is loaded


def with_index(model: ServedModel, state: ServingState, kernel: Kernel, *, seed: int = 0, exact_up_to: int = EXACT_UP_TO) -> ServedModel:
    """Return the model with an index over its item vectors; the very model where every item is better scored.

    Every usable index is tried in order of id, each from its weakest effort on. It is taken if its lists of ten hold 99 % of the exact
    ones, for users drawn from the state: nothing was built with their vectors. Where none does, `model.index` says why.
    """
    graph = Graph(model.graph, model.spec, name=f"{model.role}.onnx") if state.schema.items - 1 > exact_up_to else None
    vectors = graph.items() if graph is not None else None
    if graph is None or vectors is None:
        return model
    owners = np.repeat(np.arange(state.users.size), np.diff(state.seen_offsets))[state.seen_positive]
    users = np.random.default_rng(seed).permutation(np.unique(owners[owners > 0]))[:_ASKED]
    scorer, fold_in = VectorScorer(graph, state, vectors), FoldIn(vectors)
    asked = questions(scorer, users, fold_in) if len(users) else []
    told = [] if asked else ["there are no users with a history to measure an index on"]
    for row in kernel.components("index") if asked else ():
        found = _tried(row.id, scorer, asked, kernel, seed)
        if not isinstance(found, str):
            return replace(model, index=found[0], index_arrays={"@index.users": users[:GOLDEN], **found[1]})
        told.append(found)
    reason = "; ".join(told) or "no plugin declares an index"
    _log.warning("%d items are scored for every list: %s", len(vectors) - 1, reason)
    return replace(model, index={"told": reason})


def _tried(id: str, scorer: VectorScorer, asked: Any, kernel: Kernel, seed: int) -> tuple[dict[str, Any], dict[str, np.ndarray]] | str:
    """Return what the schema says of an index and its arrays, or why it is not taken."""
    try:
        index = kernel.create("index", id)
        arrays = {name: np.asarray(array) for name, array in index.build(scorer.table[1:], np.random.default_rng(seed)).items()}
        nearest = Nearest(index.open(arrays), scorer)
        recall = nearest.settle(asked, GATE)
    except Exception as error:  # the border of a plugin: the bundle is as good without it
        return failed(id, error)
    if not recall:
        return below(id)
    facts = {"component": id, "effort": nearest.effort, "recall@10": round(recall, 4)}
    return facts, {f"@index.{name}": array for name, array in arrays.items()}
