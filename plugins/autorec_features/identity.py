"""`Identity`: a category as the row of a sorted vocabulary; row 0 = unknown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np
from pydantic import Field

from autorec_features.base import Fitted, column_of, depends_of, entity_rows, feature_columns, input_name, seconds
from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.features import DataProfile, FeatureProposal, RejectColumn
from autorec_kernel.records.features import Feature
from autorec_kernel.records.program import Program, Step
from autorec_kernel.records.table import Coded, ColumnData, Ragged, Table
from autorec_kernel.records.vocabulary import Vocabulary, as_text

__all__ = ["Identity", "sorted_vocabulary"]

_SMALL = 1000  # categories up to which every one keeps a row


class Identity:
    """Learns the texts of a column, sorted, so that neither file order nor number of workers changes a row.

    A user or an item column is kept whole: its vocabulary is the catalogue. Other columns may drop rare texts, which read as unknown.
    """

    class Config(ComponentConfig):
        """Options of `Identity`."""

        column: str = Field("item_id", description="Column to encode.")
        source: Literal["events", "users", "items"] = Field("events", description="Table that holds it.")
        entity: Literal["", "user", "item"] = Field("", description="Role of an id column; its vocabulary is kept whole.")
        min_count: int = Field(1, ge=1, le=2**31, description="Occurrences below which a category reads as unknown.")

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    def propose(cls, profile: DataProfile) -> Iterable[FeatureProposal]:
        for role in ("user", "item"):
            column = profile.schema.role(role)
            if column is not None:
                config = cls.Config(column=column.name, entity=role)
                yield FeatureProposal(config, seconds(profile.rows), f"{column.name} is the {role}")
        for column in feature_columns(profile, "categorical", "id"):
            config = cls.Config(column=column.name, source=column.source, min_count=1 if column.distinct <= _SMALL else 2)
            yield FeatureProposal(config, seconds(entity_rows(profile, column.source)), f"{column.name} is {column.kind}")

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        """Learn the vocabulary; a constant column is rejected unless it is the user or the item."""
        options = self.config
        name = input_name(options.column, options.source)
        column = column_of(options.column, options.source, events, tables)
        vocabulary = sorted_vocabulary(column, 1 if options.entity else options.min_count)
        if vocabulary.size < (2 if options.entity else 3):
            raise RejectColumn(f"{name!r} has {vocabulary.size - 1} categories that occur {options.min_count} times or more")
        feature = Feature(
            name,
            "id",
            options.entity or depends_of(options.source),
            vocabulary=options.entity or name,
            size=vocabulary.size,
            family="id",
        )
        step = Step("lookup", (name,), "row", {"vocabulary": "ids"})
        arrays = {f"ids.{part}": array for part, array in vocabulary.arrays().items()}
        return Fitted((feature,), Program((name,), (step,), ("row",), arrays))


def sorted_vocabulary(column: ColumnData, min_count: int) -> Vocabulary:
    """Return the texts of a column that occur often enough, in order of code points."""
    values = column.values if isinstance(column, Ragged) else column
    coded = values if isinstance(values, Coded) else as_text(values)
    counts = np.bincount(coded.codes[coded.codes >= 0], minlength=len(coded.values))
    return Vocabulary.of(sorted(str(text) for text in coded.values[counts >= max(min_count, 1)]))
