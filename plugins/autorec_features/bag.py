"""`Bag`: the values of a multi-valued column as rows of a vocabulary."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np
from pydantic import Field

from autorec_features.base import Fitted, column_of, depends_of, entity_rows, feature_columns, input_name, seconds
from autorec_features.identity import sorted_vocabulary
from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.features import DataProfile, FeatureProposal, RejectColumn
from autorec_kernel.records.features import Feature
from autorec_kernel.records.program import Program, Step
from autorec_kernel.records.table import Coded, Ragged, Table

__all__ = ["Bag"]

_SMALL = 1000


class Bag:
    """Learns the texts of a list column, sorted; a row keeps its first known texts, in their order, padded with 0 on the right."""

    class Config(ComponentConfig):
        """Options of `Bag`."""

        column: str = Field("genres", description="Column to encode.")
        source: Literal["events", "users", "items"] = Field("items", description="Table that holds it.")
        min_count: int = Field(1, ge=1, le=2**31, description="Occurrences below which a value is left out.")
        max_length: int = Field(16, ge=1, le=256, description="Values kept a row.")

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    def propose(cls, profile: DataProfile) -> Iterable[FeatureProposal]:
        for column in feature_columns(profile, "multi"):
            config = cls.Config(column=column.name, source=column.source, min_count=1 if column.distinct <= _SMALL else 2)
            yield FeatureProposal(config, seconds(entity_rows(profile, column.source), 10), f"{column.name} holds several values a row")

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        """Learn the vocabulary; fewer than two values, or a column that holds no lists of texts, is rejected."""
        options = self.config
        name = input_name(options.column, options.source)
        column = column_of(options.column, options.source, events, tables)
        if not isinstance(column, Coded) and not (isinstance(column, Ragged) and isinstance(column.values, Coded)):
            raise RejectColumn(f"{name!r} holds no texts")
        vocabulary = sorted_vocabulary(column, options.min_count)
        if vocabulary.size < 3:
            raise RejectColumn(f"{name!r} has {vocabulary.size - 1} values that occur {options.min_count} times or more")
        lengths = np.diff(column.offsets) if isinstance(column, Ragged) else np.ones(1, np.int64)
        width = int(min(max(lengths.max(initial=1), 1), options.max_length))
        feature = Feature(name, "bag", depends_of(options.source), vocabulary=name, size=vocabulary.size, width=width, family="bag")
        step = Step("bag", (name,), ".rows", {"vocabulary": "values", "width": width})
        arrays = {f"values.{part}": array for part, array in vocabulary.arrays().items()}
        return Fitted((feature,), Program((name,), (step,), (".rows",), arrays))
