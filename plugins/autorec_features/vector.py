"""`Vector`: numeric vectors, such as content embeddings, standardised per dimension."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np
from pydantic import Field

from autorec_features.base import Fitted, column_of, depends_of, entity_rows, feature_columns, input_name, seconds
from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.features import DataProfile, FeatureProposal, RejectColumn
from autorec_kernel.records.features import Feature
from autorec_kernel.records.program import Program, Step
from autorec_kernel.records.table import Table

__all__ = ["Vector"]

_FAR = 10.0
_HUGE = 1e15


class Vector:
    """Learns mean and deviation of every dimension; gaps become 0, dimensions that never change stay 0."""

    class Config(ComponentConfig):
        """Options of `Vector`."""

        column: str = Field("embedding", description="Column to scale.")
        source: Literal["events", "users", "items"] = Field("items", description="Table that holds it.")

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    def propose(cls, profile: DataProfile) -> Iterable[FeatureProposal]:
        for column in feature_columns(profile, "vector"):
            config = cls.Config(column=column.name, source=column.source)
            yield FeatureProposal(config, seconds(entity_rows(profile, column.source), 128), f"{column.name} holds vectors")

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
        """Learn the scales; a column that is no matrix, or in which nothing varies, is rejected."""
        options = self.config
        name = input_name(options.column, options.source)
        column = column_of(options.column, options.source, events, tables)
        if not isinstance(column, np.ndarray) or column.ndim != 2:
            raise RejectColumn(f"{name!r} holds no vectors of one length")
        rows = column[np.isfinite(column).all(axis=1)].astype(np.float64).clip(-_HUGE, _HUGE)
        deviation = rows.std(axis=0) if len(rows) else np.zeros(column.shape[1])
        if not (deviation > 0).any():
            raise RejectColumn(f"{name!r} is the same vector everywhere")
        scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 1e-12)
        steps = (
            Step("clip", (name,), ".bounded", {"low": -_HUGE, "high": _HUGE}),
            Step("fill", (".bounded",), ".filled", {"value": "mean"}),
            Step("affine", (".filled",), ".scaled", {"shift": "mean", "scale": "scale"}),
            Step("clip", (".scaled",), ".out", {"low": -_FAR, "high": _FAR}),
        )
        feature = Feature(name, "numeric", depends_of(options.source), width=column.shape[1], family="scale")
        return Fitted((feature,), Program((name,), steps, (".out",), {"mean": rows.mean(axis=0), "scale": scale}))
