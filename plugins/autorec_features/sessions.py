"""`Sessions`: where a row stands in its user's session, and what the user made of the items of this session so far."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated

import numpy as np
from pydantic import Field

from autorec_features.base import Fitted, seconds
from autorec_features.counts import keys_of
from autorec_features.keys import training_columns
from autorec_features.labels import LabelConfig, check_label, has, labelled
from autorec_features.running import blank_means, mean_of
from autorec_kernel.contracts.features import DataProfile, FeatureProposal
from autorec_kernel.records.as_of import AsOfTable, Measure
from autorec_kernel.records.features import Feature
from autorec_kernel.records.program import Program, Step
from autorec_kernel.records.table import Table
from autorec_kernel.space import Float

__all__ = ["Sessions"]

_HOUR = 3_600_000_000_000  # ns
_NEVER = 1e18  # ns: the gap before a first event
_MOST = 1 << 20  # sessions of a user that are told apart
_BUCKETS = (1 << 19) - 1  # rows that (user, session) is hashed into
_STRENGTH = 5.0  # labels that the prior of a user or an item is worth


class Sessions:
    """A session is a run of a user's events with gaps of at most `gap` hours.

    Gives, of the session that the row belongs to: the number of events before the row, and the time since the first of them; with a label
    the mean of (label - the item's mean before the event), shrunk to that of the user. Needs a global clock.
    """

    class Config(LabelConfig):
        """Options of `Sessions`."""

        gap: Annotated[float, Float(0.1, 48.0, log=True)] = Field(1.0, gt=0, le=8760, description="Hours between two sessions, at least.")
        strength: Annotated[float, Float(0.5, 50.0, log=True)] = Field(
            3.0, gt=0, le=1e6, description="Events that the user's mean is worth."
        )

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    def propose(cls, profile: DataProfile) -> Iterable[FeatureProposal]:
        if profile.clock != "time" or not has(profile, "user") or not profile.facts.get("span_days", 0.0) > 1.0:
            return
        told = labelled(profile) if has(profile, "item") else {}
        cost = seconds(profile.rows, 80)
        yield FeatureProposal(cls.Config(**told), cost, "runs of events of each user without a gap of an hour", profile.rows * 150)

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        """Find the sessions and add them up in order of time; a label that is not numeric is rejected."""
        options = self.config
        if options.label:
            check_label(events, options.label)
        blank = self._program(keys_of(events, "user"), keys_of(events, "item"))
        program = blank.fold(training_columns(sorted(blank.columns()), events, tables))
        outputs = (("session.count", 1), ("session.age", 2), *([("session.leniency", 1)] if options.label else []))
        features = tuple(Feature(name, "numeric", "user", dynamic=True, width=width, family="activity") for name, width in outputs)
        return Fitted(features, program)

    def _program(self, users: int, items: int) -> Program:
        nothing = {name: np.zeros(0, np.int64) for name in ("@user_key", "@clock", ".new", ".place", ".session")}
        tables = {
            "events": AsOfTable.sums(nothing, users, key="@user_key", measures=(Measure(),)),
            "starts": AsOfTable.sequence(nothing, users, key="@user_key", time="@clock", value=".place", where=".new"),
        }
        sessions = AsOfTable.sums(nothing, _BUCKETS + 1, key=".session", measures=(Measure(),))
        inputs, outputs = ("@user_key", "@clock"), (".count", ".age")
        arrays = {"gap": np.array([self.config.gap * _HOUR]), "shift": np.array([1.0, 0.0]), "unit": np.array([0.5, 1.0])}
        if not self.config.label:
            return Program(inputs, (*_session(), *_standing()), outputs, arrays, {**tables, "sessions": sessions})
        labelled = {
            "items": blank_means("@item_key", items, ".standard"),
            "users": blank_means("@user_key", users, ".residual"),
            "sessions": sessions,
            "moods": blank_means(".session", _BUCKETS + 1, ".residual"),
        }
        steps = (*_session(), *_standing(), *self._mood())
        return Program((*inputs, "@item_key", self.config.label), steps, (*outputs, ".mood"), arrays, {**tables, **labelled})

    def _mood(self) -> tuple[Step, ...]:
        options = self.config
        return (
            options.standard(".standard"),
            *mean_of(".item", "items", "@item_key", _STRENGTH),
            Step("minus", (".standard", ".item"), ".residual"),
            *mean_of(".user", "users", "@user_key", _STRENGTH),
            *mean_of(".mood", "moods", ".session", options.strength, prior=".user"),
        )


def _session() -> tuple[Step, ...]:
    """Return the steps to the row's session, named by its first event's place among the user's: events of one moment have one place."""
    read = ("@user_key", "@clock")
    return (
        Step("as_of", read, ".gap", {"table": "events", "since": "last"}),
        Step("fill", (".gap",), ".whole gap", {"value": _NEVER}),
        Step("bucketize", (".whole gap",), ".one or two", {"edges": "gap"}),
        Step("affine", (".one or two",), ".new", {"shift": 1.0, "scale": 1.0}),
        Step("as_of", read, ".past", {"table": "events"}),
        Step("affine", (".past",), ".place", {"shift": -1.0, "scale": 1.0}),
        Step("as_of", read, ".starts", {"table": "starts", "length": 1}),
        Step("pool", (".starts", ".starts"), ".start"),
        Step("fill", (".start",), ".last start", {"value": 0.0}),
        Step("minus", (".place", ".last start"), ".ahead"),
        Step("dot", (".ahead", ".new"), ".moved"),
        Step("plus", (".last start", ".moved"), ".number"),
        Step("cross", ("@user_key", ".number"), ".session", {"size": _MOST, "buckets": _BUCKETS}),
    )


def _standing() -> tuple[Step, ...]:
    read = (".session", "@clock")
    return (
        Step("as_of", read, ".inside", {"table": "sessions"}),
        Step("log1p", (".inside",), ".log"),
        Step("affine", (".log",), ".count", {"shift": 1.0, "scale": 0.5}),
        Step("as_of", read, ".since", {"table": "sessions", "since": "first"}),
        Step("affine", (".since",), ".hours", {"shift": 0.0, "scale": 1.0 / _HOUR}),
        Step("log1p", (".hours",), ".log hours"),
        Step("fill", (".log hours",), ".filled", {"value": 0.0, "indicator": True}),
        Step("affine", (".filled",), ".age", {"shift": "shift", "scale": "unit"}),
    )
