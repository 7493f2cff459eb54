"""Which row of an earlier feature set's vocabulary a row of a new one was: by what it stands for, never by its number."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from autorec_training.examples import columns_of, examples

if TYPE_CHECKING:
    from autorec_kernel.features import FeatureSet
    from autorec_kernel.features.compute import Fitted
    from autorec_kernel.records.program import Program, Step

__all__ = ["RowMap", "row_map"]


@dataclass(frozen=True, slots=True, eq=False)
class RowMap:
    """Rows of a vocabulary now, and what they were.

    Args:
        rows: int64 [size now], the row of the earlier vocabulary; 0 for what it did not know (and for row 0).
        known: Rows besides row 0 that are known to both.
        size: Rows that the earlier vocabulary had.
        reason: Why nothing is known; empty where something may be.
    """

    rows: np.ndarray
    known: int
    size: int
    reason: str = ""


def row_map(before: FeatureSet, after: FeatureSet, vocabulary: str, unrelated: Collection[str] = ()) -> RowMap:
    """Return what each row of a vocabulary was in an earlier feature set.

    Users and items are told apart by their ids. For any other vocabulary the earlier program is asked which row it reads for what a row
    stands for now: a text, a bin, a combination. So a text that the earlier vocabulary hashed was its bucket. Buckets of a hashed tail are
    the same where their number is; buckets that combinations share are not.

    Args:
        unrelated: Vocabularies whose ids mean something else now: nothing of them is known.
    """
    now, then = _size(after, vocabulary), _size(before, vocabulary)
    if not then:
        return RowMap(np.zeros(now, np.int64), 0, 0, "the run has no such vocabulary")
    if vocabulary in unrelated:
        return RowMap(np.zeros(now, np.int64), 0, then, "its ids are said to mean something else")
    if vocabulary in ("user", "item"):
        rows, reason = _by_id(before, after, vocabulary, now), ""
    else:
        rows, reason = _by_value(before, after, vocabulary, (then, now))
    return RowMap(rows, int((rows > 0).sum()), then, reason)


def _size(features: FeatureSet, vocabulary: str) -> int:
    if vocabulary in ("user", "item"):
        return features.schema.users if vocabulary == "user" else features.schema.items
    return next((feature.size for feature in features.schema.features if feature.vocabulary == vocabulary), 0)


def _by_id(before: FeatureSet, after: FeatureSet, vocabulary: str, size: int) -> np.ndarray:
    was, now = (getattr(one.entities, f"{vocabulary}s") for one in (before, after))
    return np.asarray(was.row_of(text or None for text in now.ids_of(np.arange(size))))


def _by_value(before: FeatureSet, after: FeatureSet, vocabulary: str, sizes: tuple[int, int]) -> tuple[np.ndarray, str]:
    nothing = np.zeros(sizes[1], np.int64)
    then, now = _making(before, vocabulary), _making(after, vocabulary)
    if then is None or now is None:
        return nothing, "no feature says what its rows stand for"
    (was, old), (new, name) = then, now
    if _same(was, old, new, name):
        return np.arange(sizes[1]), ""
    rows = np.arange(sizes[1])
    shown = examples(new, name, rows)
    columns = columns_of(shown)
    right = _first(new.computed([name], columns)[name]) == rows
    asked = np.where(right & (rows > 0), _first(was.computed([old], columns)[old]), 0)
    found = np.where((asked >= 0) & (asked < sizes[0]), asked, 0)
    tail = _tail(was, old, sizes[0]), _tail(new, name, sizes[1])
    if tail[0] == tail[1]:
        last = sum(tail[1])
        found[sizes[1] - last :] = np.arange(sizes[0] - last, sizes[0])
    return found, "" if (found > 0).any() else "its rows do not say what they stand for" if not right[1:].any() else ""


def _making(features: FeatureSet, vocabulary: str) -> tuple[Program, str] | None:
    """Return the program of a feature whose values are rows of the vocabulary, and the output that they are; ids go before bags."""
    found: list[tuple[str, Fitted]] = [
        (feature.name, op)
        for kind in ("id", "bag")
        for op in features.fitted
        for feature in op.features
        if (feature.kind, feature.vocabulary) == (kind, vocabulary)
    ]
    return (found[0][1].program, found[0][1].output(found[0][0])) if found else None


def _same(was: Program, old: str, new: Program, name: str) -> bool:
    """Return whether two values are made by equal steps of equal arrays and no table: rows are then the same by number."""
    first, second = _steps(was, old), _steps(new, name)
    if first != second or any(step.op == "as_of" for step in second):
        return False
    named = [key for step in second for value in step.params.values() for key in new.arrays if key == value or key.startswith(f"{value}.")]
    return all(key in was.arrays and np.array_equal(was.arrays[key], new.arrays[key]) for key in named)


def _steps(program: Program, name: str) -> list[Step]:
    wanted, found = {name}, []
    for step in reversed(program.steps):
        if step.output in wanted:
            found.append(step)
            wanted |= set(step.inputs)
    return found


def _tail(program: Program, name: str, size: int) -> tuple[int, int]:
    """Return (buckets of a hashed tail, rows behind them) at the end of a vocabulary: rows that stand for no single text."""
    made = {step.output: step for step in program.steps}
    step = made.get(name)
    buckets = int(step.params["buckets"]) if step is not None and step.op == "hash" and len(step.inputs) > 1 else 0
    step = made[step.inputs[1]] if step is not None and buckets else step
    if step is None or step.op != "lookup":
        return (0, 0)
    return buckets, size - buckets - len(program.arrays[f"{step.params['vocabulary']}.offsets"])


def _first(rows: np.ndarray) -> np.ndarray:
    """Return int64 [n]: of several rows the first."""
    found: np.ndarray = np.asarray(rows, dtype=np.int64)
    return found if found.ndim == 1 else found[:, 0]
