"""`Bias`: how good an item is beyond what its raters give anyway, and how lenient a user is beyond what the items deserve."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from autorec_features.base import Fitted, seconds
from autorec_features.counts import keys_of
from autorec_features.crossfit import crossfitted
from autorec_features.keys import training_columns
from autorec_features.labels import LabelConfig, check_label, has, labelled
from autorec_features.running import blank_means, mean_of
from autorec_features.standing import item_mean
from autorec_kernel.contracts.features import DataProfile, FeatureProposal
from autorec_kernel.records.features import Depends, Feature
from autorec_kernel.records.program import Program, Step
from autorec_kernel.records.table import Table
from autorec_kernel.space import Float

__all__ = ["Bias"]

_NEWEST = (("user", 1), ("user", 5), ("user", 20), ("item", 10), ("item", 50))  # means of so many newest labels, shrunk to those of all
_LATELY = 20  # newest residuals of a user whose mean is taken too
_OUTPUTS: tuple[tuple[str, Depends], ...] = (
    ("item.quality", "item"),
    ("user.leniency", "user"),
    ("user+item.bias", "pair"),
    ("user+item.mean", "pair"),
    *((f"{entity}.mean.last{count}", "user" if entity == "user" else "item") for entity, count in _NEWEST),
    (f"user.leniency.last{_LATELY}", "user"),
)
_OWN: tuple[tuple[str, Depends], ...] = (
    *((f"user.mean.last{count}", "user") for entity, count in _NEWEST if entity == "user"),
    ("user.leniency", "pair"),  # what it was measured against is not of the user alone
    ("user+item.mean", "pair"),
)


class Bias:
    """The bias model of Koren, Bell and Volinsky (2009, equation 3), b_ui = μ + b_u + b_i, read strictly before every row.

    An item's quality is its shrunk mean of (label - the user's mean before that event), a user's leniency that of (label - the item's mean
    before that event). The sum of both, `user+item.bias`, predicts the pair, and so does the item's mean and the user's leniency,
    `user+item.mean`. Beside them the means of the newest labels. Where only the order inside a user is known, what an item got before is
    not: the user's newest labels are left, and the leniency beside what other users say of the items, for training rows of those in other
    folds of users than the row's.
    """

    class Config(LabelConfig):
        """Options of `Bias`."""

        label: str = Field("rating", description="Label column.")
        clock: Literal["time", "position"] = Field("time", description="What orders the events: all of them, or those of a user.")
        strength: Annotated[float, Float(1.0, 100.0, log=True)] = Field(5.0, gt=0, le=1e6, description="Events that the prior is worth.")

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    def propose(cls, profile: DataProfile) -> Iterable[FeatureProposal]:
        told = labelled(profile)
        if not told or not has(profile, "user", "item") or profile.clock == "none":
            return
        config = cls.Config(clock=profile.clock, **told)
        if config.clock == "position":
            reason = f"{config.label} of each user beyond that of the items, and the newest"
            yield FeatureProposal(config, seconds(profile.rows, 60), reason, profile.rows * 60)
            return
        reason = f"{config.label} of each item beyond its raters' means, and of each user beyond its items'"
        yield FeatureProposal(config, seconds(profile.rows, 60), reason, profile.rows * 120)

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        """Add up labels and residuals in order of time; a label that is not numeric is rejected."""
        check_label(events, self.config.label)
        users = keys_of(events, "user")
        if self.config.clock == "position":
            program, values = crossfitted(self._of_users(users), self.config, events, tables)
            own = tuple(Feature(name, "numeric", depends, dynamic=True, family="aggregate") for name, depends in _OWN)
            return Fitted(own, program, {feature.name: value for feature, value in zip(own, values, strict=True)})
        blank = self._program(users, keys_of(events, "item"))
        program = blank.fold(training_columns(sorted(blank.columns()), events, tables))
        features = tuple(Feature(name, "numeric", depends, dynamic=True, family="aggregate") for name, depends in _OUTPUTS)
        return Fitted(features, program)

    def _of_users(self, users: int) -> Program:
        newest = [(entity, count) for entity, count in _NEWEST if entity == "user"]
        steps = (
            self.config.standard(".standard"),
            *mean_of(".user mean", "user means", "@user_key", self.config.strength),
            *chain.from_iterable(_newest(entity, count) for entity, count in newest),
            item_mean(".item mean"),
            Step("minus", (".standard", ".item mean"), ".above item"),
            *mean_of(".leniency", "user residuals", "@user_key", self.config.strength),
            Step("plus", (".item mean", ".leniency"), ".expected"),
        )
        tables = {
            "user means": blank_means("@user_key", users, ".standard"),
            "user residuals": blank_means("@user_key", users, ".above item"),
        }
        outputs = (*(f".{entity} newest {count}" for entity, count in newest), ".leniency", ".expected")
        return Program(("@user_key", "@item", "@clock", self.config.label), steps, outputs, tables=tables)

    def _program(self, users: int, items: int) -> Program:
        options, strength = self.config, self.config.strength
        steps = (
            options.standard(".standard"),
            *mean_of(".user mean", "user means", "@user_key", strength),
            *mean_of(".item mean", "item means", "@item_key", strength),
            Step("minus", (".standard", ".user mean"), ".above user"),
            Step("minus", (".standard", ".item mean"), ".above item"),
            *mean_of(".quality", "item residuals", "@item_key", strength),
            *mean_of(".leniency", "user residuals", "@user_key", strength),
            Step("plus", (".quality", ".leniency"), ".bias"),
            Step("plus", (".item mean", ".leniency"), ".expected"),
            *chain.from_iterable(_newest(entity, count) for entity, count in _NEWEST),
            *mean_of(".lately", "user residuals", "@user_key", strength, newest=_LATELY),
        )
        tables = {
            "user means": blank_means("@user_key", users, ".standard"),
            "item means": blank_means("@item_key", items, ".standard"),
            "item residuals": blank_means("@item_key", items, ".above user"),
            "user residuals": blank_means("@user_key", users, ".above item"),
        }
        inputs = ("@user_key", "@item_key", "@clock", options.label)
        newest = [f".{entity} newest {count}" for entity, count in _NEWEST]
        return Program(inputs, steps, (".quality", ".leniency", ".bias", ".expected", *newest, ".lately"), tables=tables)


def _newest(entity: str, count: int) -> tuple[Step, ...]:
    return mean_of(f".{entity} newest {count}", f"{entity} means", f"@{entity}_key", 1.0, prior=f".{entity} mean", newest=count)
