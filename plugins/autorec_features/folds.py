"""Values out of fold: where no clock orders the events, a training row reads aggregates of the rows of other folds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from autorec_kernel.records.program import Program, ReadContext, run_program
from autorec_kernel.records.table import ColumnData, take_column

__all__ = ["FOLDS", "out_of_fold"]

FOLDS = 8


def out_of_fold(
    program_of: Callable[[np.ndarray], Program], columns: Mapping[str, ColumnData], fold: np.ndarray, outputs: Sequence[str]
) -> dict[str, np.ndarray]:
    """Return output → the value of every row from a program that was fitted without the row's fold.

    Args:
        program_of: Rows int64 [m] → the program fitted on them alone.
        columns: What the program reads, one value a row.
        fold: int64 [n]; rows of one user belong into one fold where other users' values are read.
    """
    found: dict[str, Any] = {}
    for number in range(FOLDS):
        inside = np.flatnonzero(fold % FOLDS == number)
        program = program_of(np.flatnonzero(fold % FOLDS != number))
        given = {name: take_column(columns[name], inside) for name in program.inputs if name in columns}
        values = run_program(program, given, ReadContext(len(inside)))
        for output in outputs:
            value = np.asarray(values[output])
            found.setdefault(output, np.zeros((len(fold), *value.shape[1:]), value.dtype))[inside] = value
    return found
