"""What the rows of a vocabulary stand for: an example of the raw values that a feature program turns into each row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from autorec_kernel.records.lists import offsets_of
from autorec_kernel.records.program import Program, Step
from autorec_kernel.records.table import Coded, ColumnData, Ragged
from autorec_kernel.records.vocabulary import Vocabulary

__all__ = ["columns_of", "examples"]

Examples = Mapping[str, Sequence[Any]]  # column → one raw value a row (text, number or list of texts); None = none is known
_Inverse = Callable[[Program, Step, np.ndarray], Examples]


def examples(program: Program, name: str, rows: np.ndarray) -> Examples:
    """Return raw values for which a step of the program gives these rows; None where the step does not say.

    Args:
        name: Output of the step.
        rows: int64 [n].
    """
    step = next((step for step in program.steps if step.output == name), None)
    inverse = None if step is None else _INVERSES.get(step.op)
    if step is None or inverse is None:
        return {column: [None] * len(rows) for column in ([name] if step is None else program.sources([name]))}
    return inverse(program, step, rows)


def columns_of(found: Examples) -> dict[str, ColumnData]:
    """Return examples as columns that a program reads; what is not known is missing."""
    return {name: _column(values) for name, values in found.items()}


def _column(values: Sequence[Any]) -> ColumnData:
    if any(isinstance(value, float) for value in values):
        return np.array([np.nan if value is None else value for value in values])
    if any(isinstance(value, list) for value in values):
        lists = [value or [] for value in values]
        return Ragged(_texts([text for one in lists for text in one]), offsets_of(np.array([len(one) for one in lists], dtype=np.int64)))
    return _texts(values)


def _texts(values: Sequence[Any]) -> Coded:
    known = sorted({value for value in values if value is not None})
    codes = {text: code for code, text in enumerate(known)} | {None: -1}
    return Coded(np.array([codes[value] for value in values], dtype=np.int32), np.array([*known, None], dtype=object)[:-1])


def _lookup(program: Program, step: Step, rows: np.ndarray) -> Examples:
    return {step.inputs[0]: [text or None for text in _vocabulary(program, step).ids_of(rows)]}


def _bag(program: Program, step: Step, rows: np.ndarray) -> Examples:
    return {step.inputs[0]: [[text] if text else None for text in _vocabulary(program, step).ids_of(rows)]}


def _hash(program: Program, step: Step, rows: np.ndarray) -> Examples:
    """Only rows in front of the buckets stand for one text."""
    size = int(step.params["size"]) if len(step.inputs) > 1 else 0
    return examples(program, step.inputs[1], np.where(rows < size, rows, 0)) if size else {step.inputs[0]: [None] * len(rows)}


def _bucketize(program: Program, step: Step, rows: np.ndarray) -> Examples:
    """The middle of a bin; for the outer ones, what lies half a bin beyond the last edge."""
    edges = np.asarray(program.arrays[step.params["edges"]], dtype=np.float64)
    if not len(edges):
        return {step.inputs[0]: [None] * len(rows)}
    half = (edges[1] - edges[0], edges[-1] - edges[-2]) if len(edges) > 1 else (1.0, 1.0)
    middles = np.concatenate([[edges[0] - half[0] / 2], (edges[1:] + edges[:-1]) / 2, [edges[-1] + half[1] / 2]])
    return {step.inputs[0]: [float(middles[row - 1]) if 1 <= row <= len(middles) else None for row in rows.tolist()]}


def _cross(program: Program, step: Step, rows: np.ndarray) -> Examples:
    if "buckets" in step.params:
        return {column: [None] * len(rows) for column in program.sources([step.output])}
    width = int(step.params["size"]) - 1
    codes = np.maximum(rows, 1) - 1
    parts = [np.where(rows > 0, part + 1, 0) for part in (codes // width, codes % width)]
    found = [examples(program, name, part) for name, part in zip(step.inputs, parts, strict=True)]
    return {**found[0], **found[1]}


def _match(program: Program, step: Step, rows: np.ndarray) -> Examples:
    values = np.asarray(program.arrays[step.params["values"]], dtype=np.int64)
    inside = (rows > 0) & (rows <= len(values))
    return examples(program, step.inputs[0], np.where(inside, values[np.where(inside, rows, 1) - 1], 0))


def _vocabulary(program: Program, step: Step) -> Vocabulary:
    return Vocabulary.load(program.arrays, f"{step.params['vocabulary']}.")


_INVERSES: Mapping[str, _Inverse] = {
    "lookup": _lookup,
    "bag": _bag,
    "hash": _hash,
    "bucketize": _bucketize,
    "cross": _cross,
    "match": _match,
}
