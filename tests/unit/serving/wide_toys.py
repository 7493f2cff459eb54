"""A factorised retriever with thousands of items, and indexes whose faults are known."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from autorec_kernel.deploy.bundle import BundleFacts, ServedModel, served_model, write_bundle
from autorec_kernel.deploy.export import export_onnx
from autorec_kernel.records.bundle import Bundle
from autorec_kernel.records.features import Feature, FeatureSchema
from autorec_kernel.records.schema import Column, Schema
from autorec_kernel.records.serving_state import ServingState
from autorec_kernel.records.vocabulary import Vocabulary

USERS, ITEMS, WIDTH = 240, 3000, 12
COLUMNS = Schema((Column("user_id", "user", "id"), Column("item_id", "item", "id")))


def tables(*, whole: bool = False, width: int = WIDTH) -> tuple[np.ndarray, np.ndarray]:
    """Return float32 user vectors [USERS, D] and item vectors [ITEMS + 1, D] in forty groups.

    Whole numbers give exact scores, and with a hundred items that stand there twice, ties.
    """
    rng = np.random.default_rng(11)
    middles = rng.normal(size=(40, width)) * rng.lognormal(0, 0.5, (40, 1)) * (20 if whole else 1)
    found = [middles[rng.integers(0, 40, count)] + 0.4 * rng.normal(size=(count, width)) for count in (USERS, ITEMS + 1)]
    users, items = (np.rint(part) if whole else part for part in found)
    if whole:
        items[2001:2101] = items[1:101]
    return users.astype(np.float32), items.astype(np.float32)


def state(seen: int = 9) -> ServingState:
    """Every user has seen `seen` items; user 1 has seen the eighty that suit it best."""
    users, items = tables()
    rng = np.random.default_rng(5)
    lists = [np.sort(rng.choice(np.arange(1, ITEMS + 1), seen, replace=False)) for _ in range(1, USERS)]
    lists[0] = 1 + np.argsort(-(items[1:] @ users[1]))[:80]
    taken = np.concatenate(lists).astype(np.int32)
    features = (
        Feature("user_id", "id", "user", vocabulary="user", size=USERS),
        Feature("item_id", "id", "item", vocabulary="item", size=ITEMS + 1),
    )
    return ServingState(
        FeatureSchema(features, "user_id", "item_id", USERS, ITEMS + 1, {"@event": "score"}, {}, events=len(taken)),
        Vocabulary.of([f"u{number}" for number in range(1, USERS)]),
        Vocabulary.of([f"i{number:04d}" for number in range(1, ITEMS + 1)]),
        {"user_id": np.arange(USERS, dtype=np.int32), "item_id": np.arange(ITEMS + 1, dtype=np.int32)},
        {},
        np.bincount(taken, minlength=ITEMS + 1).astype(np.float32),
        np.concatenate([[0, 0], np.cumsum([len(one) for one in lists])]).astype(np.int64),
        taken,
        np.ones(len(taken), dtype=bool),
        {"user": "user_id", "item": "item_id", "time": ""},
    )


class Wide(nn.Module):
    """User vectors from the user id; with `interests`, that many of them."""

    inputs, serving_outputs = ("user_id",), ("user",)

    def __init__(self, *, whole: bool = False, interests: int = 0) -> None:
        super().__init__()
        users, items = tables(whole=whole)
        self.table = nn.Embedding.from_pretrained(torch.from_numpy(users))
        self.items, self.interests, self.lengths = torch.from_numpy(items), interests, dict[str, int]()
        self.eval()

    def serve(self, user: torch.Tensor) -> tuple[torch.Tensor, ...]:
        own = self.table(user)
        return (torch.stack([torch.roll(own, step, 1) for step in range(self.interests)], 1) if self.interests else own,)

    def item_vectors(self) -> torch.Tensor:
        return self.items


@cache
def wide_model(**options: Any) -> ServedModel:
    network = Wide(**options)
    return served_model(network, export_onnx(network, {"user_id": np.arange(4)}))


def write_wide(folder: Path, model: ServedModel) -> Bundle:
    facts = BundleFacts("recommend", "given/test")
    return write_bundle(folder, model=model, state=state(), sample={"user_id": np.arange(8)}, facts=facts, columns=COLUMNS)


class Leaky:
    """Exact search that never proposes a given share of the rows; the share of each effort is known. Of ties it has the last rows first.

    Args:
        lost: Effort → share of the rows that it misses.
        odd: What is proposed in place of everything (rows far outside the table, or none).
    """

    def __init__(self, *lost: float, odd: int | None = None) -> None:
        self.lost, self.odd, self.efforts, self.asked = lost, odd, len(lost), list[int]()

    def build(self, vectors: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return {"vectors": vectors}

    def open(self, arrays: Any) -> Leaky:
        self.vectors = arrays["vectors"]
        self.hidden = [np.random.default_rng(1).random(len(self.vectors)) < share for share in self.lost]
        return self

    def candidates(self, queries: np.ndarray, count: int, effort: int) -> np.ndarray:
        self.asked.append(count)
        scores = np.where(self.hidden[effort], -np.inf, queries @ self.vectors.T)
        found = scores.shape[1] - 1 - np.argsort(-scores[:, ::-1], axis=1, kind="stable")[:, :count]
        return found if self.odd is None else np.full_like(found, self.odd)


class Host:
    """The part of a kernel that finds indexes: components by name."""

    def __init__(self, **indexes: Any) -> None:
        self.indexes = indexes

    def components(self, kind: str) -> tuple[Any, ...]:
        return tuple(type("Row", (), {"id": name}) for name in self.indexes)

    def create(self, kind: str, id: str) -> Any:
        found = self.indexes[id]
        if isinstance(found, Exception):
            raise found
        return found
