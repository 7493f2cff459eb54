"""`Attributes`: what the last items of the user were (brand, category) or how they were met (device), aligned with the item history."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np
from pydantic import Field

from autorec_features.base import Fitted, column_of, input_name, seconds
from autorec_features.counts import keys_of
from autorec_features.history import told_columns
from autorec_features.identity import Identity, thresholds
from autorec_features.keys import training_columns
from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.features import DataProfile, FeatureProposal
from autorec_kernel.records.as_of import AsOfTable
from autorec_kernel.records.features import Feature
from autorec_kernel.records.program import Program, ReadContext, Step, run_program
from autorec_kernel.records.table import Table

__all__ = ["Attributes"]

_READ = ("@user_key", "@order")


class Attributes:
    """A history of the user's positive events, as `History` keeps them, step by step: the same events, the same order, the same padding.

    A step holds the row that the op `id` gives the value of the step's item, or of the event itself, so that the candidate's own value
    shares its embedding; a step without a known value holds the last row of the vocabulary, which `id` leaves free for it (`empty_row`).
    Where only a list of items is given, those of events are not known.
    """

    class Config(ComponentConfig):
        """Options of `Attributes`; all but `length` are those of the op `id`."""

        column: str = Field("brand", description="Column of one value an item, or an event.")
        source: Literal["events", "items"] = Field("items", description="Table that holds it.")
        length: int = Field(50, ge=1, le=1000, description="Longest history kept; models may read less.")
        min_count: int = Field(1, ge=1, le=2**31, description="Occurrences below which a category has no row of its own.")

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    def propose(cls, profile: DataProfile) -> Iterable[FeatureProposal]:
        for column in told_columns(profile):
            config = cls.Config(
                column=column.name,
                source=column.source,
                length=int(profile.facts.get("history_length", 50)),
                min_count=thresholds(column)["min_count"],
            )
            tables = 1 if column.source == "items" else 2
            cost = seconds(profile.rows, 2.5 * tables)  # more than the item history's own, which comes first
            yield FeatureProposal(config, cost, f"{column.name} of what the user met, beside the items", 12 * tables * profile.rows)

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        """Sort the events; a column that the op `id` turns down is rejected."""
        options = self.config
        same = Identity.Config(column=options.column, source=options.source, min_count=options.min_count, empty_row=True)
        ids = Identity(same).fit(events, tables, rng)
        own, size = ids.outputs[0], ids.outputs[0].size
        users = keys_of(events, "user")
        program = (
            self._of_items(ids, tables, events, users) if options.source == "items" else self._of_events(ids.program(), size, events, users)
        )
        name = f"history.{own.name}"
        told = Feature(
            name, "history", "user", dynamic=True, vocabulary=own.vocabulary, size=size, width=options.length, family="attribute"
        )
        return Fitted((told,), program)

    def _of_items(self, ids: Fitted, tables: Mapping[str, Table], events: Table, users: int) -> Program:
        """Return the program that gathers the items' rows: row 0 is padding."""
        column = column_of(self.config.column, "items", events, tables)
        name, program = input_name(self.config.column, "items"), ids.program()
        found = np.asarray(run_program(program, {name: column}, ReadContext(len(column)))[program.outputs[0]])
        rows = np.concatenate([[0], np.where(found > 0, found, ids.outputs[0].size - 1)])
        steps = (
            Step("as_of", _READ, ".items", {"table": "items", "length": self.config.length}),
            Step("gather", (".items",), "steps", {"table": "rows"}),
        )
        sequence = AsOfTable.sequence(events, users, key="@user_key", where="@positive")
        return Program(_READ, steps, ("steps",), {"rows": rows}, {"items": sequence})

    def _of_events(self, ids: Program, size: int, events: Table, users: int) -> Program:
        """Return the program that keeps each event's row; where the items have steps and it has none, a step is empty."""
        name, length = self.config.column, self.config.length
        nothing = {column: np.zeros(0, np.int64) for column in (*_READ, "@item", "@positive", ".mark")}
        made = {
            "items": AsOfTable.sequence(nothing, users, key="@user_key", where="@positive"),
            "marks": AsOfTable.sequence(nothing, users, key="@user_key", value=".mark", where="@positive"),
        }
        steps = (
            *ids.steps,
            Step("gather", (ids.outputs[0],), ".mark", {"table": "marks"}),
            Step("as_of", _READ, ".items", {"table": "items", "length": length}),
            Step("as_of", _READ, ".marks", {"table": "marks", "length": length}),
            Step("bucketize", (".items",), ".one or two", {"edges": "first"}),
            Step("affine", (".one or two",), ".half", {"shift": 1.0, "scale": float(size)}),
            Step("plus", (".half", ".marks"), ".place"),
            Step("gather", (".place",), "steps", {"table": "aligned"}),
        )
        rows = np.arange(size)
        arrays = {
            **ids.arrays,
            "marks": np.where(rows > 0, rows, size - 1)[:-1],
            "first": np.array([1.0]),
            "aligned": np.concatenate([np.zeros(size, np.int64), np.where(rows > 0, rows, size - 1)]),
        }
        blank = Program((name, *_READ), steps, ("steps",), arrays, made)
        return blank.fold(training_columns(sorted(blank.columns()), events, {}))
