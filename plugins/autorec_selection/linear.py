"""Ridge and logistic regression on columns, for where there is no LightGBM."""

from __future__ import annotations

import numpy as np

__all__ = ["fitted_linear"]

_RIDGE, _STEPS = 1.0, 20


def fitted_linear(train: np.ndarray, judged: np.ndarray, labels: np.ndarray, link: str, categorical: tuple[int, ...]) -> np.ndarray:
    """Return float64 [m], predictions of judged rows [m, C]: probabilities by iteratively reweighted least squares, or values by ridge.

    Numbers are standardised, gaps filled with the mean; categories become one column each.
    """
    learnt, applied = _design(train, judged, categorical)
    if link != "logit":
        weights = _solved(learnt, np.ones(len(learnt)), labels.astype(np.float64))
        return np.asarray(applied @ weights)
    weights = np.zeros(learnt.shape[1])
    for _ in range(_STEPS):
        chance = _sigmoid(learnt @ weights)
        certainty = np.maximum(chance * (1 - chance), 1e-6)
        moved = _solved(learnt, certainty, learnt @ weights + (labels - chance) / certainty)
        done = np.abs(moved - weights).max() < 1e-6
        weights = moved
        if done:
            break
    return _sigmoid(applied @ weights)


def _solved(design: np.ndarray, certainty: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    weighted = design * certainty[:, None]
    ridge = np.full(design.shape[1], _RIDGE)
    ridge[0] = 1e-9  # the constant is free
    return np.linalg.solve(design.T @ weighted + np.diag(ridge), weighted.T @ wanted)


def _design(train: np.ndarray, judged: np.ndarray, categorical: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    parts = [(np.ones((len(train), 1)), np.ones((len(judged), 1)))]
    for column in range(train.shape[1]):
        own, other = train[:, column].astype(np.float64), judged[:, column].astype(np.float64)
        if column in categorical:
            codes = np.unique(own)[1:]
            parts.append(((own[:, None] == codes).astype(np.float64), (other[:, None] == codes).astype(np.float64)))
            continue
        known = np.isfinite(own)
        mean = float(own[known].mean()) if known.any() else 0.0
        spread = max(float(own[known].std()) if known.any() else 0.0, 1e-9)
        parts.append(tuple((np.where(np.isfinite(v), v - mean, 0.0) / spread)[:, None] for v in (own, other)))  # type: ignore[arg-type]
    return np.concatenate([part[0] for part in parts], axis=1), np.concatenate([part[1] for part in parts], axis=1)


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(values, -30.0, 30.0))))
