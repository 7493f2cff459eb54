"""AutoRec kernel's full-ranking evaluation: `evaluate_ranking` of a factorised model, or of SASRec without its forward pass.

`SASRec` ranks all items, as RecBole does for sequential models; `SASRec masked` leaves out what the user has seen.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from autorec_kernel.features import EvaluationSet, FeatureSet
from autorec_kernel.kernel import Kernel
from autorec_kernel.models import evaluate_ranking
from autorec_kernel.models.network import Network, build_network
from benchmarks.peers.worker import Options, Session, serve

METRICS = ("ndcg@10", "recall@10", "hr@10", "mrr@10")
_MODELS = {"BPR": ("bpr-mf", {"embedding_dim": None, "biases": False}), "SASRec": ("sasrec", {"max_len": 50})}


def build(given: Options) -> Session:
    """Return the session; its `scores` are the four metrics."""
    features, kernel = FeatureSet.load(Path(given.data) / "features"), Kernel.discover()
    users, items = (torch.from_numpy(np.load(Path(given.data) / f"{name}.npy")) for name in ("users", "items"))
    name, options = _MODELS[given.model.split()[0]]
    options = {key: given.width if value is None else value for key, value in options.items()}
    network = build_network(kernel.create("blueprint", name, **options).architecture(features.schema), features.schema, kernel).eval()
    evaluation = features.evaluation("test")
    _answer(network, users, items, evaluation)
    found: dict[str, float] = {}

    def run() -> None:
        found.update(evaluate_ranking(network, features, evaluation, METRICS, exclude_seen=given.model != "SASRec").mean())

    return Session(run, lambda: np.array([found[name] for name in METRICS]), {"users": len(evaluation.users)})


def _answer(network: Network, users: torch.Tensor, items: torch.Tensor, evaluation: EvaluationSet) -> None:
    """Let the network answer with the given factors: by user id, or, where it reads histories, by a code of the last 50 items."""
    weights = torch.from_numpy(np.random.default_rng(0).integers(1, 2**40, 50))
    known = torch.stack([_code(evaluation.history_items[start:end][-50:], weights) for start, end in pairwise(evaluation.history_offsets)])
    order = torch.argsort(known)
    known, vectors = known[order], users[torch.from_numpy(evaluation.users)[order]]

    def serve_ids(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (users[tensors[0]],)

    def serve_histories(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        codes = (tensors[0] * weights[: tensors[0].shape[1]]).sum(1)
        return (vectors[torch.searchsorted(known, codes)],)

    network.serve = serve_histories if network.lengths else serve_ids  # type: ignore[method-assign]
    network.item_vectors = lambda: items  # type: ignore[method-assign]


def _code(history: np.ndarray, weights: torch.Tensor) -> torch.Tensor:
    return (torch.from_numpy(history.astype(np.int64)) * weights[: len(history)]).sum()


if __name__ == "__main__":
    serve(build)
