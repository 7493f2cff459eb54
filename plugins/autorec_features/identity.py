"""`Identity`: a category as the row of a sorted vocabulary; row 0 = unknown, and rare ones of a large column share hashed rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
from pydantic import Field

from autorec_features.base import Fitted, column_of, depends_of, entity_rows, feature_columns, input_name, seconds
from autorec_features.history import told_columns
from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.features import DataProfile, FeatureProposal, RejectColumn
from autorec_kernel.records.features import Feature
from autorec_kernel.records.program import Program, ReadContext, Step, run_program
from autorec_kernel.records.schema import Column
from autorec_kernel.records.table import Coded, ColumnData, Ragged, Table
from autorec_kernel.records.vocabulary import Vocabulary, as_text

__all__ = ["Identity", "sorted_vocabulary", "thresholds"]

_SMALL, _LARGE = 1000, 20_000  # categories up to which every one keeps a row; from which on the tail is hashed
_RARE, _BUCKETS = 5, 1024  # of a large column: occurrences below which a category is hashed, and into how many rows
_LEAST = 16  # rare categories of training a bucket, so that chance leaves none empty
_BYTES = 32  # of a text in a vocabulary with its offset, for the estimate


class Identity:
    """Learns the texts of a column, sorted, so that neither file order nor number of workers changes a row.

    A user or an item column is kept whole: its vocabulary is the catalogue. Other columns may drop rare texts, which read as unknown, or,
    with `tail_buckets`, are hashed (BLAKE2b) into that many rows behind the vocabulary, as any text that training never saw: it is rare as
    far as anybody knows. Fitting halves the buckets until rare texts of training fall into every one of them, so that no text reads a row
    that nothing taught; with fewer than two left they all read as unknown. Missing values always read row 0.
    """

    class Config(ComponentConfig):
        """Options of `Identity`; `told` is what fitting writes down."""

        column: str = Field("item_id", description="Column to encode.")
        source: Literal["events", "users", "items"] = Field("events", description="Table that holds it.")
        entity: Literal["", "user", "item"] = Field("", description="Role of an id column; its vocabulary is kept whole.")
        min_count: int = Field(1, ge=1, le=2**31, description="Occurrences below which a category has no row of its own.")
        tail_buckets: int = Field(0, ge=0, le=2**20, description="Rows that rare and unseen ones are hashed into; 0 = they are unknown.")
        empty_row: bool = Field(False, description="Whether the last row stays free, for steps of histories without a known value.")
        told: str = Field("", description="What the rows cost, where a tail is hashed.")

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    def propose(cls, profile: DataProfile) -> Iterable[FeatureProposal]:
        for role in ("user", "item"):
            column = profile.schema.role(role)
            if column is not None:
                config = cls.Config(column=column.name, entity=role)
                yield FeatureProposal(config, seconds(profile.rows), f"{column.name} is the {role}")
        steps = told_columns(profile)
        for column in feature_columns(profile, "categorical", "id"):
            config = cls.Config(column=column.name, source=column.source, empty_row=column in steps, **thresholds(column))
            reason, rows = f"{column.name} is {column.kind}", entity_rows(profile, column.source)
            if config.tail_buckets:
                reason += f" of {column.distinct:,} categories: those below {config.min_count} events share {config.tail_buckets} rows"
            yield FeatureProposal(config, seconds(rows + 5 * column.distinct), reason, 4 * rows + _BYTES * column.distinct)

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        """Learn the vocabulary; a constant column is rejected unless it is the user or the item."""
        options = self.config
        name = input_name(options.column, options.source)
        column = column_of(options.column, options.source, events, tables)
        vocabulary = sorted_vocabulary(column, 1 if options.entity else options.min_count)
        rare = [] if options.entity or not options.tail_buckets else _rare(column, options.min_count)
        buckets = _buckets(rare, options.tail_buckets, name)
        if vocabulary.size + buckets < (2 if options.entity else 3):
            raise RejectColumn(f"{name!r} has {vocabulary.size - 1} categories that occur {options.min_count} times or more")
        feature = Feature(
            name,
            "id",
            options.entity or depends_of(options.source),
            vocabulary=options.entity or name,
            size=vocabulary.size + buckets + options.empty_row,
            family="id",
        )
        arrays = {f"ids.{part}": array for part, array in vocabulary.arrays().items()}
        steps: tuple[Step, ...] = (Step("lookup", (name,), ".row", {"vocabulary": "ids"}),)
        if buckets:
            steps += (Step("hash", (name, ".row"), ".row or bucket", {"buckets": buckets, "salt": name, "size": vocabulary.size}),)
        program = Program((name,), steps, (steps[-1].output,), arrays)
        if not options.tail_buckets:
            return Fitted((feature,), program)
        decided = {"tail_buckets": buckets, "told": _told(vocabulary, len(rare), buckets)}
        return Fitted((feature,), program, config=options.model_copy(update=decided))


def thresholds(column: Column) -> dict[str, Any]:
    """Return the options that say which categories of a column have rows, by how many it has: they cost memory and need events."""
    if column.distinct > _LARGE:
        return {"min_count": _RARE, "tail_buckets": _BUCKETS}
    return {"min_count": 1 if column.distinct <= _SMALL else 2}


def sorted_vocabulary(column: ColumnData, min_count: int) -> Vocabulary:
    """Return the texts of a column that occur often enough, in order of code points."""
    coded, counts = _counted(column)
    return Vocabulary.of(sorted(str(text) for text in coded.values[counts >= max(min_count, 1)]))


def _rare(column: ColumnData, min_count: int) -> list[str]:
    coded, counts = _counted(column)
    return sorted(str(text) for text in coded.values[(counts > 0) & (counts < min_count)])


def _counted(column: ColumnData) -> tuple[Coded, np.ndarray]:
    values = column.values if isinstance(column, Ragged) else column
    coded = values if isinstance(values, Coded) else as_text(values)
    return coded, np.bincount(coded.codes[coded.codes >= 0], minlength=len(coded.values))


def _buckets(rare: list[str], most: int, salt: str) -> int:
    """Return how many hashed rows the rare categories teach, every one of them: `most` or less, 0 where they teach fewer than two."""
    if not rare:
        return 0
    texts = Coded(np.arange(len(rare), dtype=np.int32), np.array([*rare, None], dtype=object)[:-1])
    buckets = min(most, len(rare) // _LEAST)
    while buckets > 1:
        program = Program(("text",), (Step("hash", ("text",), "row", {"buckets": buckets, "salt": salt}),), ("row",))
        if len(np.unique(np.asarray(run_program(program, {"text": texts}, ReadContext(len(rare)))["row"]))) == buckets:
            return buckets
        buckets //= 2
    return 0


def _told(vocabulary: Vocabulary, rare: int, buckets: int) -> str:
    """Return what the rows cost, beside a row of its own for every category."""
    rows = vocabulary.size + buckets
    stored = sum(array.nbytes for array in vocabulary.arrays().values())
    saved = f"{rows:,} rows instead of {vocabulary.size + rare:,}: {4 * rows:,} bytes a dimension of an embedding"
    return f"{rare:,} rare categories in {buckets:,} buckets, {saved}, {stored:,} bytes of texts"
