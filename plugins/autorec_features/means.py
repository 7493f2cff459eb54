"""`Means`: the mean label of a user or an item strictly before the row, shrunk to the prior."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from autorec_features.base import Fitted, seconds
from autorec_features.counts import clock_of, keys_of
from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.features import DataProfile, FeatureProposal, RejectColumn
from autorec_kernel.records.as_of import AsOfTable, Measure
from autorec_kernel.records.features import Feature
from autorec_kernel.records.program import Program, ReadContext, Step, run_program
from autorec_kernel.records.table import Table
from autorec_kernel.space import Float

__all__ = ["Means"]

_FOLDS = 8


class Means:
    """Shrunk mean: (sum of standardised labels) / (their number + strength), in units of the label's deviation around the prior.

    Only labels with a smaller clock are read. Where no clock orders other users' events, training rows read the folds of users they
    are not in (items), or the folds of rows they are not in (users without any order); other rows read the whole training part.
    """

    class Config(ComponentConfig):
        """Options of `Means`; prior and spread are fixed before fitting, so that no later label reaches an earlier value."""

        entity: Literal["user", "item"] = Field("user", description="Whose labels are averaged.")
        label: str = Field("rating", description="Label column.")
        clock: Literal["time", "position", "none"] = Field("time", description="What orders the events.")
        prior: float = Field(0.0, description="Mean assumed of an entity without events.")
        spread: float = Field(1.0, gt=0, description="Deviation of the label, the unit of the output.")
        strength: Annotated[float, Float(0.5, 100.0, log=True)] = Field(5.0, gt=0, le=1e6, description="Events that the prior is worth.")

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    def propose(cls, profile: DataProfile) -> Iterable[FeatureProposal]:
        label, spread = profile.schema.role("label"), profile.facts.get("label_std", 0.0)
        if label is None or not spread > 0:
            return
        for entity in ("user", "item"):
            if profile.schema.role(entity) is not None:  # type: ignore[arg-type]
                prior = profile.facts["label_mean"]
                config = cls.Config(entity=entity, label=label.name, clock=profile.clock, prior=prior, spread=spread)
                yield FeatureProposal(config, seconds(profile.rows, 12), f"mean {label.name} of each {entity} before the row")

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        """Sort and add up the labels; a label that is not numeric is rejected."""
        options = self.config
        label = events.get(options.label)
        if not isinstance(label, np.ndarray) or label.ndim != 1:
            raise RejectColumn(f"label {options.label!r} is not numeric")
        program = self._program(events)
        name = f"{options.entity}.mean"
        feature = Feature(name, "numeric", options.entity, dynamic=True, family="aggregate")
        training = {} if clock_of(options.entity, options.clock) else {name: self._out_of_fold(events)}
        return Fitted((feature,), program, training)

    def _program(self, events: Table, keys: int = 0) -> Program:
        options, entity = self.config, self.config.entity
        clock = clock_of(entity, options.clock)
        count = Measure(options.label)
        total = Measure(options.label, count=False, shift=options.prior, scale=1.0 / options.spread)
        table = AsOfTable.sums(events, keys or keys_of(events, entity), key=f"@{entity}_key", time=clock, measures=(count, total))
        inputs = (f"@{entity}_key", *([clock] if clock else []))
        steps = (
            Step("as_of", inputs, "count", {"table": "labels", "column": 0}),
            Step("as_of", inputs, "total", {"table": "labels", "column": 1}),
            Step("ratio", ("total", "count"), "out", {"strength": options.strength}),
        )
        return Program(inputs, steps, ("out",), tables={"labels": table})

    def _out_of_fold(self, events: Table) -> np.ndarray:
        """Return float32 [n, 1]: each row's value from the labels of the other folds."""
        grouping = "@user" if self.config.entity == "item" else "@order"
        fold = np.asarray(events[grouping]) % _FOLDS
        keys = keys_of(events, self.config.entity)
        values = np.zeros((events.rows, 1), np.float32)
        for number in range(_FOLDS):
            inside = np.flatnonzero(fold == number)
            program = self._program(events.take(np.flatnonzero(fold != number)), keys)
            columns = {name: np.asarray(events[name])[inside] for name in program.inputs}
            values[inside] = np.asarray(run_program(program, columns, ReadContext(len(inside)))["out"])
        return values
