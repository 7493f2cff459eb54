"""Ids, numbers and labels of training rows, held side by side: a batch row is one read from memory instead of one a column."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from autorec_kernel.features import FeatureSet

__all__ = ["Columns"]

_BYTES = 1 << 25  # that the columns of a feature set may take
_BLOCK = 1 << 14  # rows copied at a time


class Columns:
    """The ids, numbers and labels of rows that training visits again and again.

    Args:
        features: Where they come from.
        names: Features; bags and histories, which differ in length, are left out, and all of them where the columns would take more
            than 32 MiB.
        labels: Labels, held if the features are.
        rows: int64 [N]: row numbers there; here they are 0 … N - 1.
    """

    def __init__(self, features: FeatureSet, names: Sequence[str], labels: Sequence[str], rows: np.ndarray) -> None:
        held = [features.schema[name] for name in names if features.schema[name].kind in ("id", "numeric")]
        fits = 4 * len(rows) * (len(labels) + sum(feature.width for feature in held)) <= _BYTES
        ids = [feature.name for feature in held if feature.kind == "id" and fits]
        numbers = [feature for feature in held if feature.kind == "numeric" and fits]
        self._ids, self._numbers, self.labels = ids, [feature.name for feature in numbers], list(labels) if fits else []
        self._bounds = list(pairwise(accumulate((feature.width for feature in numbers), initial=0)))
        self._id_table = np.empty((len(rows), len(ids)), np.int32)
        self._number_table = np.empty((len(rows), sum(feature.width for feature in numbers) + len(self.labels)), np.float32)
        for start in range(0, len(rows), _BLOCK) if fits else ():
            self._fill(features, rows[start : start + _BLOCK], slice(start, start + _BLOCK))

    def _fill(self, features: FeatureSet, rows: np.ndarray, place: slice) -> None:
        values = features.row_inputs([*self._ids, *self._numbers], rows)
        for column, name in enumerate(self._ids):
            self._id_table[place, column] = values[name]
        for name, (low, high) in zip(self._numbers, self._bounds, strict=True):
            self._number_table[place, low:high] = values[name]
        for column, task in enumerate(reversed(self.labels), 1):
            self._number_table[place, -column] = features.labels_at(task, rows)

    def read(self, places: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Return the features and the labels of rows int64 [A], by name: ids int64 [A], numbers float32 [A, width], labels float32 [A]."""
        ids, numbers = self._id_table.take(places, 0).T.astype(np.int64, order="C"), self._number_table.take(places, 0)
        features = dict(zip(self._ids, ids, strict=True))
        features |= {name: numbers[:, low:high] for name, (low, high) in zip(self._numbers, self._bounds, strict=True)}
        labels = zip(self.labels, numbers.T[numbers.shape[1] - len(self.labels) :], strict=True)
        return features, dict(labels)
