"""From chosen columns to features: the program that makes each cross, its vocabulary, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from autorec_crosses.columns import Coding
from autorec_kernel.config import ComponentConfig
from autorec_kernel.records.features import Depends, Feature
from autorec_kernel.records.program import Program, Step
from autorec_kernel.records.table import Table

__all__ = ["Fitted", "Sizes", "depends_on", "fitted", "name_of", "quoted"]

_LARGEST = 2.0**62  # ids of combinations beyond it do not fit into int64
_MIX = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: Fibonacci hashing (Knuth, The Art of Computer Programming 3, section 6.4)
_HIGH = np.uint64(32)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bounds of a cross's vocabulary: rows that a combination needs, combinations that have a row of their own, buckets for more."""

    min_count: int
    max_size: int
    buckets: int


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """The fitted operation.

    Args:
        outputs: Its features.
        made: The program, one output a feature.
        config: The config with every decision written down.
        bytes: What each feature's vocabulary takes, those of its columns included.
    """

    outputs: tuple[Feature, ...]
    made: Program
    config: ComponentConfig
    bytes: tuple[int, ...]

    def program(self) -> Program:
        return self.made

    def training_values(self, events: Table) -> Mapping[str, np.ndarray] | None:
        return None

    def noted(self, gains: Mapping[str, float]) -> Fitted:
        """Return the same with size, bytes and gain (by name) of each cross in its config."""
        told = tuple(
            f"{feature.name}: {feature.size:,} rows, {size:,} bytes, gain {gains[feature.name]:.3g}"
            for feature, size in zip(self.outputs, self.bytes, strict=True)
        )
        return replace(self, config=self.config.model_copy(update={"told": told}))


def name_of(parts: tuple[str, ...]) -> str:
    """Return the name of a cross: `cross(device,timestamp.hour)`."""
    return f"cross({','.join(map(quoted, parts))})"


def quoted(column: str) -> str:
    """Return a column's name as names of crosses hold it: in quotes where it has a comma, a quote or a bracket."""
    return repr(column) if set(column) & set(",'\"()") else column


def fitted(chosen: Sequence[tuple[str, ...]], codings: Mapping[str, Coding], sizes: Sizes, config: ComponentConfig) -> Fitted:
    """Make the crosses, those with no combination that is frequent enough left out.

    Args:
        chosen: Names of the columns of each cross.
        codings: Name → column, codes of the training rows included.
        config: Gets what was chosen, and the edges of its numbers.
    """
    steps: dict[str, Step] = {}
    arrays: dict[str, np.ndarray] = {}
    made = [(parts, one) for parts in chosen if (one := _cross([codings[name] for name in parts], sizes)) is not None]
    for parts, one in made:
        for name in parts:
            arrays |= codings[name].arrays
        arrays |= one.arrays
        steps |= {step.output: step for step in one.steps}
    used = sorted({name for parts, _ in made for name in parts})
    inputs = dict.fromkeys(codings[name].step.inputs[0] for name in used)
    program = Program(tuple(inputs), tuple(steps.values()), tuple(one.steps[-1].output for _, one in made), arrays)
    edges = tuple((name, found) for name in used if (found := codings[name].edges) is not None)
    stated = config.model_copy(update={"chosen": tuple(parts for parts, _ in made), "edges": edges})
    return Fitted(tuple(one.feature for _, one in made), program, stated, tuple(one.bytes for _, one in made))


@dataclass(frozen=True, slots=True, eq=False)
class _Cross:
    feature: Feature
    steps: tuple[Step, ...]
    arrays: Mapping[str, np.ndarray]
    bytes: int


def _cross(columns: Sequence[Coding], sizes: Sizes) -> _Cross | None:
    """Return one cross: product of the codes, then the place among the observed products; None where no product is frequent."""
    if np.prod([float(column.size) for column in columns]) >= _LARGEST:
        return None
    name, steps = name_of(tuple(column.name for column in columns)), [column.step for column in columns]
    codes, value = columns[0].codes.astype(np.int64), columns[0].step.output
    for number, column in enumerate(columns[1:], 2):
        output = f".product {name_of(tuple(part.name for part in columns[:number]))}"
        steps.append(Step("cross", (value, column.step.output), output, {"size": column.size}))
        codes = np.where((codes == 0) | (column.codes == 0), 0, (codes - 1) * (column.size - 1) + column.codes)
        value = output
    known = _frequent(codes, sizes.min_count)
    if not len(known):
        return None
    arrays, size = {f"known {name}": known}, len(known) + 1
    hashed = len(known) > sizes.max_size
    steps.append(Step("match", (value,), f".place {name}" if hashed else name, {"values": f"known {name}"}))
    if hashed:
        size = sizes.buckets + 1
        arrays[f"bucket {name}"] = np.append(0, 1 + _mixed(known) % sizes.buckets)
        steps.append(Step("gather", (f".place {name}",), name, {"table": f"bucket {name}"}))
    feature = Feature(name, "id", depends_on(columns), vocabulary=name, size=size, family="cross")
    cost = sum(array.nbytes for array in arrays.values()) + sum(column.bytes for column in columns)
    return _Cross(feature, tuple(steps), arrays, cost)


def _frequent(codes: np.ndarray, min_count: int) -> np.ndarray:
    """Return int64, the codes above 0 that occur often enough, sorted."""
    if len(codes) and codes.max() <= 4 * len(codes):
        counts = np.bincount(codes)
        counts[0] = 0
        return np.flatnonzero(counts >= min_count).astype(np.int64)
    values, counts = np.unique(codes[codes > 0], return_counts=True)
    return np.asarray(values[counts >= min_count], dtype=np.int64)


def _mixed(codes: np.ndarray) -> np.ndarray:
    """Return int64, non-negative, the high half of each code's product with an odd constant: the same on every machine."""
    return np.asarray((codes.astype(np.uint64) * _MIX) >> _HIGH).astype(np.int64)


def depends_on(columns: Sequence[Coding]) -> Depends:
    """Return what a value of several columns is a function of."""
    found = {column.depends for column in columns}
    if len(found) == 1:
        return found.pop()
    return "pair" if "item" in found else "row"
