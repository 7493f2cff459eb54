"""`Counts`: how many events a user or an item had strictly before the row, on a log scale."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np
from pydantic import Field

from autorec_features.base import Fitted, seconds
from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.features import DataProfile, FeatureProposal
from autorec_kernel.records.as_of import AsOfTable, Measure
from autorec_kernel.records.features import Feature
from autorec_kernel.records.program import Program, Step
from autorec_kernel.records.table import Table

__all__ = ["Counts", "clock_of", "keys_of"]

# (log(1 + n) - 2) / 2: 0 events are -1, 6 are 0, 54 are 1, 400 are 2; constants, so that no later event reaches an earlier value
_CENTRE, _UNIT = 2.0, 0.5


class Counts:
    """Counts events with a smaller clock.

    Where no clock orders other users' events, an item counts the whole training part without the row's own user, and a user without any
    order counts its other rows.
    """

    class Config(ComponentConfig):
        """Options of `Counts`."""

        entity: Literal["user", "item"] = Field("user", description="Whose events are counted.")
        clock: Literal["time", "position", "none"] = Field("time", description="What orders the events.")

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    def propose(cls, profile: DataProfile) -> Iterable[FeatureProposal]:
        for entity in ("user", "item"):
            if profile.schema.role(entity) is not None:
                config = cls.Config(entity=entity, clock=profile.clock)
                reason = f"events of each {entity} {'before the row' if clock_of(entity, config.clock) else 'but the row'}"
                yield FeatureProposal(config, seconds(profile.rows, 10), reason, profile.rows * 20)

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        """Sort and count the events."""
        entity, clock = self.config.entity, clock_of(self.config.entity, self.config.clock)
        table = AsOfTable.sums(events, keys_of(events, entity), key=f"@{entity}_key", time=clock, measures=(Measure(),))
        inputs = (f"@{entity}_key", *([clock] if clock else []))
        steps = (
            Step("as_of", inputs, "count", {"table": "events"}),
            Step("log1p", ("count",), "log"),
            Step("affine", ("log",), "out", {"shift": _CENTRE, "scale": _UNIT}),
        )
        name = f"{entity}.count"
        feature = Feature(name, "numeric", entity, dynamic=True, family="aggregate")
        training = {} if clock else {name: _others(events, entity)}
        return Fitted((feature,), Program(inputs, steps, ("out",), tables={"events": table}), training)


def clock_of(entity: str, clock: str) -> str:
    """Return the column that orders the events of different users (items) or of one user (users); "" when there is none."""
    return "@clock" if clock == "time" or (clock == "position" and entity == "user") else ""


def keys_of(events: Table, entity: str) -> int:
    """Return the number of rows of an entity, row 0 included."""
    return int(np.max(np.asarray(events[f"@{entity}"]), initial=0)) + 1


def _others(events: Table, entity: str) -> np.ndarray:
    """Return float32 [n, 1]: counts of the training part without the row (users) or without the row's user (items)."""
    keys, users = np.asarray(events[f"@{entity}"]), np.asarray(events["@user"])
    _, pair, own = np.unique(keys * (users.max(initial=0) + 1) + users, return_inverse=True, return_counts=True)
    count = np.bincount(keys)[keys] - (1 if entity == "user" else own[pair])
    return ((np.log1p(np.where(keys > 0, count, 0)) - _CENTRE) * _UNIT).astype(np.float32)[:, None]
