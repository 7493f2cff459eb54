"""`Bias`: how good an item is beyond what its raters give anyway, and how lenient a user is beyond what the items deserve."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated

import numpy as np
from pydantic import Field

from autorec_features.base import Fitted, seconds
from autorec_features.counts import keys_of
from autorec_features.keys import training_columns
from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.features import DataProfile, FeatureProposal, RejectColumn
from autorec_kernel.records.as_of import AsOfTable, Measure
from autorec_kernel.records.features import Feature
from autorec_kernel.records.program import Program, Step
from autorec_kernel.records.table import Table
from autorec_kernel.space import Float

__all__ = ["Bias"]

_OUTPUTS = (("item.quality", "item"), ("user.leniency", "user"), ("user+item.bias", "pair"), ("user.mean.last", "user"))
_LAST = 5  # labels of a user that the newest mean is of


class Bias:
    """The bias model of Koren, Bell and Volinsky (2009, equation 3), b_ui = μ + b_u + b_i, read strictly before every row.

    An item's quality is its shrunk mean of (label - the user's mean before that event), a user's leniency that of (label - the item's mean
    before that event). The sum of both, `user+item.bias`, predicts the pair. Needs a global clock.
    """

    class Config(ComponentConfig):
        """Options of `Bias`; prior and spread are fixed before fitting, so that no later label reaches an earlier value."""

        label: str = Field("rating", description="Label column.")
        prior: float = Field(0.0, description="Mean assumed where there is no event.")
        spread: float = Field(1.0, gt=0, description="Deviation of the label, the unit of the outputs.")
        strength: Annotated[float, Float(1.0, 100.0, log=True)] = Field(5.0, gt=0, le=1e6, description="Events that the prior is worth.")

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    def propose(cls, profile: DataProfile) -> Iterable[FeatureProposal]:
        label, spread = profile.schema.role("label"), profile.facts.get("label_std", 0.0)
        known = all(profile.schema.role(role) is not None for role in ("user", "item"))  # type: ignore[arg-type]
        if label is None or not spread > 0 or not known or profile.clock != "time":
            return
        config = cls.Config(label=label.name, prior=profile.facts["label_mean"], spread=spread)
        reason = f"{label.name} of each item beyond its raters' means, and of each user beyond its items'"
        yield FeatureProposal(config, seconds(profile.rows, 60), reason, profile.rows * 120)

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        """Add up labels and residuals in order of time; a label that is not numeric is rejected."""
        label = events.get(self.config.label)
        if not isinstance(label, np.ndarray) or label.ndim != 1:
            raise RejectColumn(f"label {self.config.label!r} is not numeric")
        blank = self._program(keys_of(events, "user"), keys_of(events, "item"))
        program = blank.fold(training_columns(sorted(blank.columns()), events, tables))
        features = tuple(Feature(name, "numeric", depends, dynamic=True, family="aggregate") for name, depends in _OUTPUTS)  # type: ignore[arg-type]
        return Fitted(features, program)

    def _program(self, users: int, items: int) -> Program:
        options = self.config
        shrunk = {"strength": options.strength}
        standard = Step("affine", (options.label,), ".standard", {"shift": options.prior, "scale": 1.0 / options.spread})
        steps = (
            standard,
            *_mean("user", "means", ".user mean", shrunk),
            *_mean("item", "means", ".item mean", shrunk),
            Step("minus", (".standard", ".user mean"), ".above user"),
            Step("minus", (".standard", ".item mean"), ".above item"),
            *_mean("item", "residuals", ".quality", shrunk),
            *_mean("user", "residuals", ".leniency", shrunk),
            Step("plus", (".quality", ".leniency"), ".bias"),
            *_newest(shrunk),
        )
        tables = {
            "user means": _blank("user", users, ".standard"),
            "item means": _blank("item", items, ".standard"),
            "item residuals": _blank("item", items, ".above user"),
            "user residuals": _blank("user", users, ".above item"),
        }
        inputs = ("@user_key", "@item_key", "@clock", options.label)
        return Program(inputs, steps, (".quality", ".leniency", ".bias", ".last"), tables=tables)


def _blank(entity: str, keys: int, value: str) -> AsOfTable:
    key = f"@{entity}_key"
    nothing = {name: np.zeros(0, np.int64) for name in (key, "@clock", value)}
    return AsOfTable.sums(nothing, keys, key=key, measures=(Measure(value), Measure(value, count=False)))


def _mean(entity: str, table: str, name: str, shrunk: Mapping[str, float]) -> tuple[Step, ...]:
    read, of = (f"@{entity}_key", "@clock"), f"{entity} {table}"
    return (
        Step("as_of", read, f"{name} count", {"table": of, "column": 0}),
        Step("as_of", read, f"{name} sum", {"table": of, "column": 1}),
        Step("ratio", (f"{name} sum", f"{name} count"), name, shrunk),
    )


def _newest(shrunk: Mapping[str, float]) -> tuple[Step, ...]:
    read = ("@user_key", "@clock")
    return (
        Step("as_of", read, ".last count", {"table": "user means", "column": 0, "newest": _LAST}),
        Step("as_of", read, ".last sum", {"table": "user means", "column": 1, "newest": _LAST}),
        Step("ratio", (".last sum", ".last count"), ".last", {**shrunk, "strength": 1.0}),
    )
