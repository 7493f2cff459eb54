"""RecBole's side of the accuracy of retrievers: its data pipeline, models and `Trainer._train_epoch` on given rows, early stopped.

It reads `rows.npz` (histories of training, one validation item a user) and writes float32 [users, items], the scores of the best weights
for histories with the validation item. What is to be found in the test part is not in its input.
"""

from __future__ import annotations

import json
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
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.data.interaction import Interaction
from recbole.utils import ModelType, get_model, get_trainer, init_seed
from worker import cpu_seconds

LENGTH, CHUNK = 50, 256


class Rows:
    """The rows that both sides learn from; user and item rows are the project's, from 1."""

    def __init__(self, file: str) -> None:
        found = np.load(file)
        self.users, self.wanted, self.items = found["users"], found["valid"], int(found["items"])
        self.lists = np.split(found["history"], found["offsets"][1:-1])

    def write(self, folder: Path, sequential: bool) -> None:
        """Write the benchmark files; RecBole wants a test file, which repeats the validation rows."""
        (folder / "loo").mkdir(parents=True)
        head = "user_id:token\t" + ("item_id_list:token_seq\t" if sequential else "") + "item_id:token"
        train = [
            self._line(u, items[:at], items[at], sequential) for u, items in self._known() for at in range(int(sequential), len(items))
        ]
        valid = [self._line(u, items, item, sequential) for (u, items), item in zip(self._known(), self.wanted, strict=True)]
        for part, lines in (("train", train), ("valid", valid), ("test", valid)):
            (folder / "loo" / f"loo.{part}.inter").write_text("\n".join([head, *lines]) + "\n")

    def ndcg(self, scores: np.ndarray) -> float:
        """Return NDCG@10 of the validation item among all items that are not in the history."""
        ranks = []
        for row, seen, item in zip(scores, self.lists, self.wanted, strict=True):
            above = row > row[item]
            above[seen], above[0] = False, False
            ranks.append(1 + int(above.sum()))
        place = np.array(ranks)
        return float(np.where(place <= 10, 1 / np.log2(place + 1), 0).mean())

    def _known(self) -> list[tuple[int, np.ndarray]]:
        return list(zip(self.users, self.lists, strict=True))

    @staticmethod
    def _line(user: int, items: np.ndarray, item: int, sequential: bool) -> str:
        return f"{user}\t" + (" ".join(map(str, items[-LENGTH:])) + "\t" if sequential else "") + str(item)


class Part:
    """A part of each pass: RecBole's batches are dealt out over several calls, so that a long epoch is judged more than once."""

    def __init__(self, loader, parts: int) -> None:
        self.loader, self.shuffle, self.sampler = loader, False, None
        self.size, self.source = -(-len(loader) // parts), iter(())

    def __len__(self) -> int:
        return self.size

    def __iter__(self):
        for number in range(self.size):
            batch = next(self.source, None)
            if batch is None:
                if number:
                    return
                self.source = iter(self.loader)
                batch = next(self.source)
            yield batch


class Data:
    """RecBole's form of the rows: read once, used with every value of the option."""

    def __init__(self, rows: Rows, given: dict, folder: Path) -> None:
        told = {
            "data_path": str(folder), "benchmark_filename": ["train", "valid", "test"], "load_col": {"inter": given["columns"]},
            "alias_of_item_id": ["item_id_list"] if given["sequential"] else None, "MAX_ITEM_LIST_LENGTH": LENGTH, "use_gpu": False,
            "eval_args": {"mode": "full", "order": "TO", "group_by": "user", "split": {"LS": "valid_and_test"}}, "state": "ERROR",
            "metrics": ["NDCG"], "topk": [10], "valid_metric": "NDCG@10", "train_batch_size": given["batch"], "show_progress": False,
            "seed": given["seed"], "checkpoint_dir": str(folder / "saved"), **given["config"],
        }  # fmt: skip
        if given["sequential"]:
            told["train_neg_sample_args"] = None
        self.config = Config(model=given["model"], dataset="loo", config_dict=told)
        logging.disable(logging.INFO)
        init_seed(self.config["seed"], True)
        rows.write(folder, given["sequential"])
        self.train, _, _ = data_preparation(self.config, create_dataset(self.config))
        tokens = self.train._dataset.field2id_token
        self.user_of, self.item_of = ({int(t): n for n, t in enumerate(tokens[name]) if n} for name in ("user_id", "item_id"))


class Trained:
    """One model with one value of the option that is chosen on the validation rows."""

    def __init__(self, rows: Rows, data: Data, given: dict, choice: float) -> None:
        self.rows, self.config, self.sequential = rows, data.config, given["sequential"]
        self.user_of, self.item_of = data.user_of, data.item_of
        self.config[given["option"]] = choice
        init_seed(self.config["seed"], True)
        self.train = Part(data.train, given["parts"])
        self.network = get_model(given["model"])(self.config, data.train._dataset)
        self.trainer = get_trainer(self.config["MODEL_TYPE"], given["model"])(self.config, self.network)

    def fit(self, budget: float, patience: int) -> dict:
        """Train until the budget is spent or the validation value has not risen for `patience` judgements; keep the best weights."""
        begin, best, curve = cpu_seconds(), None, []
        closed = self.config["MODEL_TYPE"] == ModelType.TRADITIONAL
        while cpu_seconds() - begin < budget:
            self.trainer._train_epoch(self.train, len(curve), show_progress=False)
            curve.append((round(cpu_seconds() - begin, 2), round(self.rows.ndcg(self.scores(self.rows.lists)), 5)))
            if best is None or curve[-1][1] > max(value for _, value in curve[:-1]):
                best = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
            where = int(np.argmax([value for _, value in curve]))
            if closed or len(curve) - 1 - where >= patience:
                break
        self.network.load_state_dict(best)
        if hasattr(self.network, "restore_user_e"):
            self.network.restore_user_e = self.network.restore_item_e = None
        return {"valid": curve[where][1], "cpu_s": curve[-1][0], "best_at_cpu_s": curve[where][0], "judged": len(curve), "curve": curve}

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
        steps = torch.zeros(len(lists), LENGTH, dtype=torch.long)
        for row, items in enumerate(lists):
            kept = [self.item_of[int(item)] for item in items[-LENGTH:] if int(item) in self.item_of]
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


def main() -> None:
    """Train one model with every choice, judge on the validation rows, write the scores of the best."""
    given = json.loads(sys.argv[1])
    sys.argv = sys.argv[:1]
    torch.set_num_threads(1)
    rows, told, best = Rows(given["rows"]), {}, None
    folder = Path(tempfile.mkdtemp(dir=given["work"]))
    data = Data(rows, given, folder)
    for choice in given["choices"]:
        trained = Trained(rows, data, given, choice)
        told[str(choice)] = trained.fit(given["budget"], given["patience"] * given["parts"])
        if best is None or told[str(choice)]["valid"] > best[0]:
            best = (told[str(choice)]["valid"], choice, trained)
    longer = [np.append(own, item) for own, item in zip(rows.lists, rows.wanted, strict=True)]
    np.save(given["out"] + ".npy", best[2].scores(longer))
    versions = {"recbole": recbole.__version__, "torch": torch.__version__, "numpy": np.__version__}
    answer = {"option": given["option"], "chosen": best[1], "valid": best[0], "trainings": told, "versions": versions}
    Path(given["out"] + ".json").write_text(json.dumps(answer))


if __name__ == "__main__":
    main()
