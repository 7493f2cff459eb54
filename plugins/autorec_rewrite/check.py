"""The proof that a rewritten graph answers like the one before it, and how much less it computes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from autorec_kernel.contracts.deploy import CompressionContext, NotApplicable
from autorec_kernel.records.model import CompressedModel
from autorec_rewrite.net import Net, bytes_of, option
from autorec_rewrite.probe import feeds, runs, sizes_of, told_once

__all__ = ["TOLERANCE", "check_equal", "check_once", "gap", "work"]

TOLERANCE = 1e-5  # largest accepted difference, relative to max(1, |y|)
_SEED = 20_240_229
_BATCHES = (1, 2, 9)


def check_equal(before: Net, after: Net, model: CompressedModel, context: CompressionContext, *, tolerance: float = TOLERANCE) -> float:
    """Compare both graphs on the sample and on random inputs: full, empty and shortest histories, several batches and lengths.

    Returns:
        The largest difference relative to max(1, |y|).

    Raises:
        NotApplicable: It is larger than the tolerance.
    """
    rng = np.random.default_rng(_SEED)
    cases = [feeds(before, model, rows, rng, turn=turn) for rows in _BATCHES for turn in (-1, 0, 1)]
    shortest = feeds(before, model, 3, rng, turn=0)
    cases.append({name: value[:, :1] if name in _free_axes(before) else value for name, value in shortest.items()})
    if context.sample and set(before.inputs) <= set(context.sample):
        cases.append(_typed(cases[0], {name: np.asarray(context.sample[name]) for name in before.inputs}))
    if single := told_once(before):
        cases.append({name: value[:1] if name in single else value for name, value in cases[-1].items()})
    worst = max(map(gap, runs(bytes_of(before), cases), runs(bytes_of(after), cases)))
    if not worst <= tolerance:
        raise NotApplicable(f"the rewritten graph answers differently, by {worst:.3g} (at most {tolerance:.3g} is accepted)")
    return worst


def check_once(before: Net, after: Net, cases: Sequence[tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]]) -> None:
    """Compare the graph before on its inputs with the graph after on inputs that are told once.

    Raises:
        NotApplicable: An answer differs.
    """
    worst = max(map(gap, runs(bytes_of(before), (whole for whole, _ in cases)), runs(bytes_of(after), (once for _, once in cases))))
    if not worst <= TOLERANCE:
        raise NotApplicable(f"the rewritten graph answers differently where one row stands for many, by {worst:.3g}")


def gap(expected: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray]) -> float:
    """Return the largest difference of the outputs relative to max(1, |y|); infinity where shapes differ or one alone is not a number."""
    worst = 0.0
    for name, value in expected.items():
        other = found[name]
        if value.shape != other.shape:
            return math.inf
        same = (value == other) | (np.isnan(value) & np.isnan(other))
        with np.errstate(invalid="ignore"):
            apart = np.where(same, 0.0, np.abs(value - other) / np.maximum(1.0, np.abs(value)))
        worst = max(worst, float(np.nan_to_num(apart, nan=np.inf).max(initial=0.0)))
    return worst


def work(net: Net, inputs: Mapping[str, np.ndarray]) -> int:
    """Return the arithmetic operations for these inputs: two a multiplication of matrices, one a number that anything else writes."""
    sizes = sizes_of(net, inputs)
    return sum(_operations(entry.op_type, [sizes.get(name, ()) for name in entry.input], sizes, entry) for entry in net.nodes)


def _operations(kind: str, given: list[tuple[int, ...]], sizes: Mapping[str, tuple[int, ...]], entry: object) -> int:
    made = [sizes[name] for name in entry.output if name in sizes]  # type: ignore[attr-defined]
    written = sum(math.prod(shape) for shape in made)
    if kind in ("MatMul", "MatMulInteger", "Gemm"):
        inner = given[0][0 if option(entry, "transA", 0) else -1] if given[0] else 1  # type: ignore[arg-type]
        return 2 * inner * written
    if kind == "Conv":
        return 2 * math.prod(given[1][1:]) * written
    if kind in ("GRU", "LSTM", "RNN"):
        steps, rows = given[0][:2]
        return 2 * steps * rows * (math.prod(given[1]) + math.prod(given[2]))
    return written


def _free_axes(net: Net) -> set[str]:
    """Return the inputs whose second axis is free."""
    axes = {value.name: list(value.type.tensor_type.shape.dim) for value in net.model.graph.input}
    return {name for name, found in axes.items() if len(found) == 2 and not found[1].dim_value}


def _typed(like: Mapping[str, np.ndarray], sample: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: value.astype(like[name].dtype) for name, value in sample.items()}
