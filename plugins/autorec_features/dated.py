"""`Dated`: what people had said of an item (tags) or a user before the row: the newest values, and how many there were."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np
from pydantic import Field

from autorec_features.base import Fitted, column_of, entity_rows, feature_columns, input_name, seconds
from autorec_features.counts import keys_of
from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.features import DataProfile, FeatureProposal, RejectColumn
from autorec_kernel.records.as_of import AsOfTable, Measure
from autorec_kernel.records.dated import NEVER, dated_parts
from autorec_kernel.records.features import Depends, Feature
from autorec_kernel.records.lists import owners
from autorec_kernel.records.program import Program, Step
from autorec_kernel.records.table import Coded, Ragged, Table
from autorec_kernel.records.vocabulary import Vocabulary

__all__ = ["Dated"]

_CENTRE, _UNIT = 1.0, 0.5  # of the count on a log scale
_GUESS = 10  # values an entity, before they are counted


class Dated:
    """As-of tables of a column of dated values: a row reads those with a smaller clock than its own.

    A tag that a user gives the rated item with the rating or after it is thereby unknown to the row, and one given after the newest
    training event is unknown to everything, serving too. Case and blanks around a text do not count. Later events add no values.
    """

    class Config(ComponentConfig):
        """Options of `Dated`."""

        column: str = Field("tags", description="Column of dated values.")
        source: Literal["users", "items"] = Field("items", description="Table that holds it.")
        min_count: int = Field(2, ge=1, le=2**31, description="Occurrences below which a value has no row.")
        max_length: int = Field(16, ge=1, le=256, description="Newest values kept a row.")

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    def propose(cls, profile: DataProfile) -> Iterable[FeatureProposal]:
        if profile.clock != "time":
            return
        for column in feature_columns(profile, "dated"):
            if column.source == "events":
                continue
            values = entity_rows(profile, column.source) * _GUESS
            reason = f"{column.name} are known from a moment on: those before the row count"
            yield FeatureProposal(cls.Config(column=column.name, source=column.source), seconds(values, 20), reason, values * 24)

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        """Sort the values known before the newest event; fewer than two of them that recur, and the column is rejected."""
        options = self.config
        entity: Depends = "user" if options.source == "users" else "item"
        name, key = input_name(options.column, options.source), f"@{entity}_key"
        of, when, text = _entries(column_of(options.column, options.source, events, tables), name)
        known = when < np.max(np.asarray(events["@clock"]), initial=0)
        of, when, text = of[known], when[known], text[known]
        vocabulary = _vocabulary(text, options.min_count)
        if vocabulary.size < 3:
            told = f"{name!r} has {vocabulary.size - 1} values that occur {options.min_count} times or more before the newest event"
            raise RejectColumn(told)
        rows = vocabulary.row_of(list(text))
        width = int(min(np.bincount(of[rows > 0]).max(initial=1), options.max_length))
        size = keys_of(events, entity)
        said, every = ({key: of, "@clock": when, ".said": marks} for marks in (rows, np.ones(len(of), np.int64)))
        held = {
            "said": AsOfTable.sequence(said, size, key=key, time="@clock", value=".said", where=".said"),
            "every": AsOfTable.sums(every, size, key=key, measures=(Measure(),), where=".said"),
        }
        outputs = (
            Feature(name, "bag", entity, dynamic=True, vocabulary=name, size=vocabulary.size, width=width, family="bag"),
            Feature(f"{name}.count", "numeric", entity, dynamic=True, family="aggregate"),
        )
        return Fitted(outputs, Program((key, "@clock"), _steps(key, width), ("newest", "count"), {"none": np.zeros(1, np.int64)}, held))


def _entries(column: object, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return int64 [n] keys, int64 [n] moments (ns) and object [n] texts of all values of a column with one row an entity.

    Raises:
        RejectColumn: It holds no dated values.
    """
    if not isinstance(column, Ragged) or not isinstance(column.values, Coded):
        raise RejectColumn(f"{name!r} holds no dated values")
    moments, said = dated_parts(column.values.values)
    texts = np.array([*(text.strip().lower() for text in said), None], dtype=object)[:-1]
    kept = np.append(moments, NEVER)[column.values.codes] < NEVER
    codes = column.values.codes[kept]
    return (owners(column.offsets) + 1)[kept], moments[codes], texts[codes]


def _vocabulary(texts: np.ndarray, min_count: int) -> Vocabulary:
    found, counts = np.unique(texts.astype(str), return_counts=True)
    return Vocabulary.of([str(text) for text, count in zip(found, counts, strict=True) if count >= min_count and text])


def _steps(key: str, width: int) -> tuple[Step, ...]:
    """Return the steps; `.said` is 0 for every event, so that events folded in later add nothing to the tables."""
    return (
        Step("gather", (key,), ".said", {"table": "none"}),
        Step("as_of", (key, "@clock"), "newest", {"table": "said", "length": width}),
        Step("as_of", (key, "@clock"), ".values", {"table": "every"}),
        Step("log1p", (".values",), ".log"),
        Step("affine", (".log",), "count", {"shift": _CENTRE, "scale": _UNIT}),
    )
