"""`Groups`: how many events a group had before the row and their mean label: a category, a user's category, an item's segment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from autorec_features.base import Fitted, input_name, seconds
from autorec_features.folds import out_of_fold
from autorec_features.keys import BINS, WHOLE, Keys, depends_on, keys_for, training_columns
from autorec_features.labels import LabelConfig, check_label, has, labelled
from autorec_features.years import YEAR
from autorec_kernel.contracts.features import DataProfile, FeatureProposal
from autorec_kernel.records.as_of import AsOfTable, Measure
from autorec_kernel.records.features import Feature
from autorec_kernel.records.program import Program, Step
from autorec_kernel.records.schema import Column
from autorec_kernel.records.table import Coded, ColumnData, Ragged, Table, take_column
from autorec_kernel.space import Float

__all__ = ["COUNT_CENTRE", "COUNT_UNIT", "POOLS", "Groups", "min_count", "pairings"]

POOLS = {"mean": "mean", "best": "max", "worst": "min"}  # over the values of a list
COUNT_CENTRE, COUNT_UNIT = 2.0, 0.5  # of a count on a log scale, as in `Counts`
_SMALL, _ENOUGH = 64, 20_000  # categories of a column up to which, and rows from which, its rows tell themselves
_MOST = 1000  # categories up to which a column makes pairs
_NUMBERS = ("numeric", "time", "text")  # kinds that are cut into bins; of a text its year
_SEGMENTS = 50  # combinations of two columns up to which an audience is cut by both
_RARE = 5  # events below which a category of a large column has no row


class Groups:
    """Aggregates by one column, or by a user or an item and one or two columns of the other side or of the event.

    Of an item's list (genres) the mean over its values counts, and the best and the worst of their means. Only events with a smaller
    clock are read. Where no clock orders the events that a group mixes, training rows read the folds of users (or rows) that they are
    not in.
    """

    class Config(LabelConfig):
        """Options of `Groups`."""

        keys: tuple[str, ...] = Field(
            ("items.genres",), min_length=1, max_length=3, description="Up to three of @user, @item and columns; the last may hold lists."
        )
        clock: Literal["time", "position", "none"] = Field("time", description="What orders the events.")
        strength: Annotated[float, Float(1.0, 100.0, log=True)] = Field(10.0, gt=0, le=1e6, description="Events that the prior is worth.")

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    def propose(cls, profile: DataProfile) -> Iterable[FeatureProposal]:
        told = labelled(profile)
        leaning = profile.clock if told and has(profile, "user", "item") else "none"  # where `Leanings` says more of pairs
        pairs = [pair for pair in pairings(profile) if leaning == "none" or (leaning == "position" and pair[0][0] != "@user")]
        for keys, width in (*_singles(profile), *pairs):
            if not told and "@user" not in keys:
                continue  # without a label only a user's own counts say something that an id does not
            config = cls.Config(keys=keys, clock=profile.clock, **told)
            folds = 1 if _clock_of(keys, profile.clock) else 3
            cost = seconds(profile.rows * width * folds, 12)
            what = "mean label and count" if told else "count"
            whose = "before the row" if folds == 1 else "of other folds"
            yield FeatureProposal(config, cost, f"{what} by {' and '.join(keys)} {whose}", profile.rows * (width * 24 + 8))

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        """Sort and add up the events of every group."""
        options = self.config
        if options.label:
            check_label(events, options.label)
        keys = keys_for(options.keys, events, tables, min_count(options.keys, events, tables))
        clock = _clock_of(options.keys, options.clock)
        names = [*keys.inputs, *([clock] if clock else []), *([options.label] if options.label else [])]
        columns = training_columns(names, events, tables)
        blank = self._program(keys, clock)
        columns |= blank.computed([keys.name], columns)
        name = "+".join(key.lstrip("@") for key in options.keys)
        outputs = self._outputs(keys)
        depends = depends_on(options.keys)
        features = tuple(Feature(f"{name}.{out}", "numeric", depends, dynamic=True, family="group") for out in outputs)

        def program_of(rows: np.ndarray | None) -> Program:
            seen = columns if rows is None else {name: take_column(column, rows) for name, column in columns.items()}
            return self._program(keys, clock, seen)

        training: dict[str, np.ndarray] = {}
        if not clock:
            fold = np.asarray(events["@order" if "@user" in options.keys or not np.asarray(events["@user"]).any() else "@user"])
            found = out_of_fold(program_of, columns, fold, [f".{out}" for out in outputs])
            training = {f"{name}{out}": value for out, value in found.items()}
        return Fitted(features, program_of(None), training)

    def _program(self, keys: Keys, clock: str, events: Mapping[str, ColumnData] | None = None) -> Program:
        options = self.config
        measures = options.measures if options.label else (Measure(),)
        nothing = {name: np.zeros(0, np.int64) for name in (keys.name, clock, options.label) if name}
        table = AsOfTable.sums(nothing if events is None else events, keys.size, key=keys.name, time=clock, measures=measures)
        inputs = (*keys.inputs, *([clock] if clock else []))
        read = (keys.name, *([clock] if clock else []))
        steps = (
            *keys.steps,
            Step("as_of", read, ".events", {"table": "groups", "column": 0}),
            Step("pool", (".events", keys.name), ".pooled"),
            Step("fill", (".pooled",), ".known", {"value": 0.0}),
            Step("log1p", (".known",), ".log"),
            Step("affine", (".log",), ".count", {"shift": COUNT_CENTRE, "scale": COUNT_UNIT}),
        )
        outputs = self._outputs(keys)
        if options.label:
            total = Step("as_of", read, ".totals", {"table": "groups", "column": 1})
            steps += (total, Step("ratio", (".totals", ".events"), ".means", {"strength": options.strength}))
        for name in (name for name in outputs if name in POOLS):
            pool = Step("pool", (".means", keys.name), f".pooled {name}", {"mode": POOLS[name]})
            steps += (pool, Step("fill", (pool.output,), f".{name}", {"value": 0.0}))
        return Program(inputs, steps, tuple(f".{name}" for name in outputs), keys.arrays, {"groups": table})

    def _outputs(self, keys: Keys) -> tuple[str, ...]:
        if not self.config.label:
            return ("count",)
        return ("mean", "best", "worst", "count") if keys.several else ("mean", "count")


def _usable(profile: DataProfile) -> list[Column]:
    columns = [column for source in ("events", "users", "items") for column in profile.schema.features(source)]
    return [column for column in columns if column.kind in ("categorical", "multi", "id", *_NUMBERS)]


def _singles(profile: DataProfile) -> list[tuple[tuple[str, ...], int]]:
    """Return the columns; without a clock of all users a small one's row tells what its mean label does, without noise, if rows abound."""
    columns = [column for column in _usable(profile) if column.kind not in _NUMBERS]
    every = profile.clock == "time" or profile.rows < _ENOUGH
    told = [column for column in columns if every or column.kind == "multi" or column.distinct > _SMALL]
    return [((_name(column),), _width(column)) for column in told]


def pairings(profile: DataProfile) -> Iterator[tuple[tuple[str, ...], int]]:
    """Yield the pairs of user or item and columns of the other side or of the event that make sense, and how many values a row has."""
    usable = _usable(profile)
    for entity, other in (("user", "items"), ("item", "users")):
        if profile.schema.role(entity) is None:  # type: ignore[arg-type]
            continue
        for column in usable:
            if column.source in (other, "events") and (column.kind in _NUMBERS or column.distinct <= _MOST):
                yield (f"@{entity}", _name(column)), _width(column)
                if column.kind == "multi":
                    yield (f"@{entity}", f"{_name(column)}{WHOLE}"), 1
        sizes = {_name(column): _size(column) for column in usable if column.source == other and column.kind not in ("multi", "text")}
        for one, two in combinations(sizes, 2):
            if sizes[one] * sizes[two] <= _SEGMENTS:
                yield (f"@{entity}", one, two), 1


def _name(column: Column) -> str:
    name = input_name(column.name, column.source)
    return f"{name}{YEAR}" if column.kind == "text" else name


def _size(column: Column) -> int:
    return BINS if column.kind in _NUMBERS else column.distinct


def _width(column: Column) -> int:
    return 3 if column.kind == "multi" else 1


def _clock_of(keys: tuple[str, ...], clock: str) -> str:
    return "@clock" if clock == "time" or (clock == "position" and "@user" in keys) else ""


def min_count(keys: tuple[str, ...], events: Table, tables: Mapping[str, Table]) -> int:
    """Return the events below which a category has no row: more than one where a key column has very many."""
    sizes = [0]
    for name in keys:
        source, _, column = name.partition(".")
        found = events.get(name, tables.get(source, Table({}, 0)).get(column))
        values = found.values if isinstance(found, Ragged) else found
        sizes.append(len(values.values) if isinstance(values, Coded) else 0)
    return _RARE if max(sizes) > _MOST else 1
