"""A user's own past beside what other users say of the items: learnt without the user's fold, so that no label reaches its own row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from autorec_features.counts import keys_of
from autorec_features.folds import FOLDS
from autorec_features.keys import training_columns
from autorec_features.labels import LabelConfig
from autorec_features.standing import said
from autorec_kernel.records.program import Program, ReadContext, run_program
from autorec_kernel.records.table import Table, take_column

__all__ = ["crossfitted"]


def crossfitted(blank: Program, label: LabelConfig, events: Table, tables: Mapping[str, Table]) -> tuple[Program, list[np.ndarray]]:
    """Fold the events of each fold of users into a program whose arrays (of `said`) were learnt from the other users.

    Args:
        blank: Its tables are keyed by the user.

    Returns:
        The program with the arrays of all rows, and the values of the rows, an array an output, each by the arrays of its own fold.
    """
    users, item = np.asarray(events["@user"]), np.asarray(events["@item"])
    standard = (np.asarray(events[label.label], np.float64) - label.prior) / label.spread
    wanted = sorted({*blank.columns(), *blank.inputs})
    columns = training_columns(wanted, events, tables)

    def learn(rows: np.ndarray) -> Mapping[str, np.ndarray]:
        return said(keys_of(events, "item"), item[rows], standard[rows], len(rows) / max(len(item), 1))

    folds = [np.flatnonzero(users % FOLDS == number) for number in range(FOLDS)]
    learnt = [{**blank.arrays, **learn(np.flatnonzero(users % FOLDS != number))} for number in range(FOLDS)]
    program, found = blank, dict[str, np.ndarray]()
    for rows, arrays in zip(folds, learnt, strict=True):
        program = replace(program, arrays=arrays).fold({name: take_column(column, rows) for name, column in columns.items()})
    for rows, arrays in zip(folds, learnt, strict=True):
        given = {name: take_column(columns[name], rows) for name in program.inputs if name in columns}
        for output, value in run_program(replace(program, arrays=arrays), given, ReadContext(len(rows))).items():
            whole = np.asarray(value)
            found.setdefault(output, np.zeros((len(users), *whole.shape[1:]), whole.dtype))[rows] = whole
    return replace(program, arrays={**blank.arrays, **learn(np.arange(len(users)))}), [found[name] for name in blank.outputs]
