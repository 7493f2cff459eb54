"""`Bins`: a number as a category, by quantiles or by powers of two: what linear models cannot bend themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from autorec_features.base import Fitted, column_of, depends_of, entity_rows, feature_columns, input_name, seconds
from autorec_features.scale import numbers_of
from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.features import DataProfile, FeatureProposal, RejectColumn
from autorec_kernel.records.features import Feature
from autorec_kernel.records.program import Program, Step
from autorec_kernel.records.table import Table
from autorec_kernel.space import Int

__all__ = ["Bins"]

_FEWEST = 20  # rows of training a bin, on average
_MOST = 30  # columns: each makes a field of every model that reads pairs of fields
_POWERS = 60  # of two, on either side of nought


class Bins:
    """Cuts a number into bins, each an id of its own; row 0 = missing.

    `quantile`: at the values that cut the training rows into parts of equal size; equal values stay together, so that a number with few
    values keeps them. `log`: at 0 and at powers of two, and their negatives; small counts and orders of magnitude. `auto`: by quantiles,
    but by powers of two where so many values are equal that not half of the bins are left, and powers of two tell more apart.
    """

    class Config(ComponentConfig):
        """Options of `Bins`; `scale` is written down as it was chosen."""

        column: str = Field("price", description="Column to cut.")
        source: Literal["events", "users", "items"] = Field("events", description="Table that holds it.")
        bins: Annotated[int, Int(4, 50, log=True)] = Field(10, ge=2, le=1000, description="Quantile bins, at most.")
        scale: Literal["auto", "quantile", "log"] = Field("auto", description="Where the edges lie.")

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    def propose(cls, profile: DataProfile) -> Iterable[FeatureProposal]:
        if profile.schema.role("label") is None:
            return  # what predicts no label reads no bins
        columns = list(feature_columns(profile, "numeric"))
        for column in columns if len(columns) <= _MOST else ():
            rows = entity_rows(profile, column.source)
            bins = min(10, rows // _FEWEST)
            if bins >= 3 and column.distinct != 2:
                config = cls.Config(column=column.name, source=column.source, bins=bins)
                reason = f"a linear model or a factorisation machine can bend {column.name} along its bins"
                yield FeatureProposal(config, seconds(rows, 6), reason, 4 * rows)

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        """Learn the edges; a column with fewer than three different finite values is rejected: scaled, it tells all there is."""
        options = self.config
        name = input_name(options.column, options.source)
        value = numbers_of(column_of(options.column, options.source, events, tables), name)
        known = value[np.isfinite(value)]
        if len(np.unique(known)) < 3:
            raise RejectColumn(f"{name!r} has fewer than three different finite values")
        scale, edges = _edges(known, options.bins, options.scale)
        if len(edges) < 2:
            raise RejectColumn(f"{name!r} falls into {len(edges) + 1} bins: nearly all of its values are equal")
        program = Program((name,), (Step("bucketize", (name,), ".bin", {"edges": "edges"}),), (".bin",), {"edges": edges})
        told = f"{name}.bin"
        feature = Feature(told, "id", depends_of(options.source), vocabulary=told, size=len(edges) + 2, family="bins")
        return Fitted((feature,), program, config=options.model_copy(update={"scale": scale}))


def _edges(known: np.ndarray, bins: int, scale: str) -> tuple[str, np.ndarray]:
    """Return the scale that was chosen, and the values at or above which another bin begins."""
    quantiles, powers = _quantiles(known, bins), _powers(known)
    if scale == "auto":
        scale = "log" if len(quantiles) + 1 < bins / 2 and len(powers) > len(quantiles) else "quantile"
    return scale, powers if scale == "log" else quantiles


def _quantiles(known: np.ndarray, bins: int) -> np.ndarray:
    """Return the values, at most bins - 1, that cut the column into parts of equal size."""
    cuts = np.unique(np.quantile(known, np.arange(1, bins) / bins, method="higher"))
    above: np.ndarray = cuts[cuts > known.min()]
    return above


def _powers(known: np.ndarray) -> np.ndarray:
    """Return 0, powers of two and their negatives, as far as the values reach."""
    powers = 2.0 ** np.arange(_POWERS)
    edges = np.concatenate([-powers[::-1], [0.0], powers])
    inside: np.ndarray = edges[(edges > known.min()) & (edges <= known.max())]
    return inside
