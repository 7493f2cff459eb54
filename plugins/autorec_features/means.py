"""`Means`: the mean label of a user or an item strictly before the row, shrunk to the prior."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from autorec_features.base import Fitted, seconds
from autorec_features.counts import clock_of, keys_of
from autorec_features.folds import out_of_fold
from autorec_features.labels import LabelConfig, check_label, has, labelled
from autorec_kernel.contracts.features import DataProfile, FeatureProposal
from autorec_kernel.records.as_of import AsOfTable
from autorec_kernel.records.features import Feature
from autorec_kernel.records.program import Program, Step
from autorec_kernel.records.table import Table
from autorec_kernel.space import Float

__all__ = ["Means"]

_OUTPUTS = ("shrunk", "plain")


class Means:
    """Shrunk mean: (sum of standardised labels) / (their number + strength), in units of the label's deviation around the prior.

    Beside it the plain mean, 0 where there is no label: where few labels are known both together tell how far to trust them.

    Only labels with a smaller clock are read. Where no clock orders other users' events, training rows read the folds of users they
    are not in (items), or the folds of rows they are not in (users without any order); other rows read the whole training part.
    """

    class Config(LabelConfig):
        """Options of `Means`."""

        entity: Literal["user", "item"] = Field("user", description="Whose labels are averaged.")
        label: str = Field("rating", description="Label column.")
        clock: Literal["time", "position", "none"] = Field("time", description="What orders the events.")
        strength: Annotated[float, Float(0.5, 100.0, log=True)] = Field(5.0, gt=0, le=1e6, description="Events that the prior is worth.")

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    def propose(cls, profile: DataProfile) -> Iterable[FeatureProposal]:
        told = labelled(profile)
        for entity in ("user", "item"):
            if told and has(profile, entity):
                config = cls.Config(entity=entity, clock=profile.clock, **told)
                reason = f"mean {config.label} of each {entity} {'before the row' if clock_of(entity, config.clock) else 'of other folds'}"
                yield FeatureProposal(config, seconds(profile.rows, 12), reason, profile.rows * 32)

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        """Sort and add up the labels; a label that is not numeric is rejected."""
        options = self.config
        check_label(events, options.label)
        program = self._program(events)
        names = (f"{options.entity}.mean", f"{options.entity}.mean.plain")
        features = tuple(Feature(name, "numeric", options.entity, dynamic=True, family="aggregate") for name in names)
        training = {} if clock_of(options.entity, options.clock) else self._out_of_fold(events)
        return Fitted(features, program, {name: training[output] for name, output in zip(names, _OUTPUTS, strict=True) if training})

    def _program(self, events: Table, keys: int = 0) -> Program:
        options, entity = self.config, self.config.entity
        clock = clock_of(entity, options.clock)
        table = AsOfTable.sums(events, keys or keys_of(events, entity), key=f"@{entity}_key", time=clock, measures=options.measures)
        inputs = (f"@{entity}_key", *([clock] if clock else []))
        steps = (
            Step("as_of", inputs, "count", {"table": "labels", "column": 0}),
            Step("as_of", inputs, "total", {"table": "labels", "column": 1}),
            Step("ratio", ("total", "count"), "shrunk", {"strength": options.strength}),
            Step("ratio", ("total", "count"), "mean", {"strength": 0.0}),
            Step("fill", ("mean",), "plain", {"value": 0.0}),
        )
        return Program(inputs, steps, _OUTPUTS, tables={"labels": table})

    def _out_of_fold(self, events: Table) -> Mapping[str, np.ndarray]:
        """Return output → float32 [n, 1]: each row's value from the labels of the other folds."""
        keys = keys_of(events, self.config.entity)
        fold = np.asarray(events["@user" if self.config.entity == "item" else "@order"])
        return out_of_fold(lambda rows: self._program(events.take(rows), keys), events, fold, _OUTPUTS)
