"""An additive model of the label, and what a table of counts says beyond it: score statistics and held-out gains (numpy)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit, ndtri

__all__ = ["Additive", "Term", "t_value", "threshold"]

_SWEEPS = 6
_ROUNDS = 6
_LEAST = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Term:
    """A partition of the rows.

    Args:
        codes: int64 [n] in [0, size).
        size: Cells.
        gaps: Whether any row has code 0, the unknown.
    """

    codes: np.ndarray
    size: int
    gaps: bool = True

    @classmethod
    def of(cls, codes: np.ndarray, size: int) -> Term:
        """Return the partition by integer codes."""
        return cls(codes.astype(np.int64), size, bool((codes == 0).any()))

    def crossed(self, other: Term) -> Term:
        """Return the partition by both codes, numbered as the program's `cross` does; 0 where either is unknown."""
        codes = (self.codes - 1) * (other.size - 1) + other.codes
        gaps = self.gaps or other.gaps
        if gaps:
            codes[(self.codes == 0) | (other.codes == 0)] = 0
        return Term(codes, (self.size - 1) * (other.size - 1) + 1, gaps)


class Additive:
    """Sum of one shrunk effect a cell of each term: logistic for labels of 0 and 1, else least squares.

    Effects have a normal prior whose variance is estimated from the counts by moments: with R the sum of residuals of a cell and W of
    their variances, E[R²] = W + τ²W², so τ² = Σ(R² - W) / ΣW². A term that explains nothing gets no effect.

    Args:
        label: float64 [n], finite.
        binary: Whether it holds 0 and 1 only.
    """

    def __init__(self, label: np.ndarray, binary: bool) -> None:
        self.label, self.binary = label, binary
        mean = float(label.mean())
        self.margin = np.full(len(label), logit(mean) if binary else mean)
        self._refresh()

    def reset(self, margin: np.ndarray) -> None:
        """Go back to a margin float64 [n] of earlier."""
        self.margin = margin.copy()
        self._refresh()

    def fit(self, terms: Sequence[Term], firm: int = 0) -> list[np.ndarray]:
        """Fit the effects of all terms together by coordinate-wise Newton steps.

        Args:
            terms: Main effects.
            firm: So many terms, the first ones, are hardly shrunk: what is left of them must not look like a cross.

        Returns:
            float64 [n] a term, each row's share of the degrees of freedom that the term takes: w / (W + ridge) of its cell.
        """
        totals = [np.zeros(term.size) for term in terms]
        ridges = [0.0] * len(terms)
        for sweep in range(_SWEEPS):
            for number, term in enumerate(terms):
                residual, weight = self._sums(term)
                if not sweep:
                    ridges[number] = min(_ridge(residual, weight), 1.0 if number < firm else np.inf)
                self._step(term, totals[number], residual, weight, ridges[number])
        return [self.weight / (self._sums(t)[1] + ridge)[t.codes] for t, ridge in zip(terms, ridges, strict=True)]

    def absorb(self, term: Term) -> None:
        """Add the effects of one more term (cell 0, the unknown, stays as it is)."""
        total, ridge = np.zeros(term.size), 0.0
        for number in range(_ROUNDS if self.binary else 1):
            residual, weight = self._sums(term)
            residual[0], weight[0] = 0.0, 0.0
            ridge = ridge if number else _ridge(residual, weight)
            self._step(term, total, residual, weight, ridge)

    def score(self, term: Term, taken: Sequence[np.ndarray], min_count: int) -> float:
        """Return how surprising the residuals in the cells of a term are, in standard normal units.

        The score statistic T = Σ R²/W over cells with enough rows has mean (cells - degrees of freedom taken there) and variance
        Σ (2 + (W - 6 ΣW²)/W²) under the null (fourth cumulant of a Bernoulli variable); a gamma variable of that mean and variance
        becomes a normal one by the cube root (Wilson and Hilferty 1931).

        Args:
            taken: What `fit` returned of the term's parts.
            min_count: Rows below which a cell is left out.
        """
        count = np.bincount(term.codes, minlength=term.size)
        real = count >= min_count
        real[0] = False
        if not real.any():
            return -np.inf
        residual, weight = (np.maximum(sums[real], low) for sums, low in zip(self._sums(term, count), (-np.inf, _LEAST), strict=True))
        n = count[real]
        inside = slice(None) if n.sum() == len(term.codes) else real[term.codes]
        mean = max(len(n) - sum(float(part[inside].sum()) for part in taken), 1.0)
        fourth = (weight - 6.0 * weight**2 / n) / weight**2 if self.binary else self.kurtosis / n
        variance = float(np.maximum(2.0 + fourth, _LEAST).sum()) * mean / len(n)
        found = float((residual**2 / weight).sum())
        shape = 9.0 * mean**2 / max(variance, _LEAST)
        return float((np.cbrt(found / mean) - (1.0 - 1.0 / shape)) * np.sqrt(shape))

    def gains(self, term: Term, half: np.ndarray, min_count: int) -> np.ndarray:
        """Return float64 [n], what the term's effects, learnt on the other half, add to each row's log-likelihood.

        Args:
            half: bool [n], a random half of the rows.
        """
        out = np.bincount(term.codes, minlength=term.size) < min_count
        out[0] = True
        found = np.zeros(len(self.label))
        for learn in (half, ~half):
            effect, held = self._effects(term, learn, out), ~learn
            found[held] = self._gain(held, effect[term.codes[held]])
        return found

    def _effects(self, term: Term, rows: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Return float64 [size], the effects of one more term by Newton steps on some rows; 0 in the cells `out`."""
        codes, effect, ridge = term.codes[rows], np.zeros(term.size), 0.0
        residual, weight = self.residual[rows], self.weight[rows]
        for number in range(_ROUNDS if self.binary else 1):
            if number:
                chance = _chance(self.margin[rows] + effect[codes])
                residual, weight = self.label[rows] - chance, chance * (1.0 - chance)
            sums, weights = (np.bincount(codes, part, term.size) for part in (residual, weight))
            sums[out], weights[out] = 0.0, 0.0
            ridge = ridge if number else _ridge(sums, weights)
            if not np.isfinite(ridge):
                break
            effect += (sums - ridge * effect) / np.maximum(weights + ridge, _LEAST)
        return effect

    def _gain(self, rows: np.ndarray, step: np.ndarray) -> np.ndarray:
        if not self.binary:
            return np.asarray(self.residual[rows] * step - 0.5 * step**2)
        margin = self.margin[rows]
        return np.asarray(self.label[rows] * step - np.logaddexp(0.0, margin + step) + np.logaddexp(0.0, margin))

    def _sums(self, term: Term, count: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        residual = np.bincount(term.codes, self.residual, term.size)
        if count is not None and not self.binary:
            return residual, count.astype(np.float64)
        return residual, np.bincount(term.codes, self.weight, term.size)

    def _step(self, term: Term, total: np.ndarray, residual: np.ndarray, weight: np.ndarray, ridge: float) -> None:
        if not np.isfinite(ridge):
            return
        step = (self.unit * residual - ridge * total) / np.maximum(weight + ridge, _LEAST)
        total += step
        self.margin += step[term.codes]
        self._refresh()

    def _refresh(self) -> None:
        if self.binary:
            chance = _chance(self.margin)
            self.unit, self.kurtosis = 1.0, 0.0
            self.residual, self.weight = self.label - chance, chance * (1.0 - chance)
            return
        rest = self.label - self.margin
        self.unit = max(float(np.sqrt(np.mean(rest**2))), _LEAST)
        self.residual, self.weight = rest / self.unit, np.ones(len(rest))
        self.kurtosis = float(np.mean(self.residual**4)) - 3.0


def t_value(gains: np.ndarray) -> float:
    """Return the mean over its standard error; 0 where nothing varies."""
    error = float(gains.std()) / np.sqrt(max(len(gains), 1))
    return float(gains.mean()) / error if error > 0 else 0.0


def threshold(alpha: float, tests: int) -> float:
    """Return the standard normal value that the largest of `tests` exceeds with a chance of `alpha` at most (Bonferroni)."""
    return float(-ndtri(alpha / max(tests, 1)))


def _chance(margin: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(expit(margin), 1e-9, 1.0 - 1e-9))


def _ridge(residual: np.ndarray, weight: np.ndarray) -> float:
    excess, unit = float((residual**2 - weight).sum()), float((weight**2).sum())
    return unit / excess if excess > 0 and unit > 0 else np.inf
