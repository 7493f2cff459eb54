"""RecBole's full-ranking evaluation: `Trainer.evaluate` with given vectors of users and items; one evaluation a call.

Of SASRec the forward pass is left out: it answers with the given vectors. RecBole masks nothing for sequential models.
"""

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
        "embedding_size": given.width, "metrics": ["NDCG", "Recall", "Hit", "MRR"], "topk": [10],
        "metric_decimal_place": 6, "valid_metric": "NDCG@10",
        "eval_args": {"mode": "full", "order": "RO", "group_by": "user", "split": {"LS": "valid_and_test"}}, "use_gpu": False,
        "show_progress": False, "state": "ERROR", "seed": given.seed, "checkpoint_dir": str(folder / "saved"),
    }  # fmt: skip
    if given.model == "SASRec":
        told |= {"load_col": {"inter": ["user_id", "item_id", "place"]}, "TIME_FIELD": "place", "hidden_size": given.width}
        told |= {"MAX_ITEM_LIST_LENGTH": 50, "train_neg_sample_args": None, "benchmark_filename": None}
        told |= {"eval_args": {"mode": "full", "order": "TO", "group_by": "user", "split": {"LS": "valid_and_test"}}}
    return told | ({"eval_batch_size": given.batch} if given.batch else {})


def build(given: Options) -> Session:
    """Return the session; its `scores` are the four metrics."""
    folder = Path(tempfile.mkdtemp(dir=given.work))
    write(Path(given.data), folder / "loo", given.model)
    sys.argv = sys.argv[:1]
    config = Config(model=given.model, dataset="loo", config_dict=settings(given, folder))
    logging.disable(logging.INFO)
    init_seed(config["seed"], True)
    train, _, test = data_preparation(config, create_dataset(config))
    network = get_model(given.model)(config, train._dataset)
    place(network, train._dataset, given)
    trainer = get_trainer(config["MODEL_TYPE"], given.model)(config, network)
    found: dict[str, float] = {}

    def run() -> None:
        found.update(trainer.evaluate(test, load_best_model=False, show_progress=False))

    def metrics() -> np.ndarray:
        return np.array([found[f"{name}@10"] for name in ("ndcg", "recall", "hit", "mrr")])

    return Session(run, metrics, {"batch": config["eval_batch_size"]})


def write(data: Path, folder: Path, model: str) -> None:
    """Write RecBole's atomic files: three parts, or, for a sequential model, what a history of 50 may read of them, with places."""
    folder.mkdir()
    parts = {name: np.load(data / f"{name}.npy") for name in ("train", "valid", "test")}
    if model == "SASRec":
        kinds = range(3)
        events = [np.column_stack([part[:, :2], kind * 10_000_000 + part[:, 2]]) for kind, part in zip(kinds, parts.values(), strict=True)]
        head = "user_id:token\titem_id:token\tplace:float"
        rows = np.concatenate(events)
        rows = rows[np.lexsort((rows[:, 2], rows[:, 0]))]
        behind = np.searchsorted(rows[:, 0], rows[:, 0], side="right") - np.arange(len(rows))
        items = np.unique(rows[:, 1], return_index=True)[1]  # the catalogue stays whole
        rows = rows[np.union1d(items, np.flatnonzero(behind <= 52))]
        np.savetxt(folder / "loo.inter", rows, fmt="%d", delimiter="\t", header=head, comments="")
        return
    for name, rows in parts.items():
        head = "user_id:token\titem_id:token"
        np.savetxt(folder / f"loo.{name}.inter", rows[:, :2], fmt="%d", delimiter="\t", header=head, comments="")


def place(network, dataset, given: Options) -> None:
    """Give the network the factors of `retrieval_data`, row by row; SASRec answers with those of the users it is asked for."""
    found = {}
    for field, name in (("user_id", "users"), ("item_id", "items")):
        values = torch.from_numpy(np.load(Path(given.data) / f"{name}.npy"))
        found[name] = values[[int(token) if token != "[PAD]" else 0 for token in dataset.field2id_token[field]]]
    network.item_embedding.weight.data = found["items"]
    if given.model == "BPR":
        network.user_embedding.weight.data = found["users"]
        return
    ask, asked = network.full_sort_predict, []

    def predict(interaction) -> torch.Tensor:
        asked[:] = [interaction["user_id"]]
        return ask(interaction)

    network.full_sort_predict = predict
    network.forward = lambda *_: found["users"][asked[0]]


if __name__ == "__main__":
    serve(build, recbole=recbole.__version__)
