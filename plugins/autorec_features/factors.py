"""`Factors`: how near a user and an item are in the leading factors of what was chosen before, at a few moments of the training span."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated

import numpy as np
from pydantic import Field
from scipy.sparse import csr_matrix

from autorec_features.base import Fitted, seconds
from autorec_features.counts import keys_of
from autorec_features.labels import has
from autorec_features.spectrum import leading
from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.features import DataProfile, FeatureProposal, RejectColumn
from autorec_kernel.records.features import Feature
from autorec_kernel.records.program import Program, Step
from autorec_kernel.records.table import Table
from autorec_kernel.space import Choice

__all__ = ["Factors"]

_FAR = 10.0
_FEWEST = 50  # positive events that a moment must have before it
_MOMENTS = (0.3, 0.5, 0.7, 0.85, 1.0)  # shares of the training events


class Factors:
    """Truncated singular value decomposition of the user-item matrix, each entry over the roots of its row's and column's sums.

    The score of a pair is the entry of the low-rank matrix (Paterek 2007; the scaling is that of a normalised graph). It is computed from
    the events strictly before each of a few moments; a row reads the last moment at or before its own, and zeros before the first one, so
    that nothing it reads knows its own event. Needs a global clock.
    """

    class Config(ComponentConfig):
        """Options of `Factors`; `moments` are what `fit` writes down."""

        rank: Annotated[int, Choice(8, 16, 32)] = Field(16, ge=1, le=256, description="Factors kept.")
        moments: tuple[int, ...] = Field(
            (), description="Clocks at which the factors are computed; by shares of the events where no row would read any of these."
        )

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    def propose(cls, profile: DataProfile) -> Iterable[FeatureProposal]:
        if profile.clock != "time" or not has(profile, "user", "item"):
            return
        rank, size = 16, (profile.users + profile.items) * 16 * len(_MOMENTS)
        cost = seconds(profile.rows * rank * len(_MOMENTS), 2) + 0.05 / 6
        yield FeatureProposal(cls.Config(rank=rank), cost, f"{rank} factors of who chose what, at {len(_MOMENTS)} moments", 8 * size)

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        """Compute the factors of every moment; data on which no moment has enough positive events is rejected."""
        clock = np.asarray(events["@clock"]).astype(np.float64)  # as the program compares it
        kept = (np.asarray(events["@positive"]) != 0) & (np.asarray(events["@user"]) > 0) & (np.asarray(events["@item"]) > 0)
        moments = self.config.moments
        if not any(float(moment) <= clock.max() for moment, _ in _known(moments, clock, kept)):
            moments = _moments(np.asarray(events["@clock"]))  # of other events than those of the plan, such as the sample of the audit
        users, items = keys_of(events, "user"), keys_of(events, "item")
        known = _known(moments, clock, kept)
        if not known:
            raise RejectColumn(f"no moment has {_FEWEST} positive events before it")
        pairs = np.asarray(events["@user"]), np.asarray(events["@item"])
        tables_of = [_scaled(*_factors(pairs[0][rows], pairs[1][rows], users, items, self.config.rank)) for _, rows in known]
        program = _program([moment for moment, _ in known], tables_of)
        feature = Feature("user+item.factors", "numeric", "pair", dynamic=True, family="factors")
        return Fitted((feature,), program, config=self.config.model_copy(update={"moments": tuple(moments)}))


def _known(moments: Iterable[int], clock: np.ndarray, kept: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Return the moments with enough events of `kept` (bool [n]) before them, and the rows of these."""
    found = ((moment, np.flatnonzero(kept & (clock < float(moment)))) for moment in moments)
    return [(moment, rows) for moment, rows in found if len(rows) >= _FEWEST]


def _moments(clock: np.ndarray) -> tuple[int, ...]:
    """Return the clocks at shares of the events; the last one is behind the newest event."""
    order = np.sort(clock)
    found = [int(order[min(int(share * len(order)), len(order) - 1)]) + 1000 * (share == 1.0) for share in _MOMENTS] if len(order) else []
    return tuple(sorted(set(found)))


def _factors(users: np.ndarray, items: np.ndarray, user_count: int, item_count: int, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Return float64 [user_count, r] and [item_count, r], whose products are the entries of the low-rank matrix."""
    matrix = csr_matrix((np.ones(len(users)), (users, items)), shape=(user_count, item_count))
    matrix.data = np.ones_like(matrix.data)  # a pair counts once
    roots = [np.sqrt(np.maximum(np.asarray(matrix.sum(axis=axis)).reshape(-1), 1.0)) for axis in (1, 0)]
    entries = matrix.tocoo()
    scaled = csr_matrix((entries.data / roots[0][entries.row] / roots[1][entries.col], (entries.row, entries.col)), shape=matrix.shape)
    left, values, right = leading(scaled, min(rank, *matrix.shape))
    return left * values, right


def _scaled(users: np.ndarray, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the factors with users scaled so that the scores of all pairs have the mean square 1."""
    square = float(np.trace((users.T @ users) @ (items.T @ items))) / (len(users) * len(items))
    return users / np.sqrt(max(square, 1e-30)), items


def _program(moments: list[int], factors: list[tuple[np.ndarray, np.ndarray]]) -> Program:
    """Return the program: the row's moment and user, and moment and item, as rows of the stacked tables."""
    users, items = len(factors[0][0]), len(factors[0][1])
    steps = [Step("bucketize", ("@clock",), ".moment", {"edges": "moments", "at_end": len(moments) + 1})]
    for entity, size in (("user", users), ("item", items)):
        steps += [
            Step("cross", (".moment", f"@{entity}"), f".{entity} place", {"size": size}),
            Step("gather", (f".{entity} place",), f".{entity} factors", {"table": f"{entity} factors"}),
        ]
    steps += [
        Step("dot", (".user factors", ".item factors"), ".score"),
        Step("clip", (".score",), "out", {"low": -_FAR, "high": _FAR}),
    ]
    arrays = {"moments": np.array(moments, dtype=np.float64)}
    for entity, side in (("user", 0), ("item", 1)):
        arrays[f"{entity} factors"] = _stacked([pair[side] for pair in factors])
    return Program(("@user", "@item", "@clock"), tuple(steps), ("out",), arrays)


def _stacked(tables: list[np.ndarray]) -> np.ndarray:
    """Return float32 rows in the order of `cross`: row 0 and all rows before the first moment are zeros."""
    width, size = max(table.shape[1] for table in tables), len(tables[0]) - 1
    found = np.zeros((1 + size * (len(tables) + 1), width), np.float32)
    for number, table in enumerate(tables, 1):
        found[1 + size * number : 1 + size * (number + 1), : table.shape[1]] = table[1:]
    return found
