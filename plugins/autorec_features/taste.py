"""`Taste`: how far an item's number (its year, its price, its popularity) is from what the user chose before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated

import numpy as np
from pydantic import Field

from autorec_features.base import Fitted, feature_columns, seconds
from autorec_features.counts import keys_of
from autorec_features.keys import training_columns
from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.features import DataProfile, FeatureProposal, RejectColumn
from autorec_kernel.records.as_of import AsOfTable, Measure
from autorec_kernel.records.dataset import MISSING_TIME
from autorec_kernel.records.features import Feature
from autorec_kernel.records.program import Program, Step
from autorec_kernel.records.table import Table
from autorec_kernel.space import Float

__all__ = ["Taste"]

_POPULARITY = "popularity"
_FAR = 5.0  # standard deviations at which a value is cut


class Taste:
    """Keeps the mean of an item column over a user's positive events before the row, shrunk to the catalogue's.

    Gives that mean, the item's distance from it, and its size. The column is a number or time of the items table, standardised over the
    catalogue of training; or `popularity`, the logarithm of the item's events before the row. Needs a global clock.
    """

    class Config(ComponentConfig):
        """Options of `Taste`."""

        column: str = Field(_POPULARITY, description="Column of the items table, or popularity.")
        strength: Annotated[float, Float(0.5, 20.0, log=True)] = Field(2.0, gt=0, description="Events that the catalogue's mean is worth.")

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    def propose(cls, profile: DataProfile) -> Iterable[FeatureProposal]:
        if profile.clock != "time" or any(profile.schema.role(role) is None for role in ("user", "item")):  # type: ignore[arg-type]
            return
        numbers = [column.name for column in feature_columns(profile, "numeric", "time") if column.source == "items"]
        for column in (_POPULARITY, *numbers):
            reason = f"{column} of an item beside what the user chose before"
            yield FeatureProposal(cls.Config(column=column), seconds(profile.rows, 25), reason, profile.rows * 40)

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        """Add up the values of positive events; a constant column is rejected."""
        popular = self.config.column == _POPULARITY
        values = _popularity(keys_of(events, "item")) if popular else self._values(tables["items"])
        blank = self._program(keys_of(events, "user"), *values)
        program = blank.fold(training_columns(sorted(blank.columns()), events, tables))
        name = f"taste.{self.config.column}"
        features = (
            Feature(f"{name}.mean", "numeric", "user", dynamic=True, family="taste"),
            Feature(f"{name}.gap", "numeric", "pair", dynamic=True, width=2, family="taste"),
        )
        return Fitted(features, program)

    def _values(self, items: Table) -> tuple[tuple[str, ...], tuple[Step, ...], dict[str, AsOfTable]]:
        """Return inputs, steps and tables of `value`: the column, standardised; 0 where it is missing."""
        column = items.get(self.config.column)
        if not isinstance(column, np.ndarray) or column.ndim != 1:
            raise RejectColumn(f"items have no number {self.config.column!r}")
        known = column[column != MISSING_TIME] if column.dtype.kind == "i" else column[np.isfinite(column)]
        if not len(known) or known.min() == known.max():
            raise RejectColumn(f"{self.config.column!r} is constant")
        mean, spread = float(known.astype(np.float64).mean()), float(known.astype(np.float64).std())
        name = f"items.{self.config.column}"
        steps = (
            Step("affine", (name,), "standard", {"shift": mean, "scale": 1.0 / spread}),
            Step("fill", ("standard",), "whole", {"value": 0.0}),
            Step("clip", ("whole",), "value", {"low": -_FAR, "high": _FAR}),
        )
        return (name,), steps, {}

    def _program(self, users: int, inputs: tuple[str, ...], steps: tuple[Step, ...], tables: Mapping[str, AsOfTable]) -> Program:
        nothing = {name: np.zeros(0, np.int64) for name in ("@user_key", "@clock", "@positive", "value")}
        measures = (Measure(), Measure("value", count=False))
        chosen = AsOfTable.sums(nothing, users, key="@user_key", where="@positive", measures=measures)
        read = ("@user_key", "@clock")
        steps = (
            *steps,
            Step("as_of", read, "count", {"table": "chosen", "column": 0}),
            Step("as_of", read, "sum", {"table": "chosen", "column": 1}),
            Step("ratio", ("sum", "count"), "mean", {"strength": self.config.strength}),
            Step("minus", ("value", "mean"), "above"),
            Step("minus", ("mean", "value"), "below"),
            Step("concat", ("above", "below"), "both"),
            Step("clip", ("both",), "gap", {"low": 0.0, "high": 2 * _FAR}),
        )
        return Program((*read, *inputs), steps, ("mean", "gap"), tables={**tables, "chosen": chosen})


def _popularity(items: int) -> tuple[tuple[str, ...], tuple[Step, ...], dict[str, AsOfTable]]:
    nothing = {name: np.zeros(0, np.int64) for name in ("@item_key", "@clock")}
    steps = (
        Step("as_of", ("@item_key", "@clock"), "events", {"table": "items"}),
        Step("log1p", ("events",), "log"),
        Step("affine", ("log",), "value", {"shift": 2.0, "scale": 0.5}),
    )
    return ("@item_key",), steps, {"items": AsOfTable.sums(nothing, items, key="@item_key", measures=(Measure(),))}
