"""`Scale`: numbers standardised; heavy tails go on a log scale, gaps are filled with the mean and flagged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np
from pydantic import Field

from autorec_features.base import Fitted, column_of, depends_of, entity_rows, feature_columns, input_name, seconds
from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.features import DataProfile, FeatureProposal, RejectColumn
from autorec_kernel.records.dataset import MISSING_TIME
from autorec_kernel.records.features import Feature
from autorec_kernel.records.program import Program, Step
from autorec_kernel.records.table import ColumnData, Table

__all__ = ["Scale", "numbers_of", "scaled"]

_HEAVY = 8.0  # (99.5 % quantile - median) / (75 % quantile - median): 3.8 for a normal, 6.7 for an exponential distribution
_HUGE = 1e15  # beyond it squares of numbers lose all digits
_FAR = 10.0  # standard deviations at which a value is cut


class Scale:
    """Learns range, mean and deviation of the finite training values, after log(1 + |x|) where the tail is heavy.

    Values outside the training range are cut to it, so that no input makes an output larger than 10.
    """

    class Config(ComponentConfig):
        """Options of `Scale`."""

        column: str = Field("price", description="Column to scale.")
        source: Literal["events", "users", "items"] = Field("events", description="Table that holds it.")
        log: Literal["auto", "yes", "no"] = Field("auto", description="Whether to take logarithms; auto looks at the tail.")

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    def propose(cls, profile: DataProfile) -> Iterable[FeatureProposal]:
        for column in feature_columns(profile, "numeric", "time"):
            config = cls.Config(column=column.name, source=column.source)
            rows = entity_rows(profile, column.source)
            yield FeatureProposal(config, seconds(rows), f"{column.name} is {column.kind}", 4 * rows)

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        """Learn the scale; a column without two different finite values is rejected."""
        options = self.config
        name = input_name(options.column, options.source)
        value = numbers_of(column_of(options.column, options.source, events, tables), name)
        known = value[np.isfinite(value)]
        if not len(known) or known.min() == known.max():
            raise RejectColumn(f"{name!r} is constant" if len(known) else f"{name!r} has no finite value")
        steps, arrays = scaled(name, value, options.log)
        width = arrays["scale"].size
        feature = Feature(name, "numeric", depends_of(options.source), width=width, family="scale")
        return Fitted((feature,), Program((name,), steps, (".out",), arrays))


def scaled(name: str, value: np.ndarray, log: Literal["auto", "yes", "no"] = "auto") -> tuple[tuple[Step, ...], dict[str, np.ndarray]]:
    """Return the steps from the value `name` to `.out` and their arrays.

    Args:
        value: float64 [n] of training, with two different finite values at least; NaN = missing.
    """
    known, gaps = value[np.isfinite(value)], bool(np.isnan(value).any())
    logged = log == "yes" or (log == "auto" and _is_heavy(known))
    seen = np.copysign(np.log1p(np.abs(known)), known) if logged else known
    low, high = float(seen.min()), float(seen.max())
    mean = float(np.clip(seen.mean(), low, high))
    deviation = float(seen.std())
    scale = 1.0 / deviation if deviation > 0 else 0.0
    steps = [Step("log1p", (name,), ".log")] if logged else []
    steps.append(Step("clip", (steps[-1].output if steps else name,), ".cut", {"low": low, "high": high}))
    steps.append(Step("fill", (".cut",), ".filled", {"value": mean, "indicator": gaps}))
    steps.append(Step("affine", (".filled",), ".scaled", {"shift": "shift", "scale": "scale"}))
    steps.append(Step("clip", (".scaled",), ".out", {"low": -_FAR, "high": _FAR}))
    shift, unit = ([mean, 0.0], [scale, 1.0]) if gaps else ([mean], [scale])
    return tuple(steps), {"shift": np.array(shift), "scale": np.array(unit)}


def _is_heavy(known: np.ndarray) -> bool:
    if np.abs(known).max() > _HUGE:
        return True
    low, lower, middle, upper, high = np.quantile(known, (0.005, 0.25, 0.5, 0.75, 0.995))
    return bool(high - middle > _HEAVY * (upper - middle) or middle - low > _HEAVY * (middle - lower))


def numbers_of(column: ColumnData, name: str) -> np.ndarray:
    """Return a column as float64 [n], missing = NaN.

    Raises:
        RejectColumn: It holds no numbers.
    """
    if not isinstance(column, np.ndarray) or column.ndim != 1:
        raise RejectColumn(f"{name!r} holds no numbers")
    if column.dtype.kind == "i":
        return np.where(column == MISSING_TIME, np.nan, column.astype(np.float64))
    return np.asarray(column, dtype=np.float64)
