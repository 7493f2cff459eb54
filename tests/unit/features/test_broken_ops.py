"""A feature op that misbehaves costs its own row of the plan and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pytest

from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.features import FeatureProposal
from autorec_kernel.features import build_features
from autorec_kernel.kernel import Kernel
from autorec_kernel.records.table import Coded, Ragged, Table, read_only
from autorec_kernel.testing.data import tiny_dataset


class Vandal:
    """Writes zeros over the positives it is shown."""

    class Config(ComponentConfig):
        """No options."""

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    def propose(cls, profile: Any) -> Iterable[FeatureProposal]:
        return (FeatureProposal(cls.Config(), 0.0, "to do harm"),)

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Any:
        column = events["@positive"]
        assert isinstance(column, np.ndarray)
        column[:] = 0
        raise AssertionError("unreachable: the write is refused")


class Quitter(Vandal):
    """Ends the process from inside `fit`."""

    def fit(self, events: Table, tables: Mapping[str, Table], rng: np.random.Generator) -> Any:
        raise SystemExit(9)


@pytest.mark.parametrize("op", [Vandal, Quitter])
def test_a_harmful_op_is_left_out_and_the_others_see_untouched_events(op: type) -> None:
    ops = {row.id: kernel.load("feature-op", row.id) for kernel in [Kernel.discover()] for row in kernel.components("feature-op")}
    alone = build_features(tiny_dataset(), ops)
    beside = build_features(tiny_dataset(), {"aaa/bad": op, **ops})
    (row,) = [row for row in beside.plan if row["op"] == "aaa/bad"]
    assert not row["taken"] and row["reason"].startswith("failed")
    assert np.array_equal(alone.interactions.items, beside.interactions.items)
    assert alone.schema == beside.schema


def test_read_only_columns_refuse_writes_and_leave_the_originals_writable() -> None:
    coded = Coded(np.zeros(2, np.int32), np.array(["a"], dtype=object))
    table = Table({"n": np.zeros(2), "c": coded, "r": Ragged(coded, np.array([0, 1, 2]))}, 2)
    locked = read_only(table)
    for array in (locked["n"], locked["c"].codes, locked["c"].values, locked["r"].offsets, locked["r"].values.codes):  # type: ignore[union-attr]
        with pytest.raises(ValueError, match="read-only"):
            array[:] = 0  # type: ignore[index]
    table["n"][:] = 1  # type: ignore[index]
