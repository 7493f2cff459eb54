"""AutoRec kernel's full-ranking evaluation: `evaluate_ranking` of a factorised model, or of SASRec with its forward pass taken out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from autorec_kernel.features import FeatureSet
from autorec_kernel.kernel import Kernel
from autorec_kernel.models import evaluate_ranking
from autorec_kernel.models.network import Network, build_network
from benchmarks.peers.worker import Options, Session, serve

METRICS = ("ndcg@10", "recall@10", "hr@10", "mrr@10")


def build(given: Options) -> Session:
    """Return the session; its `scores` are the four metrics."""
    features, kernel = FeatureSet.load(Path(given.data) / "features"), Kernel.discover()
    users, items = (torch.from_numpy(np.load(Path(given.data) / f"{name}.npy")) for name in ("users", "items"))
    name, options = {"BPR": ("bpr-mf", {"embedding_dim": given.width, "biases": False}), "SASRec": ("sasrec", {})}[given.model]
    network = build_network(kernel.create("blueprint", name, **options).architecture(features.schema), features.schema, kernel).eval()
    evaluation = features.evaluation("test")
    _answer(network, users, items, evaluation.users, given.model)
    found: dict[str, float] = {}

    def run() -> None:
        found.update(evaluate_ranking(network, features, evaluation, METRICS).mean())

    return Session(run, lambda: np.array([found[name] for name in METRICS]), {"users": len(evaluation.users)})


def _answer(network: Network, users: torch.Tensor, items: torch.Tensor, order: np.ndarray, model: str) -> None:
    """Let the network answer with the given factors: by user id, or, where it reads histories, in the order it is asked."""
    place = [0]

    def serve_ids(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (users[tensors[0]],)

    def serve_next(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        start, place[0] = place[0], (place[0] + len(tensors[0])) % len(order)
        return (users[order[start : start + len(tensors[0])]],)

    network.serve = serve_ids if model == "BPR" else serve_next  # type: ignore[method-assign]
    network.item_vectors = lambda: items  # type: ignore[method-assign]


if __name__ == "__main__":
    serve(build)
