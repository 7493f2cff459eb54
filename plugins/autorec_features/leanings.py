"""`Leanings`: what a user makes of a genre beyond what its items get, what an audience makes of an item beyond what it gives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from autorec_features.base import Fitted, seconds
from autorec_features.counts import keys_of
from autorec_features.crossfit import crossfitted
from autorec_features.groups import COUNT_CENTRE, COUNT_UNIT, POOLS, min_count, pairings
from autorec_features.keys import Keys, crossed, keys_for, training_columns
from autorec_features.labels import LabelConfig, check_label, has, labelled
from autorec_features.running import blank_means, mean_of
from autorec_features.standing import STANDINGS, bands, item_mean
from autorec_kernel.contracts.features import DataProfile, FeatureProposal
from autorec_kernel.records.as_of import AsOfTable
from autorec_kernel.records.features import Feature
from autorec_kernel.records.program import Program, Step
from autorec_kernel.records.table import Table
from autorec_kernel.space import Float

__all__ = ["Leanings"]

_STRENGTH = 5.0  # events that the prior of a user or an item is worth


class Leanings:
    """Means of residuals in two levels, each shrunk to the one above it.

    Of a user (item) and one or two columns of the other side: the residual is the label minus the mean of the event's item (user) before
    it; its mean by the pair is shrunk to its mean by the user (item), and the mean of the row's own item (user) is added: a prediction of
    the label. Of an item's list (genres) the mean over its values, the best and the worst. Only events with a smaller clock are read.

    Where only the order inside a user is known, what an item got before is not: the mean of the event's item is then that of other
    users, for training rows of those in other folds of users than the row's.
    """

    class Config(LabelConfig):
        """Options of `Leanings`."""

        keys: tuple[str, ...] = Field(
            ("@user", "items.genres"),
            min_length=2,
            max_length=3,
            description="@user or @item, and columns; the last may hold lists; or @user and popularity, or quality, of the item, in bands.",
        )
        label: str = Field("rating", description="Label column.")
        clock: Literal["time", "position"] = Field("time", description="What orders the events: all of them, or those of a user.")
        strength: Annotated[float, Float(1.0, 100.0, log=True)] = Field(3.0, gt=0, le=1e6, description="Events that the prior is worth.")

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    def propose(cls, profile: DataProfile) -> Iterable[FeatureProposal]:
        told = labelled(profile)
        if not told or not has(profile, "user", "item") or profile.clock == "none":
            return
        standings = [(("@user", name), 1) for name in STANDINGS]
        for keys, width in (*pairings(profile), *standings):
            if profile.clock == "position" and keys[0] != "@user":
                continue
            config = cls.Config(keys=keys, clock=profile.clock, **told)
            beyond = "items" if keys[0] == "@user" else "users"
            reason = f"{config.label} by {' and '.join(keys)} beyond that of the {beyond}"
            yield FeatureProposal(config, seconds(profile.rows * (width + 2), 14), reason, profile.rows * (width + 2) * 24)

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        """Add up residuals in order of time; a label that is not numeric is rejected."""
        options = self.config
        check_label(events, options.label)
        users, items = keys_of(events, "user"), keys_of(events, "item")
        keys, more = self._keys(events, tables, items)
        outputs = (*(POOLS if keys.several else ("mean",)), "count")
        name = "+".join(key.lstrip("@") for key in options.keys)
        features = tuple(Feature(f"{name}.{out}", "numeric", "pair", dynamic=True, family="group") for out in outputs)
        if options.clock == "time":
            blank = self._program(keys, outputs, users, items, more)
            return Fitted(features, blank.fold(training_columns(sorted(blank.columns()), events, tables)))
        program, values = crossfitted(self._of_user(keys, outputs, users), options, events, tables)
        return Fitted(features, program, {feature.name: value for feature, value in zip(features, values, strict=True)})

    def _keys(self, events: Table, tables: Mapping[str, Table], items: int) -> tuple[Keys, Mapping[str, AsOfTable]]:
        names = self.config.keys
        if names[-1] not in STANDINGS:
            return keys_for(names, events, tables, min_count(names, events, tables)), {}
        found, more = bands(names[-1], items, ".standard", self.config.clock)
        return crossed(keys_for(names[:-1], events, tables), found), more

    def _program(self, keys: Keys, outputs: tuple[str, ...], users: int, items: int, more: Mapping[str, AsOfTable]) -> Program:
        options = self.config
        own, other = ("@user_key", "@item_key") if options.keys[0] == "@user" else ("@item_key", "@user_key")
        sizes = {"@user_key": users, "@item_key": items}
        steps = (
            *keys.steps,
            options.standard(".standard"),
            *mean_of(".base", "others", other, _STRENGTH),
            Step("minus", (".standard", ".base"), ".residual"),
            *mean_of(".own", "own", own, _STRENGTH),
            *mean_of(".leaning", "groups", keys.name, options.strength, prior=".own"),
            *(step for name in outputs if name in POOLS for step in _prediction(name, keys.name)),
            *_counted(keys.name),
        )
        tables = {
            **more,
            "others": blank_means(other, sizes[other], ".standard"),
            "own": blank_means(own, sizes[own], ".residual"),
            "groups": blank_means(keys.name, keys.size, ".residual"),
        }
        inputs = tuple(dict.fromkeys((*keys.inputs, own, other, "@clock", options.label)))
        return Program(inputs, steps, tuple(f".{name}" for name in outputs), keys.arrays, tables)

    def _of_user(self, keys: Keys, outputs: tuple[str, ...], users: int) -> Program:
        """Return the program that reads the row's own user's past beside what other users say of the items."""
        options = self.config
        steps = (
            *keys.steps,
            options.standard(".standard"),
            item_mean(".base"),
            Step("minus", (".standard", ".base"), ".residual"),
            *mean_of(".own", "own", "@user_key", _STRENGTH),
            *mean_of(".leaning", "groups", keys.name, options.strength, prior=".own"),
            *(step for name in outputs if name in POOLS for step in _prediction(name, keys.name)),
            *_counted(keys.name),
        )
        folded = {"own": blank_means("@user_key", users, ".residual"), "groups": blank_means(keys.name, keys.size, ".residual")}
        inputs = tuple(dict.fromkeys((*keys.inputs, "@user_key", "@item", "@clock", options.label)))
        return Program(inputs, steps, tuple(f".{name}" for name in outputs), keys.arrays, folded)


def _counted(keys: str) -> tuple[Step, ...]:
    """Return the steps to the number of events of a group before the row, over the values of a list their mean, on a log scale."""
    return (
        Step("pool", (".leaning count", keys), ".pooled count"),
        Step("fill", (".pooled count",), ".known", {"value": 0.0}),
        Step("log1p", (".known",), ".log"),
        Step("affine", (".log",), ".count", {"shift": COUNT_CENTRE, "scale": COUNT_UNIT}),
    )


def _pooled(name: str, value: str, keys: str, mode: str) -> tuple[Step, ...]:
    """Return the steps to `.name`: a value over those of a list, 0 where there is none."""
    return (
        Step("pool", (value, keys), f".pooled {name}", {"mode": mode}),
        Step("fill", (f".pooled {name}",), f".{name}", {"value": 0.0}),
    )


def _prediction(name: str, keys: str) -> tuple[Step, ...]:
    """Return the steps from leanings to a prediction: the row's own mean is added."""
    return (*_pooled(f"whole {name}", ".leaning", keys, POOLS[name]), Step("plus", (f".whole {name}", ".base"), f".{name}"))
