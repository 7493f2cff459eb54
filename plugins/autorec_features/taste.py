"""`Taste`: how an item's number (year, price, popularity, quality) suits what the user chose, and liked, before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated

import numpy as np
from pydantic import Field

from autorec_features.base import Fitted, feature_columns, seconds
from autorec_features.counts import keys_of
from autorec_features.keys import training_columns
from autorec_features.labels import LabelConfig, check_label, has, labelled
from autorec_kernel.contracts.features import DataProfile, FeatureProposal, RejectColumn
from autorec_kernel.records.as_of import AsOfTable, Measure
from autorec_kernel.records.dataset import MISSING_TIME
from autorec_kernel.records.features import Feature
from autorec_kernel.records.program import Program, Step
from autorec_kernel.records.table import Table
from autorec_kernel.space import Float

__all__ = ["Taste"]

_POPULARITY, _QUALITY = "popularity", "quality"
_FAR = 5.0  # standard deviations at which a value is cut


class Taste:
    """Keeps the mean of an item's number x over a user's positive events before the row, shrunk to the catalogue's.

    Gives that mean, the item's distance above and below it and, with a label y, the item's x times the user's mean of x y: what a linear
    model of this user alone, one step of gradient from nothing, would say. x is a number or time of the items table, standardised over
    the catalogue of training; or `popularity`, the logarithm of the item's events before the row; or `quality`, their shrunk mean label.
    A column needs the user's own order only, popularity and quality a global clock.
    """

    class Config(LabelConfig):
        """Options of `Taste`."""

        column: str = Field(_POPULARITY, description="Column of the items table, popularity, or quality.")
        strength: Annotated[float, Float(0.5, 20.0, log=True)] = Field(
            2.0, gt=0, le=1e6, description="Events that the catalogue's mean is worth."
        )

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    def propose(cls, profile: DataProfile) -> Iterable[FeatureProposal]:
        if profile.clock == "none" or not has(profile, "user", "item"):
            return
        numbers = [column.name for column in feature_columns(profile, "numeric", "time") if column.source == "items"]
        told = labelled(profile)
        made = (_POPULARITY, *([_QUALITY] if told else [])) if profile.clock == "time" else ()
        for column in (*made, *numbers):
            reason = f"{column} of an item beside what the user chose before"
            yield FeatureProposal(cls.Config(column=column, **told), seconds(profile.rows, 25), reason, profile.rows * 40)

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        """Add up the values of positive events; a constant column, or a label that is not numeric, is rejected."""
        if self.config.label:
            check_label(events, self.config.label)
        items = keys_of(events, "item")
        made = {_POPULARITY: _popularity, _QUALITY: _quality}.get(self.config.column)
        values = made(items) if made else self._values(tables["items"])
        blank = self._program(keys_of(events, "user"), *values)
        program = blank.fold(training_columns(sorted(blank.columns()), events, tables))
        name = f"taste.{self.config.column}"
        features = (
            Feature(f"{name}.mean", "numeric", "user", dynamic=True, family="taste"),
            Feature(f"{name}.gap", "numeric", "pair", dynamic=True, width=2, family="taste"),
            Feature(f"{name}.fit", "numeric", "pair", dynamic=True, family="taste"),
        )
        return Fitted(features[: len(program.outputs)], program)

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
            Step("affine", (name,), ".standard", {"shift": mean, "scale": 1.0 / spread}),
            Step("fill", (".standard",), ".whole", {"value": 0.0}),
            Step("clip", (".whole",), ".value", {"low": -_FAR, "high": _FAR}),
        )
        return (name,), steps, {}

    def _program(self, users: int, inputs: tuple[str, ...], steps: tuple[Step, ...], tables: Mapping[str, AsOfTable]) -> Program:
        options, read = self.config, ("@user_key", "@clock")
        nothing = {name: np.zeros(0, np.int64) for name in (*read, "@positive", ".value", ".weighted")}
        measures = (Measure(), Measure(".value", count=False))
        tables = {**tables, "chosen": AsOfTable.sums(nothing, users, key="@user_key", where="@positive", measures=measures)}
        steps = (
            *steps,
            Step("as_of", read, ".count", {"table": "chosen", "column": 0}),
            Step("as_of", read, ".sum", {"table": "chosen", "column": 1}),
            Step("ratio", (".sum", ".count"), ".mean", {"strength": self.config.strength}),
            Step("minus", (".value", ".mean"), ".above"),
            Step("minus", (".mean", ".value"), ".below"),
            Step("concat", (".above", ".below"), ".both"),
            Step("clip", (".both",), ".gap", {"low": 0.0, "high": 2 * _FAR}),
        )
        if not options.label:
            return Program((*read, *inputs), steps, (".mean", ".gap"), tables=tables)
        judged = AsOfTable.sums(nothing, users, key="@user_key", measures=(Measure(".weighted"), Measure(".weighted", count=False)))
        names = dict.fromkeys((*read, *inputs, options.label))
        return Program(tuple(names), (*steps, *self._fit()), (".mean", ".gap", ".fit"), tables={**tables, "judged": judged})

    def _fit(self) -> tuple[Step, ...]:
        options, read = self.config, ("@user_key", "@clock")
        return (
            options.standard(".label"),
            Step("dot", (".label", ".value"), ".weighted"),
            Step("as_of", read, ".judged count", {"table": "judged", "column": 0}),
            Step("as_of", read, ".judged sum", {"table": "judged", "column": 1}),
            Step("ratio", (".judged sum", ".judged count"), ".slope", {"strength": options.strength}),
            Step("dot", (".slope", ".value"), ".fit"),
        )


def _quality(items: int) -> tuple[tuple[str, ...], tuple[Step, ...], dict[str, AsOfTable]]:
    """Return inputs, steps and tables of `value`: the item's mean of `label` (standardised) before the row, in units of two thirds."""
    nothing = {name: np.zeros(0, np.int64) for name in ("@item_key", "@clock", ".label")}
    read = ("@item_key", "@clock")
    steps = (
        Step("as_of", read, ".label count", {"table": "items", "column": 0}),
        Step("as_of", read, ".label sum", {"table": "items", "column": 1}),
        Step("ratio", (".label sum", ".label count"), ".quality", {"strength": 5.0}),
        Step("affine", (".quality",), ".value", {"shift": 0.0, "scale": 1.5}),
    )
    table = AsOfTable.sums(nothing, items, key="@item_key", measures=(Measure(".label"), Measure(".label", count=False)))
    return ("@item_key",), steps, {"items": table}


def _popularity(items: int) -> tuple[tuple[str, ...], tuple[Step, ...], dict[str, AsOfTable]]:
    nothing = {name: np.zeros(0, np.int64) for name in ("@item_key", "@clock")}
    steps = (
        Step("as_of", ("@item_key", "@clock"), ".events", {"table": "items"}),
        Step("log1p", (".events",), ".log"),
        Step("affine", (".log",), ".value", {"shift": 2.0, "scale": 0.5}),
    )
    return ("@item_key",), steps, {"items": AsOfTable.sums(nothing, items, key="@item_key", measures=(Measure(),))}
