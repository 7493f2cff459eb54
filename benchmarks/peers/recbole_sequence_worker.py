"""RecBole's retrievers: its own data pipeline and `Trainer._train_epoch` on an unending row of its batches, some a call."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

sys.path.insert(0, os.path.dirname(__file__))

import numpy as np
import recbole
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, get_trainer, init_seed
from sequence_models import LENGTH, batches_of_a_call
from worker import Options, Session, serve

PARTS = ("train", "valid", "test")
SEQUENTIAL = ("SASRec", "GRU4Rec")
EVERY = int(os.environ.get("BENCH_EVERY", "1"))  # one user in so many: its expansion of prefixes takes long, and is not timed


def write(given: Options, folder: Path) -> None:
    """Write the parts; sequential models get them as one, whose last two events of a user RecBole splits off itself."""
    rows = [np.load(Path(given.data) / f"{part}.npy")[:, :2] for part in PARTS]
    head = "user_id:token\titem_id:token"
    (folder / "loo").mkdir()
    if given.model not in SEQUENTIAL:
        for part, one in zip(PARTS, rows, strict=True):
            np.savetxt(folder / "loo" / f"loo.{part}.inter", one, fmt="%d", delimiter="\t", header=head, comments="")
        return
    whole = np.concatenate(rows)
    np.savetxt(folder / "loo" / "loo.item", np.unique(whole[:, 1]), fmt="%d", header="item_id:token", comments="")
    whole = np.column_stack([whole, np.arange(len(whole))])  # a user's events lie in their order in each part
    whole = whole[whole[:, 0] % EVERY == 0]
    np.savetxt(folder / "loo" / "loo.inter", whole, fmt="%d", delimiter="\t", header=f"{head}\ttimestamp:float", comments="")


def settings(given: Options, folder: Path) -> dict:
    """Return the configuration: equal sizes and losses, no penalties."""
    told = {
        "data_path": str(folder), "load_col": {"inter": ["user_id", "item_id"]}, "benchmark_filename": list(PARTS),
        "embedding_size": given.width, "hidden_size": given.hidden[0], "inner_size": given.width, "n_heads": 2, "num_layers": 1,
        "n_layers": 3 if given.model == "LightGCN" else 2, "hidden_dropout_prob": given.dropout, "attn_dropout_prob": 0.0,
        "dropout_prob": given.dropout, "reg_weight": 0.0, "mlp_hidden_size": [given.hidden[0]], "latent_dimension": 2 * given.width,
        "anneal_cap": 0.2, "total_anneal_steps": 0, "train_batch_size": given.batch, "learning_rate": given.rate, "weight_decay": 0.0,
        "eval_args": {"mode": "full", "order": "RO", "group_by": "user", "split": {"LS": "valid_and_test"}}, "use_gpu": False,
        "show_progress": False, "state": "ERROR", "seed": given.seed, "checkpoint_dir": str(folder / "saved"),
    }  # fmt: skip
    if given.model in SEQUENTIAL:
        del told["benchmark_filename"]
        told |= {
            "load_col": {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id"]},
            "MAX_ITEM_LIST_LENGTH": LENGTH,
            "loss_type": "CE",
        }
        told |= {"train_neg_sample_args": None}
        told["eval_args"]["order"] = "TO"
    if given.model == "MultiVAE":
        told["train_neg_sample_args"] = None
    return told


class Some:
    """The next batches of a loader that begins again when it ends."""

    def __init__(self, loader, count: int) -> None:
        self.loader, self.count, self.seen = loader, count, 0
        self.stream = self._stream()

    def _stream(self) -> Iterator:
        while True:
            yield from self.loader

    def __iter__(self) -> Iterator:
        for batch in islice(self.stream, self.count):
            self.seen += len(batch)
            yield batch


def build(given: Options) -> Session:
    """Return the session; its `scores` are what the last call scored, its batches and its mean loss."""
    folder = Path(tempfile.mkdtemp(dir=given.work))
    write(given, folder)
    sys.argv = sys.argv[:1]
    config = Config(model=given.model, dataset="loo", config_dict=settings(given, folder))
    logging.disable(logging.INFO)
    init_seed(config["seed"], True)
    train = data_preparation(config, create_dataset(config))[0]
    network = get_model(given.model)(config, train._dataset)
    trainer = get_trainer(config["MODEL_TYPE"], given.model)(config, network)
    some = Some(train, batches_of_a_call(given.model, True, given.batch, len(train)))
    told = np.zeros(3)

    def run() -> None:
        before = some.seen
        loss = trainer._train_epoch(some, 0, show_progress=False)
        told[:] = some.seen - before, some.count, loss / some.count

    facts = {
        "parameters": sum(p.numel() for p in network.parameters()),
        "batches_of_an_epoch": len(train),
        "batch": given.batch,
        "rows": len(train._dataset.inter_feat),
        "items": train._dataset.item_num,
        "one_user_in": EVERY if given.model in SEQUENTIAL else 1,
    }
    return Session(run, lambda: told, facts)


if __name__ == "__main__":
    serve(build, recbole=recbole.__version__)
