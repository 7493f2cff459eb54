"""`History`: the last positive items of the user before the row, as a sequence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from pydantic import Field

from autorec_features.base import Fitted, feature_columns, seconds
from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.features import DataProfile, FeatureProposal
from autorec_kernel.records.as_of import AsOfTable
from autorec_kernel.records.features import Feature
from autorec_kernel.records.program import Program, Step
from autorec_kernel.records.schema import Column
from autorec_kernel.records.table import Table

__all__ = ["History", "told_columns"]

_MOST, _LARGEST = 3, 1000  # columns that have histories, and their categories


class History:
    """Keeps every user's positive items in the written order `@order`; a row reads the last of them before itself."""

    class Config(ComponentConfig):
        """Options of `History`."""

        length: int = Field(50, ge=1, le=1000, description="Longest history kept; models may read less.")

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    def propose(cls, profile: DataProfile) -> Iterable[FeatureProposal]:
        if profile.schema.role("user") is not None and profile.schema.role("item") is not None:
            config = cls.Config(length=int(profile.facts.get("history_length", 50)))
            yield FeatureProposal(config, seconds(profile.rows), "users have histories", profile.rows * 12)

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        """Sort the events."""
        users, items = (int(np.max(np.asarray(events[name]), initial=0)) + 1 for name in ("@user", "@item"))
        table = AsOfTable.sequence(events, users, key="@user_key", where="@positive")
        length = self.config.length
        step = Step("as_of", ("@user_key", "@order"), "history", {"table": "items", "length": length})
        feature = Feature("history", "history", "user", dynamic=True, vocabulary="item", size=items, width=length, family="history")
        return Fitted((feature,), Program(("@user_key", "@order"), (step,), ("history",), tables={"items": table}))


def told_columns(profile: DataProfile) -> tuple[Column, ...]:
    """Return the columns whose values along a history a ranker may read: a few categories of items, then of events.

    Retrievers read the items alone.
    """
    if profile.task == "recommend" or profile.schema.role("user") is None or profile.schema.role("item") is None:
        return ()
    fitting = [column for column in feature_columns(profile, "categorical") if column.source != "users" and column.distinct <= _LARGEST]
    return tuple(sorted(fitting, key=lambda column: column.source != "items")[:_MOST])
