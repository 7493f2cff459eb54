"""`Latent`: what a user's labels of other items say of this one, through factors of the items that were learnt before the row's time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from autorec_features.base import Fitted, seconds
from autorec_features.counts import clock_of, keys_of
from autorec_features.folds import FOLDS
from autorec_features.item_factors import learn
from autorec_features.labels import LabelConfig, check_label, has, labelled
from autorec_kernel.contracts.features import DataProfile, FeatureProposal, RejectColumn
from autorec_kernel.records.as_of import AsOfTable, Measure
from autorec_kernel.records.features import Feature
from autorec_kernel.records.program import Program, ReadContext, Step, run_program
from autorec_kernel.records.table import Table
from autorec_kernel.space import Choice, Float

__all__ = ["Latent"]

_FAR = 10.0
_FEWEST = 50  # labels that factors are learnt from
_RANKS = ((3_000_000, 4), (300_000, 8), (0, 6))  # rows → factors: more labels tell more of them, until their sums fill the memory
_MOMENTS = (0.3, 0.5, 0.7, 0.85)  # shares of the training events
_LENIENCY = 5.0  # labels that the mean of a user is worth
_READ = ("@user_key", "@clock")


class Latent:
    """Multiplies the item's factors by the user's regression on the factors of what it labelled before.

    With residuals r (the label less what the item and the user usually get) and factors w that are uncorrelated and of variance 1 over
    the events, the ridge regression of one user is sum(r w) / (n + strength), which running sums keep current. Factors come from the
    truncated singular value decomposition of the residuals (Paterek 2007): by time at a few moments, each from what lies before it, and
    zeros before the first; without a common clock from the users of other folds.
    """

    class Config(LabelConfig):
        """Options of `Latent`."""

        clock: Literal["time", "position"] = Field("time", description="What orders the events: all of them, or those of a user.")
        rank: Annotated[int, Choice(4, 6, 8, 16)] = Field(6, ge=1, le=64, description="Factors of an item.")
        strength: Annotated[float, Float(3.0, 100.0, log=True)] = Field(
            30.0, gt=0, le=1e6, description="Labels that no preference is worth."
        )

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    def propose(cls, profile: DataProfile) -> Iterable[FeatureProposal]:
        if profile.clock == "none" or not has(profile, "user", "item") or not (told := labelled(profile)):
            return
        config = cls.Config(clock=profile.clock, rank=next(rank for rows, rank in _RANKS if profile.rows >= rows), **told)
        reason = f"{config.rank} factors of the items, and what the user's labels say of each"
        values = profile.rows * 45 * config.rank + (profile.users + profile.items) * 800
        yield FeatureProposal(config, seconds(values), reason, profile.rows * 24 * (config.rank + 1))

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        """Learn the factors of all events, and those that each training row may know; too few labels are rejected."""
        check_label(events, self.config.label)
        told = np.isfinite(np.asarray(events[self.config.label], np.float64))
        told &= (np.asarray(events["@user"]) > 0) & (np.asarray(events["@item"]) > 0)
        blank, out = self._program(keys_of(events, "user")), np.zeros((events.rows, 1), np.float32)
        columns = {name: np.asarray(events[name]) for name in blank.inputs}
        by_time = self.config.clock == "time"
        split = self._by_time(columns["@clock"], told) if by_time else self._by_users(columns["@user_key"])
        able = False
        for known, folded, read in split:
            if len(read) and np.count_nonzero(told[known]) >= _FEWEST:
                out[read], able = _values(self._fitted(blank, events, known), columns, folded, read), True
        if not able:
            raise RejectColumn(f"no row has {_FEWEST} labels {'before it' if by_time else 'of users in other folds'} to learn from")
        feature = Feature("taste.latent", "numeric", "pair", dynamic=True, family="taste")
        whole = self._fitted(blank, events, np.arange(events.rows)).fold(columns)
        return Fitted((feature,), whole, {feature.name: out})

    def _by_time(self, clock: np.ndarray, told: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield (rows to learn from, rows to add up, rows that read), for each moment.

        A moment before which there are too few labels, since many rows share its clock, moves on to the next clock there is.
        """
        order, labels = np.sort(clock), np.sort(clock[told])
        places = [int(share * len(order)) for share in _MOMENTS]
        early = [np.searchsorted(labels, order[place]) < _FEWEST for place in places]
        later = [np.searchsorted(order, order[place], side="right") if soon else place for place, soon in zip(places, early, strict=True)]
        moments = np.unique([order[place] for place in later if place < len(order)])
        for moment, until in zip(moments, [*moments, None][1:], strict=True):
            before = np.ones(len(clock), bool) if until is None else clock < until
            yield np.flatnonzero(clock < moment), np.flatnonzero(before), np.flatnonzero(before & (clock >= moment))

    def _by_users(self, users: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        for fold in range(FOLDS):
            own = np.flatnonzero(users % FOLDS == fold)
            yield np.flatnonzero(users % FOLDS != fold), own, own

    def _fitted(self, blank: Program, events: Table, rows: np.ndarray) -> Program:
        """Return the program with the factors that these rows tell."""
        options, items = self.config, keys_of(events, "item")
        standard = (np.asarray(events[options.label], np.float64)[rows] - options.prior) / options.spread
        order = np.argsort(np.asarray(events["@clock"])[rows], kind="stable")
        users, item = (np.asarray(events[name])[rows] for name in ("@user", "@item"))
        means, factors = learn(users[order], item[order], standard[order], items, options.rank)
        return replace(blank, arrays={"means": means, **{f"factor {number}": column for number, column in enumerate(factors.T)}})

    def _program(self, users: int) -> Program:
        options, numbers = self.config, range(self.config.rank)
        measures = [Measure(".rest"), Measure(".rest", count=False)]
        steps = [
            options.standard(".label"),
            Step("gather", ("@item",), ".mean", {"table": "means"}),
            Step("minus", (".label", ".mean"), ".rest"),
            Step("minus", (".rest", ".rest"), ".nought"),
            Step("as_of", _READ, ".count", {"table": "said", "column": 0}),
            Step("as_of", _READ, ".said", {"table": "said", "column": 1}),
            Step("ratio", (".said", ".count"), ".leniency", {"strength": _LENIENCY}),
        ]
        for number in numbers:
            steps += _component(number)
            measures += [Measure(f".weighted {number}", count=False), Measure(f".known {number}", count=False)]
        parts = [f".part {number}" for number in numbers]
        steps += [Step("concat", tuple(parts), ".parts"), Step("concat", tuple(f".factor {number}" for number in numbers), ".factors")]
        steps += [
            Step("dot", (".parts", ".factors"), ".sum"),
            Step("ratio", (".sum", ".count"), ".score", {"strength": options.strength}),
            Step("clip", (".score",), "out", {"low": -_FAR, "high": _FAR}),
        ]
        nothing = {name: np.zeros(0, np.int64) for name in (*_READ, *(measure.column for measure in measures))}
        clock = clock_of("user", options.clock)
        table = AsOfTable.sums(nothing, users, key="@user_key", time=clock, measures=measures)
        return Program(("@user_key", "@item", "@clock", options.label), tuple(steps), ("out",), tables={"said": table})


def _values(program: Program, columns: Mapping[str, np.ndarray], folded: np.ndarray, read: np.ndarray) -> np.ndarray:
    """Return float32 [m, 1]: what the rows `read` get once the rows `folded` are added up; the sums are let go of."""
    whole = program.fold({name: column[folded] for name, column in columns.items()})
    return np.asarray(run_program(whole, {name: column[read] for name, column in columns.items()}, ReadContext(len(read)))["out"])


def _component(number: int) -> tuple[Step, ...]:
    """Return the steps of one factor: what an event adds, and the user's sum of it beyond the user's own mean."""
    column = 2 + 2 * number
    return (
        Step("gather", ("@item",), f".factor {number}", {"table": f"factor {number}"}),
        Step("dot", (".rest", f".factor {number}"), f".weighted {number}"),
        Step("plus", (".nought", f".factor {number}"), f".known {number}"),
        Step("as_of", _READ, f".got {number}", {"table": "said", "column": column}),
        Step("as_of", _READ, f".met {number}", {"table": "said", "column": column + 1}),
        Step("dot", (".leniency", f".met {number}"), f".usual {number}"),
        Step("minus", (f".got {number}", f".usual {number}"), f".part {number}"),
    )
