"""Contracts of the feature stage: ops propose themselves, are fitted on the training view, and become programs (data)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import AutoRecError
from autorec_kernel.records.features import Feature
from autorec_kernel.records.program import Program
from autorec_kernel.records.schema import Schema
from autorec_kernel.records.table import Table

__all__ = ["DataProfile", "FeatureOp", "FeatureProposal", "FittedFeatureOp", "RejectColumn"]


class RejectColumn(AutoRecError):
    """Raised by `fit` when the column turns out to be of no use; the reason is journaled and the run goes on."""


@dataclass(frozen=True, slots=True)
class DataProfile:
    """What is known about the data before any op is fitted.

    Args:
        schema: Columns with roles, kinds, missing shares and distinct counts.
        rows, users, items: Sizes of the training part.
        clock: time | position | none.
        task: recommend | rate | click.
        facts: label_mean, label_std, label_low, label_high (where there is a label), user_rows, item_rows (of the side tables),
            history_length (the longest history wanted), density (rows over users x items), span_days (of the clock, where it is time),
            cold_users, cold_items (share of validation rows whose user or item training never saw).
    """

    schema: Schema
    rows: int
    users: int
    items: int
    clock: str
    task: str
    facts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FeatureProposal:
    """One place where an op applies on this data."""

    config: ComponentConfig
    seconds: float  # estimated cost of fitting and materialising
    reason: str
    bytes: int = 0  # estimated memory of its tables and values


@runtime_checkable
class FittedFeatureOp(Protocol):
    """A fitted op: its outputs and the program that computes them, in training and in serving alike.

    An op that decides something in `fit` (which columns to cross) may carry the attribute `config`: its Config with every decision
    written down. The plan records it, and fitting with it again decides nothing: that is how the audit rebuilds a feature set.
    """

    outputs: tuple[Feature, ...]

    def program(self) -> Program:
        """Return the transformation as data; one program output per feature, in the order of `outputs`."""
        ...

    def training_values(self, events: Table) -> Mapping[str, np.ndarray] | None:
        """Return values of training rows that must differ from the program's: out of fold, where no clock orders the events; else None.

        Args:
            events: The same rows that `fit` saw.

        Returns:
            Feature name to one value a row, in the shape and type of the program's; None when the program's values hold everywhere.
        """
        ...


@runtime_checkable
class FeatureOp(Protocol):
    """A way to turn columns into features.

    Laws: `fit` sees the training view only and leaves its inputs as they were; an unseen category maps to row 0; changing any event
    at or after t changes nothing that is read at t; the program gives the bytes that the feature set holds.
    """

    Config: ClassVar[type[ComponentConfig]]

    @classmethod
    def propose(cls, profile: DataProfile) -> Iterable[FeatureProposal]:
        """Yield where this op applies; nothing when it does not."""
        ...

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> FittedFeatureOp:
        """Learn vocabularies, scales and as-of tables.

        Args:
            events: Training rows in order of `@order`: all event columns, and int64 `@order`, `@clock`, `@user` and `@item` (entity
                rows, 0 = unknown; also as `@user_key` and `@item_key`), `@positive` (0/1).
            tables: "users" and "items", one row an entity of the training events in order of its row, from row 1 on (empty tables
                where there are none). Programs read their columns as `users.<name>` and `items.<name>`.
            rng: The only source of randomness.

        Raises:
            RejectColumn: The column is of no use (constant, all missing, …).
        """
        ...
