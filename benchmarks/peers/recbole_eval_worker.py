"""RecBole's full-ranking evaluation of a factorised model: `Trainer.evaluate` of BPR with given factors; one evaluation a call."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, os.path.dirname(__file__))

import numpy as np
import recbole
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, get_trainer, init_seed
from worker import Options, Session, serve


def settings(given: Options, folder: Path) -> dict:
    """Return the configuration; `batch` 0 leaves its evaluation batch as it comes."""
    told = {
        "data_path": str(folder), "benchmark_filename": ["train", "valid", "test"], "load_col": {"inter": ["user_id", "item_id"]},
        "embedding_size": given.width, "metrics": ["NDCG", "Recall", "Hit", "MRR"], "topk": [10], "valid_metric": "NDCG@10",
        "eval_args": {"mode": "full", "order": "RO", "group_by": "user", "split": {"LS": "valid_and_test"}}, "use_gpu": False,
        "show_progress": False, "state": "ERROR", "seed": given.seed, "checkpoint_dir": str(folder / "saved"),
    }  # fmt: skip
    return told | ({"eval_batch_size": given.batch} if given.batch else {})


def build(given: Options) -> Session:
    """Return the session; its `scores` are the four metrics."""
    folder = Path(tempfile.mkdtemp(dir=given.work))
    (folder / "loo").mkdir()
    for part in ("train", "valid", "test"):
        rows = np.load(Path(given.data) / f"{part}.npy")[:, :2]
        head = "user_id:token\titem_id:token"
        np.savetxt(folder / "loo" / f"loo.{part}.inter", rows, fmt="%d", delimiter="\t", header=head, comments="")
    sys.argv = sys.argv[:1]
    config = Config(model="BPR", dataset="loo", config_dict=settings(given, folder))
    logging.disable(logging.INFO)
    init_seed(config["seed"], True)
    train, _, test = data_preparation(config, create_dataset(config))
    network = get_model("BPR")(config, train._dataset)
    place(network, train._dataset, given)
    trainer = get_trainer(config["MODEL_TYPE"], "BPR")(config, network)
    found: dict[str, float] = {}

    def run() -> None:
        found.update(trainer.evaluate(test, load_best_model=False, show_progress=False))

    def metrics() -> np.ndarray:
        return np.array([found[f"{name}@10"] for name in ("ndcg", "recall", "hit", "mrr")])

    return Session(run, metrics, {"batch": config["eval_batch_size"]})


def place(network, dataset, given: Options) -> None:
    """Give the network the factors of `retrieval_data`, row by row."""
    for field, name, table in (("user_id", "users", network.user_embedding), ("item_id", "items", network.item_embedding)):
        values = torch.from_numpy(np.load(Path(given.data) / f"{name}.npy"))
        rows = [int(token) if token != "[PAD]" else 0 for token in dataset.field2id_token[field]]
        table.weight.data = values[rows]


if __name__ == "__main__":
    serve(build, recbole=recbole.__version__)
