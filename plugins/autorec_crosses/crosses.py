"""`Crosses`: combinations of columns that tell more of the label together than apart, each as rows of a vocabulary."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import comb
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from autorec_crosses.columns import Coding, Rules, candidate_names, coded_column
from autorec_crosses.contingency import Term
from autorec_crosses.made import Fitted, Sizes, fitted, name_of
from autorec_crosses.search import Found, Limits, count_budget, find_crosses, seconds_of
from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.features import DataProfile, FeatureProposal, RejectColumn
from autorec_kernel.records.features import Depends
from autorec_kernel.records.table import Table
from autorec_kernel.space import Int

__all__ = ["Crosses"]

_FEWEST = 300  # labelled rows below which nothing can be confirmed
_SECONDS_A_VALUE = 2e-7  # one pass over a column: coding, looking up, materialising
_QUICKER = 6  # times that it takes less than these counts say, which the search keeps to: what it finds depends on no stopwatch
_SPARE = 1.5  # time for confirming the few, in units of the time of counting


class Crosses:
    """Counts the labels in the cells of all pairs, then of all triples, and so on, and keeps what main effects cannot explain.

    No column is left out for telling nothing alone: each combination is judged as a whole, by the residuals of an additive model of
    all columns (an exclusive or has no main effects). Where not all combinations of an order fit into `seconds`, those of the columns
    with the fewest codes are counted, and extensions of the best of the order before. What stands out after a correction for the
    number of combinations must then raise the likelihood of held-out rows (of held-out users, where there are users), beyond any of its
    parts and beside the crosses taken before.
    Labels decide which columns are crossed and nothing else: a value is a function of the row's own columns.
    """

    class Config(ComponentConfig):
        """Options of `Crosses`; `chosen`, `edges` and `told` are what a search writes down."""

        columns: tuple[str, ...] = Field((), description="Columns to cross: `device`, `users.age`, `items.brand`, `timestamp.hour`.")
        label: str = Field("label", description="Label column that the search reads.")
        task: Literal["click", "rate", "recommend"] = Field("click", description="What is predicted; click = whether the label is above 0.")
        user: str = Field("", description="Name of the user column.")
        item: str = Field("", description="Name of the item column.")
        max_order: Annotated[int, Int(2, 4)] = Field(3, ge=2, le=6, description="Columns of a cross, at most.")
        limit: Annotated[int, Int(1, 64, log=True)] = Field(16, ge=1, le=256, description="Crosses kept, at most.")
        min_count: int = Field(5, ge=1, description="Training rows below which a combination, or a category, reads as unknown.")
        bins: int = Field(10, ge=2, le=64, description="Quantile bins of a number with many values.")
        levels: int = Field(64, ge=2, description="Different numbers up to which each is a category.")
        max_size: int = Field(100_000, ge=1, description="Combinations up to which each has a row of its own.")
        buckets: int = Field(50_000, ge=1, description="Rows that more combinations than `max_size` are hashed into.")
        seconds: float = Field(20.0, gt=0, description="Time for counting the combinations of one order, by estimate.")
        sample: int = Field(100_000, ge=1000, description="Training rows that the search counts; the vocabulary is made of all rows.")
        beam: int = Field(64, ge=1, description="Combinations of an order that are confirmed, and extended where not all can be counted.")
        alpha: float = Field(0.05, gt=0, lt=1, description="Chance of a false cross among all of one order.")
        chosen: tuple[tuple[str, ...], ...] | None = Field(None, description="Crosses to make; None = search.")
        edges: tuple[tuple[str, tuple[float, ...]], ...] | None = Field(None, description="Edges of the bins of each number; None = learn.")
        told: tuple[str, ...] = Field((), description="Size, bytes and gain of each cross: the gain in nats a held-out row.")

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    def propose(cls, profile: DataProfile) -> Iterable[FeatureProposal]:
        """Propose one search over all columns, where there is a label to learn from and more than one column."""
        label, names = profile.schema.role("label"), tuple(candidate_names(profile))
        if label is None or len(names) < 2 or not profile.facts.get("label_std", 0.0) > 0:
            return
        user, item = (column.name if column else "" for column in (profile.schema.role("user"), profile.schema.role("item")))
        config = cls.Config(columns=names, label=label.name, task=profile.task, user=user, item=item)
        counts, rows = _counts(config, len(names), profile.rows), profile.rows
        found = seconds_of(min(rows, config.sample), sum(counts.values())) * _SPARE
        made = rows * (len(names) + 2 * config.limit) * _SECONDS_A_VALUE
        told = ", ".join(f"{count:,} of order {order}" for order, count in counts.items())
        size = config.limit * (4 * rows + 8 * min(rows // config.min_count, 2 * config.max_size))
        yield FeatureProposal(config, (0.01 + found + made) / _QUICKER, f"{len(names)} columns can be crossed: {told}", size)

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        """Search, unless the config says what was chosen, and learn the vocabularies; no cross at all is rejected with its reason."""
        options = self.config
        names = options.columns if options.chosen is None else tuple(sorted({name for parts in options.chosen for name in parts}))
        codings = {name: coding for name in names if (coding := coded_column(name, events, tables, self._rules())) is not None}
        sizes = Sizes(options.min_count, options.max_size, options.buckets)
        if options.chosen is not None:
            made = fitted([parts for parts in options.chosen if set(parts) <= set(codings)], codings, sizes, options)
            if not made.outputs:
                raise RejectColumn(f"no combination of {options.chosen} occurs {options.min_count} times")
            return made
        found = self._found(list(codings.values()), events, rng)
        made = fitted([names for names, _ in found], codings, sizes, options)
        if not made.outputs:
            raise RejectColumn(f"no combination of {len(codings)} columns tells more of {options.label!r} than its parts do")
        return made.noted({name_of(names): gain for names, gain in found})

    def _rules(self) -> Rules:
        options = self.config
        entities: dict[str, Depends] = {options.user: "user", options.item: "item"}
        edges = None if options.edges is None else dict(options.edges)
        return Rules(options.bins, options.levels, options.min_count, entities, edges)

    def _found(self, codings: Sequence[Coding], events: Table, rng: np.random.Generator) -> list[tuple[tuple[str, ...], float]]:
        """Return (names, gain) of the crosses that a sample of the labelled rows confirms."""
        options = self.config
        rows, label = self._labelled(events, rng)
        terms = [Term.of(coding.codes[rows], coding.size) for coding in codings]
        limits = Limits(options.max_order, options.limit, options.min_count, options.seconds, options.beam, options.alpha)
        binary = bool(np.isin(label, (0.0, 1.0)).all())
        users = np.asarray(events.get("@user", np.zeros(0, np.int64)))
        owners = users[rows] if len(users) and users.max() > 0 else None
        found: list[Found] = find_crosses(terms, list(_entities(events, rows)), label, binary, limits, rng, owners)
        return [(tuple(sorted(codings[part].name for part in one.parts)), one.gain) for one in found]

    def _labelled(self, events: Table, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        options, column = self.config, events.get(self.config.label)
        if not isinstance(column, np.ndarray) or column.ndim != 1:
            raise RejectColumn(f"label {options.label!r} is not numeric")
        label = np.asarray(column, dtype=np.float64)
        rows = np.flatnonzero(np.isfinite(label))
        if len(rows) > options.sample:
            rows = np.sort(rng.choice(rows, options.sample, replace=False))
        label = (label[rows] > 0).astype(np.float64) if options.task == "click" else label[rows]
        if len(rows) < _FEWEST or np.ptp(label) == 0:
            raise RejectColumn(f"{len(rows)} rows with {len(np.unique(label))} different values of {options.label!r} confirm no cross")
        return rows, label


def _counts(config: Crosses.Config, columns: int, rows: int) -> dict[int, int]:
    budget = count_budget(min(rows, config.sample), config.seconds)
    return {order: min(comb(columns, order), budget) for order in range(2, min(config.max_order, columns) + 1)}


def _entities(events: Table, rows: np.ndarray) -> Iterator[Term]:
    """Yield the users and the items of the rows: what a cross of their columns says beyond their columns must not be who they are."""
    for name in ("@user", "@item"):
        column = events.get(name)
        if isinstance(column, np.ndarray) and len(column) and column.max() > 0:
            _, codes = np.unique(column[rows], return_inverse=True)
            yield Term.of(codes + 1, int(codes.max()) + 2)
