"""`Taste`: how an item's number (year, price, popularity, quality) suits what the user chose, and liked, before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from autorec_features.base import Fitted, column_of, feature_columns, input_name, seconds
from autorec_features.counts import keys_of
from autorec_features.crossfit import crossfitted
from autorec_features.keys import training_columns
from autorec_features.labels import LabelConfig, check_label, has, labelled
from autorec_features.scale import numbers_of
from autorec_features.standing import FIXED, POPULARITY, QUALITY, STANDINGS, Value
from autorec_features.years import YEAR, year_steps, years_in
from autorec_kernel.contracts.features import DataProfile, FeatureProposal, RejectColumn
from autorec_kernel.records.as_of import AsOfTable, Measure
from autorec_kernel.records.features import Feature
from autorec_kernel.records.program import Program, Step
from autorec_kernel.records.table import Table
from autorec_kernel.space import Float

__all__ = ["Taste"]

_FAR = 5.0  # standard deviations at which a value is cut


class Taste:
    """Keeps the mean of an item's number x over a user's positive events before the row, shrunk to the catalogue's.

    Gives that mean, the item's distance above and below it and, with a label y, the item's x times the user's mean of x y: what a linear
    model of this user alone, one step of gradient from nothing, would say. x is a number or time of the items table, standardised over
    the catalogue of training; or `@popularity`, the logarithm of the item's events before the row; or `@quality`, their shrunk mean label.
    A column needs the user's own order only; without a global clock popularity and quality are those among other users, for training
    rows of those in other folds of users than the row's.
    """

    class Config(LabelConfig):
        """Options of `Taste`."""

        column: str = Field(POPULARITY, description="Column of the items table, its text column and :year, @popularity or @quality.")
        clock: Literal["time", "position"] = Field("time", description="What orders the events: all of them, or those of a user.")
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
        made = (POPULARITY, QUALITY) if told else (POPULARITY,) if profile.clock == "time" else ()
        years = [f"{column.name}{YEAR}" for column in feature_columns(profile, "text") if column.source == "items"]
        for column in (*made, *numbers, *years):
            reason = f"{column.removeprefix('@')} of an item beside what the user chose before"
            config = cls.Config(column=column, clock=profile.clock, **told)
            yield FeatureProposal(config, seconds(profile.rows, 25), reason, profile.rows * 40)

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        """Add up the values of positive events; a constant column, or a label that is not numeric, is rejected."""
        if self.config.label:
            check_label(events, self.config.label)
        own = self.config.clock == "position"
        made = self.config.column in STANDINGS
        value = self._standing(keys_of(events, "item")) if made else self._value(tables["items"])
        blank, training = self._program(keys_of(events, "user"), value), list[np.ndarray]()
        if made and own:
            program, training = crossfitted(blank, self.config, events, tables)
        else:
            program = blank.fold(training_columns(sorted(blank.columns()), events, tables))
        name = f"taste.{self.config.column.removeprefix('@') if made else input_name(self.config.column, 'items')}"
        features = (
            Feature(f"{name}.mean", "numeric", "pair" if training else "user", dynamic=True, family="taste"),
            Feature(f"{name}.gap", "numeric", "pair", dynamic=True, width=2, family="taste"),
            Feature(f"{name}.fit", "numeric", "pair", dynamic=True, family="taste"),
        )
        return Fitted(features[: len(program.outputs)], program, {one.name: each for one, each in zip(features, training, strict=False)})

    def _standing(self, items: int) -> Value:
        name = self.config.column
        return STANDINGS[name](items, ".label") if self.config.clock == "time" else FIXED[name]

    def _value(self, items: Table) -> Value:
        """Return the column, standardised over the catalogue; 0 where it is missing."""
        text = self.config.column.removesuffix(YEAR)
        name = input_name(text, "items")
        column = column_of(text, "items", Table({}, 0), {"items": items})
        if self.config.column.endswith(YEAR):
            known, (first, value, arrays) = years_in(column, name), year_steps(name)
        else:
            known, (first, value, arrays) = numbers_of(column, name), ((), name, {})
        known = known[np.isfinite(known)]
        if not len(known) or known.min() == known.max():
            raise RejectColumn(f"{self.config.column!r} is constant")
        steps = (
            *first,
            Step("affine", (value,), ".standard", {"shift": float(known.mean()), "scale": 1.0 / float(known.std())}),
            Step("fill", (".standard",), ".whole", {"value": 0.0}),
            Step("clip", (".whole",), ".value", {"low": -_FAR, "high": _FAR}),
        )
        return Value((name,), steps, arrays=arrays)

    def _program(self, users: int, value: Value) -> Program:
        options, read = self.config, ("@user_key", "@clock")
        nothing = {name: np.zeros(0, np.int64) for name in (*read, "@positive", ".value", ".weighted")}
        measures = (Measure(), Measure(".value", count=False))
        tables = {**value.tables, "chosen": AsOfTable.sums(nothing, users, key="@user_key", where="@positive", measures=measures)}
        steps = (
            *value.steps,
            Step("as_of", read, ".count", {"table": "chosen", "column": 0}),
            Step("as_of", read, ".sum", {"table": "chosen", "column": 1}),
            Step("ratio", (".sum", ".count"), ".mean", {"strength": self.config.strength}),
            Step("minus", (".value", ".mean"), ".above"),
            Step("minus", (".mean", ".value"), ".below"),
            Step("concat", (".above", ".below"), ".both"),
            Step("clip", (".both",), ".gap", {"low": 0.0, "high": 2 * _FAR}),
        )
        if not options.label:
            return Program(tuple(dict.fromkeys((*read, *value.inputs))), steps, (".mean", ".gap"), value.arrays, tables)
        judged = AsOfTable.sums(nothing, users, key="@user_key", measures=(Measure(".weighted"), Measure(".weighted", count=False)))
        names = dict.fromkeys((*read, *value.inputs, options.label))
        return Program(tuple(names), (*steps, *self._fit()), (".mean", ".gap", ".fit"), value.arrays, {**tables, "judged": judged})

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
