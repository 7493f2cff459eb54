"""`TimeParts`: hour, weekday and month of the event, those that the training rows can teach."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np
from pydantic import Field

from autorec_features.base import Fitted, column_of, seconds
from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.features import DataProfile, FeatureProposal, RejectColumn
from autorec_kernel.records.dataset import MISSING_TIME
from autorec_kernel.records.features import Feature
from autorec_kernel.records.program import Program, ReadContext, Step, run_program
from autorec_kernel.records.table import Table

__all__ = ["TimeParts"]

_Part = Literal["hour", "weekday", "month"]
_DAY = 86_400_000_000_000  # ns
# values, and days of training from which the part can be learnt
_PARTS: Mapping[_Part, tuple[int, int]] = {"hour": (24, 2), "weekday": (7, 14), "month": (12, 365)}


class TimeParts:
    """Turns the event's time (UTC) into small categories. A part that the training span cannot teach, or that never varies, is left out."""

    class Config(ComponentConfig):
        """Options of `TimeParts`; `parts` are what `fit` writes down."""

        column: str = Field("timestamp", description="Time column of the events.")
        cyclic: bool = Field(False, description="Give sine and cosine instead of categories.")
        parts: tuple[_Part, ...] = Field((), description="Parts; empty = those that the training rows can teach.")

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    def propose(cls, profile: DataProfile) -> Iterable[FeatureProposal]:
        column = profile.schema.role("time")
        if column is not None and column.kind == "time":
            reason = f"{column.name} is the time of the event"
            yield FeatureProposal(cls.Config(column=column.name), seconds(profile.rows, 2), reason, profile.rows * 8)

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        """Choose the parts, where the options do not; a column with none is rejected."""
        name, cyclic = self.config.column, self.config.cyclic
        column = column_of(name, "events", events, tables)
        if not isinstance(column, np.ndarray) or column.dtype.kind != "i":
            raise RejectColumn(f"{name!r} holds no times")
        parts = self.config.parts or tuple(part for part in _PARTS if _can_teach(column, part))
        if not parts:
            raise RejectColumn(f"{name!r} spans too little to teach an hour, a weekday or a month")
        steps = tuple(Step("calendar", (name,), f".{part}", {"part": part, "cyclic": cyclic}) for part in parts)
        outputs = tuple(_feature(f"{name}.{part}", part, cyclic) for part in parts)
        program = Program((name,), steps, tuple(step.output for step in steps))
        return Fitted(outputs, program, config=self.config.model_copy(update={"parts": parts}))


def _feature(name: str, part: _Part, cyclic: bool) -> Feature:
    if cyclic:
        return Feature(name, "numeric", "row", width=2, family="time")
    return Feature(name, "id", "row", vocabulary=name, size=_PARTS[part][0] + 1, family="time")


def _can_teach(column: np.ndarray, part: _Part) -> bool:
    known = column[column != MISSING_TIME]
    if not len(known) or (float(known.max()) - float(known.min())) / _DAY < _PARTS[part][1]:
        return False
    program = Program(("time",), (Step("calendar", ("time",), "part", {"part": part}),), ("part",))
    values = run_program(program, {"time": known}, ReadContext(len(known)))["part"]
    return len(np.unique(np.asarray(values))) > 1
