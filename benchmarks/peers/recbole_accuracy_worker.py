"""RecBole's side of the accuracy of retrievers: its data pipeline, models and `Trainer._train_epoch` on given rows, early stopped.

It reads `rows.npz` (histories of training, one validation item a user) and writes float32 [users, items], the scores of the best weights
for histories with the validation item. What is to be found in the test part is not in its input.
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
import scipy.sparse as sp
import torch
from accuracy import CHUNK, Part, Rows, serve
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.data.interaction import Interaction
from recbole.utils import ModelType, get_model, get_trainer, init_seed


def write(rows: Rows, folder: Path, length: int) -> None:
    """Write the benchmark files; RecBole wants a test file, which repeats the validation rows.

    Args:
        length: Steps of a history; 0 = the model reads none.
    """
    (folder / "loo").mkdir(parents=True)
    head = "user_id:token\t" + ("item_id_list:token_seq\t" if length else "") + "item_id:token"
    train = [_line(u, items[:at], items[at], length) for u, items in rows.known() for at in range(int(length > 0), len(items))]
    valid = [_line(u, items, item, length) for (u, items), item in zip(rows.known(), rows.wanted, strict=True)]
    for part, lines in (("train", train), ("valid", valid), ("test", valid)):
        (folder / "loo" / f"loo.{part}.inter").write_text("\n".join([head, *lines]) + "\n")


def _line(user: int, items: np.ndarray, item: int, length: int) -> str:
    return f"{user}\t" + (" ".join(map(str, items[-length:])) + "\t" if length else "") + str(item)


class Data:
    """RecBole's form of the rows: read once, used with every value of the option."""

    def __init__(self, rows: Rows, given: dict, folder: Path) -> None:
        told = {
            "data_path": str(folder), "benchmark_filename": ["train", "valid", "test"], "load_col": {"inter": given["columns"]},
            "alias_of_item_id": ["item_id_list"] if given["sequential"] else None, "use_gpu": False, "show_progress": False,
            "eval_args": {"mode": "full", "order": "TO", "group_by": "user", "split": {"LS": "valid_and_test"}}, "state": "ERROR",
            "metrics": ["NDCG"], "topk": [10], "valid_metric": "NDCG@10", "train_batch_size": given["batch"],
            "MAX_ITEM_LIST_LENGTH": given["length"], "seed": given["seed"], "checkpoint_dir": str(folder / "saved"), **given["config"],
        }  # fmt: skip
        if given["sequential"]:
            told["train_neg_sample_args"] = None
        self.config = Config(model=given["model"], dataset="loo", config_dict=told)
        logging.disable(logging.INFO)
        init_seed(self.config["seed"], True)
        write(rows, folder, given["length"] if given["sequential"] else 0)
        self.train, _, _ = data_preparation(self.config, create_dataset(self.config))
        tokens = self.train._dataset.field2id_token
        self.user_of, self.item_of = ({int(t): n for n, t in enumerate(tokens[name]) if n} for name in ("user_id", "item_id"))


class Trained:
    """One model with one value of the option that is chosen on the validation rows."""

    def __init__(self, rows: Rows, data: Data, given: dict, choice: float) -> None:
        self.rows, self.config, self.sequential, self.length = rows, data.config, given["sequential"], given["length"]
        self.user_of, self.item_of = data.user_of, data.item_of
        self.config[given["option"]] = choice
        init_seed(self.config["seed"], True)
        self.train = Part(data.train, given["parts"])
        self.network = get_model(given["model"])(self.config, data.train._dataset)
        self.trainer = get_trainer(self.config["MODEL_TYPE"], given["model"])(self.config, self.network)
        self.closed = self.config["MODEL_TYPE"] == ModelType.TRADITIONAL

    def part(self, number: int) -> None:
        """Train on the next part."""
        self.trainer._train_epoch(self.train, number, show_progress=False)

    def restored(self) -> None:
        """Forget what was computed from other weights."""
        if hasattr(self.network, "restore_user_e"):
            self.network.restore_user_e = self.network.restore_item_e = None

    def scores(self, lists: list[np.ndarray]) -> np.ndarray:
        """Return float32 [users, items] in the project's item rows; what RecBole never saw is last."""
        self.network.eval()
        self._remember(lists)
        users = torch.tensor([self.user_of[int(user)] for user in self.rows.users])
        asked = {"user_id": users, **(self._steps(lists) if self.sequential else {})}
        found = []
        with torch.no_grad():
            for at in range(0, len(users), CHUNK):
                part = Interaction({name: tensor[at : at + CHUNK] for name, tensor in asked.items()})
                values = np.asarray(self.network.full_sort_predict(part), dtype=np.float32)
                found.append(values.reshape(len(part), -1))
        answer = np.full((len(users), self.rows.items), -np.inf, dtype=np.float32)
        answer[:, list(self.item_of)] = np.concatenate(found)[:, list(self.item_of.values())]
        return answer

    def _steps(self, lists: list[np.ndarray]) -> dict[str, torch.Tensor]:
        steps = torch.zeros(len(lists), self.length, dtype=torch.long)
        for row, items in enumerate(lists):
            kept = [self.item_of[int(item)] for item in items[-self.length :] if int(item) in self.item_of]
            steps[row, : len(kept)] = torch.tensor(kept)
        return {"item_id_list": steps, "item_length": (steps != 0).sum(1)}

    def _remember(self, lists: list[np.ndarray]) -> None:
        """Let models that read a stored history matrix read these histories."""
        pairs = [(self.user_of[int(u)], self.item_of[int(i)]) for u, own in zip(self.rows.users, lists, strict=True) for i in own]
        if hasattr(self.network, "interaction_matrix") and hasattr(self.network, "item_similarity"):
            old = self.network.interaction_matrix
            marks = sp.csr_matrix((np.ones(len(pairs), np.float32), np.array(pairs).T), shape=old.shape)
            self.network.interaction_matrix = marks.asformat(old.format)
        if hasattr(self.network, "history_item_id"):
            self._stored = getattr(self, "_stored", (self.network.history_item_id, self.network.history_item_value))
            table = torch.zeros(len(self.network.history_item_id), max(map(len, lists)), dtype=torch.long)
            for user, own in zip(self.rows.users, lists, strict=True):
                table[self.user_of[int(user)], : len(own)] = torch.tensor([self.item_of[int(item)] for item in own])
            self.network.history_item_id, self.network.history_item_value = table, (table != 0).float()


def prepare(rows: Rows, given: dict):
    """Return what makes a model with one choice."""
    data = Data(rows, given, Path(tempfile.mkdtemp(dir=given["work"])))
    return lambda choice: Trained(rows, data, given, choice)


if __name__ == "__main__":
    serve(prepare, recbole=recbole.__version__)
