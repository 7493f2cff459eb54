"""`Years`: the year that a text names, as titles of films and books do; other ops read it as a column `<text column>:year`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np
from pydantic import Field

from autorec_features.base import Fitted, column_of, depends_of, entity_rows, feature_columns, input_name, seconds
from autorec_features.scale import scaled
from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.features import DataProfile, FeatureProposal, RejectColumn
from autorec_kernel.records.features import Feature
from autorec_kernel.records.program import Program, Step
from autorec_kernel.records.table import Coded, ColumnData, Table
from autorec_kernel.records.vocabulary import Vocabulary

__all__ = ["YEAR", "Years", "year_steps", "years_in"]

YEAR = ":year"  # behind the name of a text column
_FIRST, _LAST = 1800, 2100
_SHARE = 0.5  # of the texts that must name a year
_WORDS = 64  # of a text that are read, from its end


class Years:
    """The last whole number from 1800 to 2100 in a text, scaled as `Scale` does; a text without one reads as the mean, and is flagged.

    A column of which fewer than half the texts name a year is rejected.
    """

    class Config(ComponentConfig):
        """Options of `Years`."""

        column: str = Field("title", description="Text column.")
        source: Literal["events", "users", "items"] = Field("items", description="Table that holds it.")

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    def propose(cls, profile: DataProfile) -> Iterable[FeatureProposal]:
        for column in feature_columns(profile, "text"):
            config = cls.Config(column=column.name, source=column.source)
            yield FeatureProposal(config, seconds(entity_rows(profile, column.source), 20), f"texts of {column.name} may name years")

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        """Read the years and learn their scale; texts of which few name one, or all the same, are rejected."""
        options = self.config
        name = input_name(options.column, options.source)
        known = years_in(column_of(options.column, options.source, events, tables), name)
        steps, year, arrays = year_steps(name)
        more, learned = scaled(year, known, "no")
        program = Program((name,), (*steps, *more), (more[-1].output,), {**arrays, **learned})
        width = learned["scale"].size
        return Fitted((Feature(f"{name}.year", "numeric", depends_of(options.source), width=width, family="scale"),), program)


def year_steps(name: str) -> tuple[tuple[Step, ...], str, dict[str, np.ndarray]]:
    """Return the steps from a text column to its years, the name of the value (float64 [n], NaN = none) and the arrays of the steps."""
    years = range(_FIRST, _LAST + 1)
    words, rows, each, year = (f".{name} {part}" for part in ("words", "year rows", "years", "year"))
    steps = (
        Step("words", (name,), words, {"most": _WORDS, "reversed": True}),
        Step("bag", (words,), rows, {"vocabulary": "years", "width": 1}),
        Step("gather", (rows,), each, {"table": "year values"}),
        Step("pool", (each, rows), year),
    )
    vocabulary = Vocabulary.of([str(year) for year in years])
    arrays = {f"years.{part}": array for part, array in vocabulary.arrays().items()}
    return steps, year, arrays | {"year values": np.array([0.0, *years])}


def years_in(column: ColumnData, name: str) -> np.ndarray:
    """Return the years of a text column, float64 [n], NaN = none.

    Raises:
        RejectColumn: It holds no texts, or fewer than half of them name a year, or all the same.
    """
    if not isinstance(column, Coded):
        raise RejectColumn(f"{name!r} holds no texts")
    steps, year, arrays = year_steps(name)
    found = np.asarray(Program((name,), steps, (), arrays).computed([year], {name: column})[year])
    known = found[np.isfinite(found)]
    if len(known) < _SHARE * np.count_nonzero(column.codes >= 0) or not len(known):
        raise RejectColumn(f"{len(known):,} of {np.count_nonzero(column.codes >= 0):,} texts of {name!r} name a year")
    if known.min() == known.max():
        raise RejectColumn(f"all texts of {name!r} name the year {known[0]:.0f}")
    return found
