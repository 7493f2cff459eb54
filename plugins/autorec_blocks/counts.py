"""Solved tables of width one: how often an item was chosen, and how far a user or an item deviates from the mean label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn

from autorec_blocks.base import Block
from autorec_kernel.config import ComponentConfig
from autorec_kernel.records.architecture import Port, TensorSpec
from autorec_kernel.records.dataset import MISSING_TIME
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.records.interactions import Interactions
from autorec_kernel.space import Float

__all__ = ["BiasTable", "ItemCounts", "StoredTable"]


class StoredTable(nn.Module):
    """A solved table kept as a buffer."""

    def __init__(self, values: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("values", torch.from_numpy(np.array(values, dtype=np.float32)))

    def forward(self) -> torch.Tensor:
        """Return float32 [R, D]."""
        return self.values  # type: ignore[return-value]


class ItemCounts(Block):
    """One weight an item: the logarithm of one plus its number of training events (popularity, monotone in the count).

    With a `half_life` old events count less: 2^(-age / half-life), age being the share of the data's time span that has passed since
    the event or, where no common time is known, the share of the user's events that came after it.
    """

    class Config(ComponentConfig):
        """Options."""

        rows: int = Field(0, ge=0, description="Rows of the catalogue, row 0 = unknown included.")
        half_life: float = Field(0.0, ge=0, description="Share of the time span after which an event counts half; 0 = events do not age.")

    config: Config
    accepts: ClassVar[tuple[Port, ...]] = ()
    arrays: ClassVar[tuple[str, ...]] = ("interactions",)

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a table [N, 1]."""
        return TensorSpec("table", "item", width=1, rows=self.config.rows)

    def solve(self, specs: Sequence[TensorSpec], arrays: Mapping[str, Any], rng: np.random.Generator) -> Mapping[str, np.ndarray]:
        """Count the events."""
        history: Interactions = arrays["interactions"]
        weights = np.exp2(-_ages(history) / self.config.half_life) if self.config.half_life else None
        counts = np.bincount(history.items, weights, history.item_count)
        return {"values": np.log1p(counts).astype(np.float32)[:, None]}

    def seconds(self, specs: Sequence[TensorSpec], schema: FeatureSchema) -> float:
        """Return about 10 ns an event, 40 ns where events age."""
        return (4e-8 if self.config.half_life else 1e-8) * schema.events

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the table."""
        return StoredTable(arrays["values"])


def _ages(history: Interactions) -> np.ndarray:
    """Return float64 [events], 0 = the newest, at most 1."""
    known = history.times[history.times != MISSING_TIME] if history.times is not None else history.items[:0]
    if history.times is None or not len(known):
        lengths = np.diff(history.offsets)
        left = np.repeat(history.offsets[1:], lengths) - 1 - np.arange(len(history.items))
        return np.asarray(left / np.repeat(lengths, lengths))
    newest, span = float(known.max()), max(1.0, float(known.max()) - float(known.min()))
    return np.minimum((newest - history.times.astype(np.float64)) / span, 1.0)  # a missing time counts as the oldest


class BiasTable(Block):
    """Deviations from the mean label, shrunken towards zero: items first, then users on what is left (Koren 2010, section 2.1)."""

    class Config(ComponentConfig):
        """Options."""

        side: Literal["user", "item"] = Field("item", description="Whose deviations.")
        rows: int = Field(0, ge=0, description="Rows of that side, row 0 = unknown included.")
        item_shrinkage: Annotated[float, Float(0.1, 100.0, log=True), Field(gt=0)] = Field(
            5.0, description="Ratings that pull an item to zero."
        )
        user_shrinkage: Annotated[float, Float(0.1, 100.0, log=True), Field(gt=0)] = Field(
            5.0, description="Ratings that pull a user to zero."
        )
        sweeps: int = Field(5, ge=1, description="Alternations of the two sides.")

    accepts: ClassVar[tuple[Port, ...]] = ()
    arrays: ClassVar[tuple[str, ...]] = ("interactions",)
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a table of width 1."""
        return TensorSpec("table", "user" if self.config.side == "user" else "item", width=1, rows=self.config.rows)

    def solve(self, specs: Sequence[TensorSpec], arrays: Mapping[str, Any], rng: np.random.Generator) -> Mapping[str, np.ndarray]:
        """Alternate the two closed forms."""
        history: Interactions = arrays["interactions"]
        users = np.repeat(np.arange(history.users), np.diff(history.offsets))
        rest = history.values.astype(np.float64) - float(history.values.mean() if len(history.values) else 0.0)
        item = np.zeros(history.item_count)
        user = np.zeros(history.users)
        for _ in range(self.config.sweeps):
            item = _shrunken(history.items, rest - user[users], history.item_count, self.config.item_shrinkage)
            user = _shrunken(users, rest - item[history.items], history.users, self.config.user_shrinkage)
        chosen = user if self.config.side == "user" else item
        return {"values": chosen.astype(np.float32)[:, None]}

    def seconds(self, specs: Sequence[TensorSpec], schema: FeatureSchema) -> float:
        """Return about 50 ns an event and sweep."""
        return 5e-8 * schema.events * self.config.sweeps

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the table."""
        return StoredTable(arrays["values"])


def _shrunken(rows: np.ndarray, values: np.ndarray, size: int, shrinkage: float) -> np.ndarray:
    counts = np.bincount(rows, minlength=size)
    return np.bincount(rows, weights=values, minlength=size) / (counts + shrinkage)
