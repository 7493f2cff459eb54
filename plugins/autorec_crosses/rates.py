"""`Rates`: the mean label of pairs of columns, out of fold: what a pair says as one number, and of rare combinations too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from autorec_crosses.cells import Cells, Judge
from autorec_crosses.columns import Coding, Rules, candidate_names, coded_column
from autorec_crosses.contingency import t_value
from autorec_crosses.made import depends_on, quoted
from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.features import DataProfile, FeatureProposal, RejectColumn
from autorec_kernel.records.features import Feature
from autorec_kernel.records.program import Program, Step
from autorec_kernel.records.table import Table
from autorec_kernel.space import Float, Int

__all__ = ["Rates"]

_FEWEST = 100  # labelled rows below which nothing is told from chance
_PAIRS = 2000  # that are looked at: those of the columns that tell most alone, where there are more
_SECONDS_A_VALUE = 1.5e-8  # of one pair in the search
_FAR = 6.0
_SURE = 2.0  # standard errors by which a pair tells a held-out row more than the better of its columns
Pair = tuple[str, str]


class Rates:
    """The shrunk mean label in each cell of two columns (Micci-Barreca 2001), as log odds where labels are 0 and 1.

    Pairs are chosen by what their rates, learnt on other folds, say of a held-out row beyond the better of the two columns' own;
    a column is in `spread` pairs at most. Training rows read the folds that they, or their users, are not in. A missing value is a
    category. Where a clock orders the rows, `Groups` and `Leanings` give rates as of the row instead.
    """

    class Config(ComponentConfig):
        """Options of `Rates`; `chosen` and `edges` are what a search writes down."""

        columns: tuple[str, ...] = Field((), description="Columns to pair.")
        label: str = Field("label", description="Label column.")
        task: Literal["click", "rate", "recommend"] = Field("click", description="What is predicted; click = whether the label is above 0.")
        limit: Annotated[int, Int(8, 96, log=True)] = Field(48, ge=1, le=256, description="Pairs kept, at most.")
        spread: Annotated[int, Int(2, 16)] = Field(8, ge=1, le=256, description="Pairs that a column is in, at most.")
        strength: Annotated[float, Float(1.0, 100.0, log=True)] = Field(20.0, gt=0, le=1e6, description="Rows that the prior is worth.")
        min_count: int = Field(3, ge=1, description="Training rows below which a combination reads as the prior.")
        bins: int = Field(12, ge=2, le=64, description="Quantile bins of a number with many values.")
        levels: int = Field(64, ge=2, description="Different numbers up to which each is a category.")
        max_size: int = Field(100_000, ge=1, description="Combinations above which a pair is left out.")
        sample: int = Field(100_000, ge=1000, description="Training rows that the search counts; the rates are those of all rows.")
        chosen: tuple[Pair, ...] | None = Field(None, description="Pairs to make; None = search.")
        edges: tuple[tuple[str, tuple[float, ...]], ...] | None = Field(None, description="Edges of the bins of each number; None = learn.")

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    def propose(cls, profile: DataProfile) -> Iterable[FeatureProposal]:
        """Propose one search over all columns, where no clock orders the rows and there is a label to learn from."""
        label, names = profile.schema.role("label"), tuple(candidate_names(profile))
        if label is None or len(names) < 2 or profile.clock != "none" or not profile.facts.get("label_std", 0.0) > 0:
            return
        config = cls.Config(columns=names, label=label.name, task=profile.task)
        pairs = min(len(names) * (len(names) - 1) // 2, _PAIRS)
        cost = pairs * min(profile.rows, config.sample) * _SECONDS_A_VALUE + config.limit * profile.rows * 10 * _SECONDS_A_VALUE
        reason = f"mean {label.name} of pairs of {len(names)} columns, out of fold"
        yield FeatureProposal(config, 0.01 + cost, reason, config.limit * profile.rows * 12)

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        """Choose pairs, unless the config says which, and learn their rates; no pair that tells more than its columns is rejected."""
        options = self.config
        label, binary = self._label(events)
        names = options.columns if options.chosen is None else tuple(sorted({name for pair in options.chosen for name in pair}))
        edges = None if options.edges is None else dict(options.edges)
        rules = Rules(options.bins, options.levels, options.min_count, {}, edges)
        codings = {name: coding for name in names if (coding := coded_column(name, events, tables, rules)) is not None}
        users = np.asarray(events.get("@user", np.zeros(0, np.int64)))
        judge = Judge(label, binary, users if users.any() else np.asarray(events["@order"]), options.strength)
        pairs = options.chosen if options.chosen is not None else self._search(list(codings.values()), judge, rng)
        made = [(pair, _cells(codings[pair[0]], codings[pair[1]])) for pair in pairs if set(pair) <= set(codings)]
        if not made:
            raise RejectColumn(f"no pair of {len(codings)} columns tells more of {options.label!r} than its columns do")
        return self._fitted(made, codings, judge)

    def _label(self, events: Table) -> tuple[np.ndarray, bool]:
        column = events.get(self.config.label)
        if not isinstance(column, np.ndarray) or column.ndim != 1:
            raise RejectColumn(f"label {self.config.label!r} is not numeric")
        label = np.asarray(column, dtype=np.float64)
        known = label[np.isfinite(label)]
        if self.config.task == "click":
            label = np.where(np.isfinite(label), label > 0, np.nan)
            known = (known > 0).astype(np.float64)
        if len(known) < _FEWEST or np.ptp(known) == 0:
            raise RejectColumn(f"{len(known)} rows with {len(np.unique(known))} different values of {self.config.label!r} tell no rates")
        return label, bool(np.isin(known, (0.0, 1.0)).all())

    def _search(self, codings: Sequence[Coding], judge: Judge, rng: np.random.Generator) -> list[Pair]:
        """Return the pairs that tell a held-out row more than the better of their columns, the one that tells most more first."""
        options, rows = self.config, np.flatnonzero(np.isfinite(judge.label))
        if len(rows) > options.sample:
            rows = np.sort(rng.choice(rows, options.sample, replace=False))
        seen = judge.of(rows)
        alone = {coding.name: seen.gains(Cells.of(coding.codes[rows].astype(np.int64), coding.size)) for coding in codings}
        first = sorted(codings, key=lambda coding: (-alone[coding.name].mean(), coding.name))[: int((2 * _PAIRS) ** 0.5)]
        beyond: dict[Pair, float] = {}
        for one, two in combinations(sorted(first, key=lambda coding: coding.name), 2):
            cells = _cells(one, two, rows).frequent(options.min_count)
            if cells.known <= options.max_size:
                better = max(alone[one.name], alone[two.name], key=lambda gains: float(gains.mean()))
                more = seen.gains(cells) - better
                if t_value(more) > _SURE:
                    beyond[one.name, two.name] = float(more.mean())
        return list(self._spread(beyond))

    def _spread(self, beyond: Mapping[Pair, float]) -> Iterator[Pair]:
        used: dict[str, int] = {}
        kept = 0
        for pair in sorted(beyond, key=lambda one: (-beyond[one], one)):
            if kept == self.config.limit:
                return
            if all(used.get(name, 0) < self.config.spread for name in pair):
                used |= {name: used.get(name, 0) + 1 for name in pair}
                kept += 1
                yield pair

    def _fitted(self, made: Sequence[tuple[Pair, Cells]], codings: Mapping[str, Coding], judge: Judge) -> Fitted:
        steps: dict[str, Step] = {}
        arrays: dict[str, np.ndarray] = {}
        training, features = {}, []
        for pair, cells in made:
            name = f"rate({','.join(map(quoted, pair))})"
            frequent = cells.frequent(self.config.min_count)
            for step in (*_coded(codings[pair[0]]), *_coded(codings[pair[1]]), *_read(name, pair, codings)):
                steps[step.output] = step
            arrays |= {**codings[pair[0]].arrays, **codings[pair[1]].arrays}
            arrays |= {f"known {name}": frequent.values, f"rates {name}": np.clip(judge.rates(frequent), -_FAR, _FAR)}
            training[name] = np.clip(judge.held_out(frequent), -_FAR, _FAR).astype(np.float32)[:, None]
            features.append(Feature(name, "numeric", depends_on([codings[one] for one in pair]), family="cross"))
        used = sorted({name for pair, _ in made for name in pair})
        inputs = tuple(dict.fromkeys(codings[name].step.inputs[0] for name in used))
        edges = tuple((name, found) for name in used if (found := codings[name].edges) is not None)
        stated = self.config.model_copy(update={"chosen": tuple(pair for pair, _ in made), "edges": edges})
        program = Program(inputs, tuple(steps.values()), tuple(feature.name for feature in features), arrays)
        return Fitted(tuple(features), program, stated, training)


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """The fitted operation: its features, the program, the config with every decision, and the values of training rows."""

    outputs: tuple[Feature, ...]
    made: Program
    config: ComponentConfig
    training: Mapping[str, np.ndarray]

    def program(self) -> Program:
        return self.made

    def training_values(self, events: Table) -> Mapping[str, np.ndarray] | None:
        return self.training


def _cells(one: Coding, two: Coding, rows: np.ndarray | slice = slice(None)) -> Cells:
    """Return the cells of two columns; a missing value is a category of its own."""
    return Cells.of(one.codes[rows].astype(np.int64) * (two.size) + two.codes[rows] + 1, one.size * two.size + 1)


def _coded(coding: Coding) -> tuple[Step, Step]:
    """Return the steps to a column's codes from 1 on, 1 = missing or unknown."""
    return coding.step, Step("affine", (coding.step.output,), f".level {coding.name}", {"shift": -1.0, "scale": 1.0})


def _read(name: str, pair: Pair, codings: Mapping[str, Coding]) -> tuple[Step, ...]:
    levels = tuple(f".level {one}" for one in pair)
    return (
        Step("cross", levels, f".cell {name}", {"size": codings[pair[1]].size + 1}),
        Step("match", (f".cell {name}",), f".place {name}", {"values": f"known {name}"}),
        Step("gather", (f".place {name}",), name, {"table": f"rates {name}"}),
    )
