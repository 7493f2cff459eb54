"""Mean labels in the cells of a partition of the rows: as they are learnt, and as a row of another fold is told."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logit

__all__ = ["Cells", "Judge"]

_FOLDS = 8
_LEAST = 1e-6  # chances are kept that far from 0 and 1


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """A partition of the rows.

    Args:
        codes: int64 [n], the place of the row's cell in `values`, from 1 on; 0 = none.
        values: int64 [known], the codes of the cells, sorted.
    """

    codes: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, codes: np.ndarray, size: int) -> Cells:
        """Return the cells that rows are in; `size` = codes there may be."""
        if size <= 4 * len(codes):
            there = np.bincount(codes, minlength=size) > 0
            return cls(np.cumsum(there)[codes], np.flatnonzero(there))
        values, places = np.unique(codes, return_inverse=True)
        return cls(places.reshape(-1) + 1, values)

    @property
    def known(self) -> int:
        """Return the number of cells."""
        return len(self.values)

    def frequent(self, least: int) -> Cells:
        """Return the cells with so many rows; rows of others are in none."""
        kept = np.bincount(self.codes, minlength=self.known + 1) >= least
        kept[0] = False
        places = np.where(kept, np.cumsum(kept), 0)
        return Cells(places[self.codes], self.values[kept[1:]])


class Judge:
    """Rates of cells, shrunk to the mean of all rows by `strength` rows; binary labels as log odds, others in deviations.

    Args:
        label: float64 [n], NaN = unknown.
        binary: Whether it holds 0 and 1 only.
        owner: int64 [n]; rows of one owner are in one fold.
    """

    def __init__(self, label: np.ndarray, binary: bool, owner: np.ndarray, strength: float) -> None:
        self.label, self.binary, self.owner, self.strength = label, binary, owner, strength
        self.known = np.isfinite(label)
        self.told = np.where(self.known, label, 0.0)
        self.fold = owner.astype(np.int64) % _FOLDS
        self.prior, self.unit = float(label[self.known].mean()), float(label[self.known].std()) or 1.0

    def of(self, rows: np.ndarray) -> Judge:
        """Return the same of some rows."""
        return Judge(self.label[rows], self.binary, self.owner[rows], self.strength)

    def rates(self, cells: Cells) -> np.ndarray:
        """Return float64 [known + 1], the rate of each cell by all rows; 0, the prior, first."""
        size = cells.known + 1
        count, total = np.bincount(cells.codes, self.known, size), np.bincount(cells.codes, self.told, size)
        found = self._scaled((total + self.strength * self.prior) / (count + self.strength))
        found[0] = 0.0
        return found

    def held_out(self, cells: Cells) -> np.ndarray:
        """Return float64 [n], the rate of each row's cell by the rows of other folds."""
        found = self._scaled(self._means(cells))
        return np.where(cells.codes > 0, found, 0.0)

    def gains(self, cells: Cells) -> np.ndarray:
        """Return float64 [known], by how much each held-out row's log-likelihood (normal: by the labels' variance) exceeds the prior's."""
        mean = np.where(cells.codes > 0, self._means(cells), self.prior)[self.known]
        label = self.label[self.known]
        if not self.binary:
            return np.asarray(((label - self.prior) ** 2 - (label - mean) ** 2) / (2 * self.unit**2))
        mean = np.clip(mean, _LEAST, 1 - _LEAST)
        return np.asarray(np.where(label > 0, np.log(mean / self.prior), np.log((1 - mean) / (1 - self.prior))))

    def _means(self, cells: Cells) -> np.ndarray:
        size, both = cells.known + 1, cells.codes * _FOLDS + self.fold
        inside = [np.bincount(both, weight, size * _FOLDS) for weight in (self.known, self.told)]
        count, total = ((one.reshape(size, _FOLDS).sum(1)[:, None] - one.reshape(size, _FOLDS)).reshape(-1)[both] for one in inside)
        return np.asarray((total + self.strength * self.prior) / (count + self.strength))

    def _scaled(self, mean: np.ndarray) -> np.ndarray:
        if self.binary:
            return np.asarray(logit(np.clip(mean, _LEAST, 1 - _LEAST)) - logit(self.prior))
        return np.asarray((mean - self.prior) / self.unit)
