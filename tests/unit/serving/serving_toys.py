"""Small networks and a serving state with known answers, shared by the tests of deploy and serving."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from autorec_kernel.deploy.bundle import BundleFacts, ServedModel, served_model, write_bundle
from autorec_kernel.deploy.export import export_onnx
from autorec_kernel.records.as_of import AsOfTable
from autorec_kernel.records.bundle import Bundle
from autorec_kernel.records.drift import DriftProfile
from autorec_kernel.records.features import Feature, FeatureSchema
from autorec_kernel.records.program import Program, Step
from autorec_kernel.records.schema import Column, Schema
from autorec_kernel.records.serving_state import ServingState
from autorec_kernel.records.table import ColumnData
from autorec_kernel.records.vocabulary import Vocabulary
from autorec_kernel.serving.drift import gathered, with_ids
from autorec_kernel.serving.predict import count_rows

USERS, ITEMS, LENGTH = 6, 40, 5
COLUMNS = Schema((Column("user_id", "user", "id"), Column("item_id", "item", "id"), Column("rating", "label", "numeric")))


def events() -> dict[str, np.ndarray]:
    """Two to seven events a user; user 5 has none."""
    rng = np.random.default_rng(0)
    users = np.repeat([1, 2, 3, 4], [2, 4, 6, 7])
    items = np.concatenate([rng.permutation(np.arange(1, ITEMS + 1))[:count] for count in (2, 4, 6, 7)])
    return {"@user": users, "@item": items, "@order": np.arange(len(users)), "@clock": np.arange(len(users))}


def schema() -> FeatureSchema:
    features = (
        Feature("user_id", "id", "user", vocabulary="user", size=USERS),
        Feature("item_id", "id", "item", vocabulary="item", size=ITEMS + 1),
        Feature("history", "history", "user", dynamic=True, vocabulary="item", size=ITEMS + 1, width=LENGTH),
        Feature("price", "numeric", "item"),
    )
    return FeatureSchema(features, "user_id", "item_id", USERS, ITEMS + 1, {"rating": "value"}, {"rating": (1.0, 5.0, 3.5)}, events=19)


def state() -> ServingState:
    table = AsOfTable.sequence(events(), USERS)
    step = Step("as_of", ("@user", "@order"), "history", {"table": "history", "length": LENGTH})
    program = Program(("@user", "@order"), (step,), ("history",), {}, {"history": table})
    counts = np.bincount(events()["@user"], minlength=USERS)
    price = np.linspace(0, 1, ITEMS + 1, dtype=np.float32)
    return ServingState(
        schema(),
        Vocabulary.of([f"u{number}" for number in range(1, USERS)]),
        Vocabulary.of([f"i{number:02d}" for number in range(1, ITEMS + 1)]),
        {"user_id": np.arange(USERS, dtype=np.int32), "item_id": np.arange(ITEMS + 1, dtype=np.int32), "price": price},
        {"history": (program, "history")},
        np.bincount(events()["@item"], minlength=ITEMS + 1).astype(np.float32),
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        events()["@item"].astype(np.int32),
        np.ones(19, dtype=bool),
        {"user": "user_id", "item": "item_id", "time": ""},
    )


class Toy(nn.Module):
    """The attributes of a network without its architecture."""

    lengths: ClassVar[dict[str, int]] = {}

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.users, self.items = nn.Embedding(USERS, 8), nn.Embedding(ITEMS + 1, 8)
            self.mlp = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8))
            self.head = nn.Linear(17, 1)
        self.eval()


class HistoryScores(Toy):
    """Catalogue scores from the history alone."""

    inputs, serving_outputs, lengths = ("history",), ("score",), {"history": LENGTH}

    def serve(self, history: torch.Tensor) -> tuple[torch.Tensor, ...]:
        mask = (history != 0).float().unsqueeze(-1)
        mean = (self.items(history) * mask).sum(1) / mask.sum(1).clamp(min=1)
        return (self.mlp(torch.cat([mean, mean * mean], 1)) @ self.items.weight.T,)


class Factors(Toy):
    """User vectors from the user id."""

    inputs, serving_outputs = ("user_id",), ("user",)

    def serve(self, user: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (self.users(user),)

    def item_vectors(self) -> torch.Tensor:
        return self.items.weight.detach()


class Ranker(Toy):
    """A rating from user, item and price."""

    inputs, serving_outputs = ("user_id", "item_id", "price"), ("rating",)

    def serve(self, user: torch.Tensor, item: torch.Tensor, price: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (self.head(torch.cat([self.users(user), self.items(item), price], 1))[:, 0] * 3 + 3,)


TOYS = {"scores": HistoryScores, "factors": Factors, "ranker": Ranker}


def sample(names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Return eight rows of model inputs."""
    users, items = np.arange(8) % USERS, np.arange(8) * 5 % (ITEMS + 1)
    return state().inputs(names, users=users, items=items)


def write_toy(folder: Path, kind: str, **changes: Any) -> Bundle:
    network = TOYS[kind]()
    rows = sample(network.inputs)
    model: ServedModel = changes.pop("model", None) or served_model(network, export_onnx(network, rows))
    task = "rate" if kind == "ranker" else "recommend"
    facts = BundleFacts(task, "given/test", {"test": {"ndcg@10": 0.5}}, "[toy]", {"autorec-kernel": "0.1.0"}, {"rows": 19}, 0)
    return write_bundle(folder, model=model, facts=facts, columns=COLUMNS, **{"state": state(), "sample": rows, **changes})


def profiled(
    state: ServingState,
    names: Iterable[str],
    users: Sequence[str | None] | None,
    items: Sequence[str | None] | None,
    columns: Mapping[str, ColumnData],
) -> DriftProfile | None:
    """Return the profile of the features `names`, and of the ids of users and items, over some rows; None without rows."""
    names = with_ids(state.schema, names)
    rows = count_rows(users, items, columns)
    if not rows or not names:
        return None
    return DriftProfile.of(gathered(state, names, users, items, columns), [state.schema[name] for name in names], users=users)
