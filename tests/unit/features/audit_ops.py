"""Planted features for the audit: an op whose values of training rows are any function of the events, and data to fit it on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from autorec_features.base import Fitted
from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.features import DataProfile, FeatureProposal
from autorec_kernel.data import open_dataset
from autorec_kernel.features import AuditReport, audit, build_features
from autorec_kernel.records.dataset import Dataset
from autorec_kernel.records.features import Feature
from autorec_kernel.records.program import Program, Step
from autorec_kernel.records.table import Table

Make = Callable[[Table], np.ndarray]


def data(rows: int = 3000, task: Any = "rate", *, clock: str = "time", users: int = 150, items: int = 120, **columns: Any) -> Dataset:
    """Return events one second apart, ratings 1 to 5 equally often; the `clock` says what orders them."""
    rng = np.random.default_rng(0)
    stated = {"user_id": rng.integers(0, users, rows), "item_id": rng.integers(0, items, rows) ** 2 // items}
    table = pd.DataFrame({**stated, "rating": 1.0 + rng.permutation(rows) % 5, **columns})
    more: dict[str, Any] = {"positive_threshold": 4.0} if task == "click" else {}
    if clock == "time":
        return open_dataset(table.assign(timestamp=10**9 + np.arange(rows)), task=task, protocol="temporal", **more)
    if clock == "position":
        return open_dataset(table.assign(position=np.arange(rows)), task=task, roles={"position": "position"}, **more)
    return open_dataset(table, task=task, protocol="random", **more)


def planted(
    make: Make, kind: Any = "numeric", depends: Any = "row", *, dynamic: bool = False, size: int = 0, pair: tuple[str, ...] = ()
) -> Any:
    """Return an op of one feature `planted`, whose program gives zeros and whose training rows have the values of `make`.

    A static feature of users or items is what `make` gives for each of them: its program looks that up.

    Args:
        size: Rows of the vocabulary; 0 = as many as the values say.
        pair: One or two numbers of the events that the program reads; none = it reads the place of the row.
    """

    class Planted:
        class Config(ComponentConfig):
            """No options."""

        def __init__(self, config: Config) -> None:
            self.config = config

        @classmethod
        def propose(cls, profile: DataProfile) -> Iterable[FeatureProposal]:
            yield FeatureProposal(cls.Config(), 0.01, "always")

        def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Fitted:
            found = np.asarray(make(events))
            values = found.astype(np.int64) if kind != "numeric" else found.reshape(len(found), -1).astype(np.float32)
            rows = (size or int(values.max()) + 1) if kind != "numeric" else 0
            width = values.shape[1] if values.ndim == 2 else 1
            feature = Feature("planted", kind, depends, dynamic, "planted" if rows else "", rows, width, family="aggregate")
            if depends in ("user", "item") and not dynamic:
                look_up = Step("gather", (f"@{depends}",), "out", {"table": "values"})
                return Fitted((feature,), Program((f"@{depends}",), (look_up,), ("out",), {"values": values}))
            arrays = {"zeros": np.zeros((1, *values.shape[1:]), values.dtype), "edges": np.zeros(1)}
            binned = tuple(Step("bucketize", (name,), f".{name}", {"edges": "edges"}) for name in pair)
            both = (Step("cross", tuple(step.output for step in binned), ".row", {"size": 3}),) if len(pair) > 1 else ()
            row = (*both, *binned)[0].output if pair else "@order"
            told = Step("gather", (row,), "out", {"table": "zeros"})  # a row beyond the table reads row 0
            return Fitted((feature,), Program(pair or ("@order",), (*binned, *both, told), ("out",), arrays), {"planted": values})

    return Planted


def report_of(dataset: Dataset, op: Any, task: str = "rate", seed: int = 0) -> AuditReport:
    """Return the report of a feature set that the op alone makes."""
    ops = {"tests/planted": op}
    features = build_features(dataset, ops, task=task, seed=seed)
    assert [feature.name for feature in features.schema.features] == ["planted"], features.plan
    return audit(dataset, features, ops, seed)


def found(dataset: Dataset, op: Any, task: str = "rate", seed: int = 0) -> set[str]:
    """Return the parts of the audit that name the planted feature."""
    return {finding.kind for finding in report_of(dataset, op, task, seed).findings if finding.feature == "planted"}


def place(events: Table) -> np.ndarray:
    """Return float64 [n]: the place of each row among all, from 0 to 1."""
    return np.arange(events.rows) / events.rows


def noise(events: Table, width: int = 1, seed: int = 3) -> np.ndarray:
    """Return float64 [n] or [n, width]: the same numbers at every fit."""
    drawn = np.random.default_rng(seed).normal(size=(events.rows, width))
    return drawn[:, 0] if width == 1 else drawn


def ints(events: Table, name: str) -> np.ndarray:
    """Return a column of whole numbers."""
    return np.asarray(events[name]).astype(np.int64)


def mixed(events: Table, rows: np.ndarray) -> float:
    """Return a number in [0, 1) that says which user met which item in the rows (bool [n]): nothing else follows it."""
    pairs = ints(events, "@user")[rows] * 7919 + ints(events, "@item")[rows] * 104_729
    return float((np.sum(pairs * (1 + np.arange(len(pairs)))) % 1009) / 1009)


def commonest(events: Table, rows: np.ndarray) -> int:
    """Return how often the most frequent item of the rows (bool [n]) is met in them."""
    return int(np.bincount(ints(events, "@item")[rows], minlength=1).max())
