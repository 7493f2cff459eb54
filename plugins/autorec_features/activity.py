"""`Activity`: how recent, how frequent and how different from before the events of a user or an item are, over several windows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from autorec_features.base import Fitted, seconds
from autorec_features.counts import keys_of
from autorec_features.labels import LabelConfig, check_label, has, labelled
from autorec_kernel.contracts.features import DataProfile, FeatureProposal
from autorec_kernel.records.as_of import AsOfTable, Measure
from autorec_kernel.records.features import Feature
from autorec_kernel.records.program import Program, Step
from autorec_kernel.records.table import Table

__all__ = ["Activity"]

_HOUR = 3_600_000_000_000  # ns
_WINDOWS = (1.0, 24.0, 168.0, 720.0, 2160.0)  # hours: an hour (a session), a day, a week, a month, a season
_FEWEST = 3.0  # windows that the span of the data must hold, so that a window says more than the whole past does
_STRENGTH = 5.0  # labels that the mean of everything before is worth to a window


class Activity:
    """Reads the events of a user or an item strictly before the row, by a global clock.

    Gives, on log scales: the time since the last event (the gap), the time since the first one, the mean gap between events; a window each:
    the number of events, and, with a label, the window's mean minus the mean of everything before, which it is shrunk to (the trend).
    """

    class Config(LabelConfig):
        """Options of `Activity`; of a label the trend is taken."""

        entity: Literal["user", "item"] = Field("user", description="Whose events are read.")
        windows: tuple[Annotated[float, Field(gt=0, le=1e6)], ...] = Field(
            (24.0, 168.0), min_length=1, max_length=8, description="Lengths of the windows, in hours."
        )

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    def propose(cls, profile: DataProfile) -> Iterable[FeatureProposal]:
        span = profile.facts.get("span_days", 0.0) * 24
        windows = tuple(hours for hours in _WINDOWS if hours * _FEWEST <= span)
        if profile.clock != "time" or not windows:
            return
        for entity in ("user", "item"):
            if has(profile, entity):
                cost = seconds(profile.rows * (3 + 2 * len(windows)), 10)
                size = profile.rows * (56 + 8 * len(windows))
                reason = f"gaps, frequency and {len(windows)} windows of each {entity} before the row"
                yield FeatureProposal(cls.Config(entity=entity, windows=windows, **labelled(profile)), cost, reason, size)

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        """Sort and add up the events; a label that is not numeric is rejected."""
        options, entity = self.config, self.config.entity
        if options.label:
            check_label(events, options.label)
        measures = (Measure(), *options.measures) if options.label else (Measure(),)
        table = AsOfTable.sums(events, keys_of(events, entity), key=f"@{entity}_key", measures=measures)
        outputs: list[tuple[str, int]] = [("gap", 2), ("age", 2), ("pace", 2)]
        steps = [*_since("gap", "last", entity), *_since("age", "first", entity), *_pace(entity)]
        for hours in options.windows:
            steps += self._window(hours)
            outputs += [(f"count.{_told(hours)}", 1)] + ([(f"trend.{_told(hours)}", 1)] if options.label else [])
        features = tuple(Feature(f"{entity}.{name}", "numeric", entity, dynamic=True, width=w, family="activity") for name, w in outputs)
        arrays = {"shift": np.array([1.0, 0.0]), "unit": np.array([0.5, 1.0])}
        names = tuple(name for name, _ in outputs)
        return Fitted(features, Program((f"@{entity}_key", "@clock"), tuple(steps), names, arrays, {"events": table}))

    def _window(self, hours: float) -> list[Step]:
        read, name = (f"@{self.config.entity}_key", "@clock"), _told(hours)
        window = {"table": "events", "window": int(hours * _HOUR)}
        steps = [
            Step("as_of", read, f"inside.{name}", {**window, "column": 0}),
            Step("log1p", (f"inside.{name}",), f"log.{name}"),
            Step("affine", (f"log.{name}",), f"count.{name}", {"shift": 1.0, "scale": 0.5}),
        ]
        if not self.config.label:
            return steps
        return [
            *steps,
            Step("as_of", read, f"known.{name}", {**window, "column": 1}),
            Step("as_of", read, f"sum.{name}", {**window, "column": 2}),
            Step("as_of", read, f"known.{name}.all", {"table": "events", "column": 1}),
            Step("as_of", read, f"sum.{name}.all", {"table": "events", "column": 2}),
            Step("ratio", (f"sum.{name}.all", f"known.{name}.all"), f"mean.{name}.all", {"strength": _STRENGTH}),
            Step("ratio", (f"sum.{name}", f"known.{name}", f"mean.{name}.all"), f"mean.{name}", {"strength": _STRENGTH}),
            Step("minus", (f"mean.{name}", f"mean.{name}.all"), f"trend.{name}"),
        ]


def _since(name: str, which: str, entity: str) -> list[Step]:
    """Return the steps to log(1 + hours) since the last or the first event, and whether there was one."""
    return [
        Step("as_of", (f"@{entity}_key", "@clock"), f"{name}.ns", {"table": "events", "since": which}),
        Step("affine", (f"{name}.ns",), f"{name}.hours", {"shift": 0.0, "scale": 1.0 / _HOUR}),
        Step("log1p", (f"{name}.hours",), f"{name}.log"),
        Step("fill", (f"{name}.log",), f"{name}.filled", {"value": 0.0, "indicator": True}),
        Step("affine", (f"{name}.filled",), name, {"shift": "shift", "scale": "unit"}),
    ]


def _pace(entity: str) -> list[Step]:
    """Return the steps to log(1 + hours) between events on average: the time since the first one over their number."""
    return [
        Step("as_of", (f"@{entity}_key", "@clock"), "pace.count", {"table": "events", "column": 0}),
        Step("ratio", ("age.hours", "pace.count"), "pace.hours", {"strength": 0.0}),
        Step("log1p", ("pace.hours",), "pace.log"),
        Step("fill", ("pace.log",), "pace.filled", {"value": 0.0, "indicator": True}),
        Step("affine", ("pace.filled",), "pace", {"shift": "shift", "scale": "unit"}),
    ]


def _told(hours: float) -> str:
    return f"{hours / 24:g}d" if hours >= 24 else f"{hours:g}h"
