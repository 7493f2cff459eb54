"""torch-rechub's side of the accuracy of retrievers: its match models, `MatchTrainer` and negative sampling on given rows, early stopped.

Every step of a history but the first is a training row with the steps before it, as its `generate_seq_feature_match` makes them. Users are
ids and histories, items are ids. Scores are products of the towers' vectors (MIND: of the best interest) for the whole catalogue.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections import Counter
from importlib.metadata import version

sys.path.insert(0, os.path.dirname(__file__))

import numpy as np
import torch
from accuracy import CHUNK, Part, Rows, serve
from torch.nn.functional import normalize
from torch_rechub.basic.features import SequenceFeature, SparseFeature
from torch_rechub.models import matching
from torch_rechub.trainers import MatchTrainer
from torch_rechub.utils.data import MatchDataGenerator
from torch_rechub.utils.match import negative_sample

MODES = {"DSSM": 0, "FaceBookDSSM": 1, "YoutubeDNN": 2, "MIND": 2, "NARM": 2}  # point-wise, pair-wise, list-wise


def padded(lists: list[np.ndarray], length: int) -> np.ndarray:
    """Return int64 [lists, length], the newest steps from the left (NARM packs them so)."""
    table = np.zeros((len(lists), length), dtype=np.int64)
    for row, items in enumerate(lists):
        kept = items[-length:]
        table[row, : len(kept)] = kept
    return table


class Data:
    """The training rows in torch-rechub's form, made once."""

    def __init__(self, rows: Rows, given: dict) -> None:
        np.random.seed(given["seed"])
        self.rows, self.length, self.uniform = rows, given["length"], given["config"].get("uniform", False)
        steps = [(user, items[:at], items[at]) for user, items in rows.known() for at in range(1, len(items))]
        users, wanted = np.array([user for user, _, _ in steps]), np.array([item for _, _, item in steps])
        x = {"user_id": users, "item_id": wanted, "hist_item_id": padded([past for _, past, _ in steps], self.length)}
        mode, count = MODES[given["model"]], given["config"].get("negatives", 0)
        y = np.zeros(len(users))
        if given["model"] == "NARM":
            y = wanted
        elif mode == 0:
            drawn = self._drawn(len(users) * count)
            x = {name: np.concatenate([column, np.repeat(column, count, axis=0)]) for name, column in x.items()}
            x["item_id"], y = np.append(wanted, drawn), np.append(np.ones(len(users)), np.zeros(len(drawn)))
        else:
            drawn = self._drawn(len(users) * count).reshape(-1, count)
            x["neg_items"] = drawn[:, 0] if mode == 1 else drawn
        self.train, _, _ = MatchDataGenerator(x, y).generate_dataloader(x, x, given["batch"], num_workers=0)

    def _drawn(self, size: int) -> np.ndarray:
        counts = Counter(int(item) for own in self.rows.lists for item in own)
        return np.asarray(negative_sample(dict(counts.most_common()), ratio=size, method_id=0 if self.uniform else 1))


def network_of(name: str, users: int, items: int, length: int, config: dict):
    """Return torch-rechub's module."""
    width = 64
    user, item = SparseFeature("user_id", vocab_size=users, embed_dim=width), SparseFeature("item_id", vocab_size=items, embed_dim=width)
    past = {"vocab_size": items, "embed_dim": width, "padding_idx": 0, "shared_with": "item_id"}
    mean, steps = (SequenceFeature("hist_item_id", pooling=kind, **past) for kind in ("mean", "concat"))
    deep = {"dims": [128, width], "activation": "prelu"}
    if name == "NARM":
        history = SequenceFeature("hist_item_id", vocab_size=items, embed_dim=width, pooling="concat")
        return matching.NARM(history, hidden_dim=128, emb_dropout_p=0.25, session_rep_dropout_p=0.5)
    if name == "DSSM":
        return matching.DSSM([user, mean], [item], user_params=deep, item_params=deep, temperature=0.02)
    if name == "FaceBookDSSM":
        other = SparseFeature("neg_items", vocab_size=items, embed_dim=width, shared_with="item_id")
        return matching.FaceBookDSSM([user, mean], [item], [other], user_params=deep, item_params=deep, temperature=0.02)
    others = SequenceFeature("neg_items", pooling="concat", vocab_size=items, embed_dim=width, shared_with="item_id")
    if name == "YoutubeDNN":
        return matching.YoutubeDNN([user, mean], [item], [others], user_params=deep, temperature=0.02)
    return matching.MIND([user], [steps], [item], [others], max_length=length, temperature=0.02, interest_num=4)


class Trained:
    """One model with one learning rate."""

    closed = False

    def __init__(self, rows: Rows, data: Data, given: dict, choice: float) -> None:
        torch.manual_seed(given["seed"])
        self.rows, self.length, self.name = rows, given["length"], given["model"]
        self.network = network_of(self.name, int(rows.users.max()) + 1, rows.items, self.length, given["config"])
        options = {"optimizer_params": {"lr": choice, "weight_decay": 1e-6}, "model_path": given["work"]}
        self.trainer = MatchTrainer(self.network, mode=MODES[self.name], **options)
        self.train = Part(data.train, given["parts"])
        self.met = np.zeros(rows.items, dtype=bool)
        self.met[np.concatenate(rows.longer())] = True

    def part(self, number: int) -> None:
        """Train on the next part."""
        self.network.mode = None
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
            self.trainer.train_one_epoch(self.train)

    def restored(self) -> None:
        """Nothing is kept beside the weights."""

    def scores(self, lists: list[np.ndarray]) -> np.ndarray:
        """Return float32 [users, items]; items without any event are last."""
        self.network.eval()
        steps = torch.from_numpy(padded(lists, self.length))
        users = torch.from_numpy(self.rows.users.astype(np.int64))
        with torch.no_grad():
            catalogue = None if self.name == "NARM" else self._items()
            parts = [slice(at, at + CHUNK) for at in range(0, len(users), CHUNK)]
            found = [self._users({"user_id": users[part], "hist_item_id": steps[part]}, catalogue) for part in parts]
        answer = torch.cat(found).numpy().astype(np.float32)
        answer[:, ~self.met] = -np.inf
        return answer

    def _items(self) -> torch.Tensor:
        """Return float32 [items, width]; FaceBookDSSM leaves out in serving the unit length that it trains with."""
        self.network.mode = "item"
        return normalize(self.network({"item_id": torch.arange(self.rows.items)}), dim=-1)

    def _users(self, asked: dict[str, torch.Tensor], catalogue: torch.Tensor | None) -> torch.Tensor:
        if catalogue is None:
            self.network.mode = None
            return self.network(asked)
        self.network.mode = "user"
        products = self.network(asked) @ catalogue.T
        return products.amax(1) if products.dim() == 3 else products


def prepare(rows: Rows, given: dict):
    """Return what makes a model with one choice."""
    data = Data(rows, given)
    return lambda choice: Trained(rows, data, given, choice)


if __name__ == "__main__":
    serve(prepare, torch_rechub=version("torch_rechub"))
