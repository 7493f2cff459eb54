"""Metrics of predicted rows: AUC and its per-user form, log loss, RMSE and MAE, with per-row contributions where they exist."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autorec_kernel.errors import ContractError, DataError
from autorec_kernel.evaluation.result import exact_mean

__all__ = [
    "UserAuc",
    "absolute_errors",
    "auc",
    "binary_labels",
    "gauc",
    "log_loss",
    "log_losses",
    "mae",
    "rmse",
    "squared_errors",
    "user_auc",
]

_CLIP = 1e-15  # probabilities are kept this far from 0 and 1, which bounds the loss of one row by 34.5


@dataclass(frozen=True, slots=True)
class UserAuc:
    """AUC of each user who has rows of both classes.

    Args:
        users: int64 [U], ascending.
        values: float64 [U] in [0, 1].
        impressions: int64 [U], rows of the user: the weights of GAUC.
        left_out: Users with rows of one class only.
    """

    users: np.ndarray
    values: np.ndarray
    impressions: np.ndarray
    left_out: int


def auc(labels: np.ndarray, scores: np.ndarray) -> float | None:
    """Return the probability that a positive row is scored above a negative one; ties count one half.

    Args:
        labels: 0 or 1, [rows].
        scores: float [rows]; NaN is below every number.

    Returns:
        A value in [0, 1], exact to the last rounding; None when there is only one class.
    """
    found = user_auc(labels, scores, np.zeros(len(labels), dtype=np.int64))
    return float(found.values[0]) if len(found.values) else None


def user_auc(labels: np.ndarray, scores: np.ndarray, users: np.ndarray) -> UserAuc:
    """Return every user's own AUC.

    Args:
        labels: 0 or 1, [rows].
        scores: float [rows].
        users: int64 [rows], the user of each row.
    """
    positive, scores = binary_labels(labels), _same_length(scores, labels)
    users = _same_length(users, labels)
    if not len(positive):
        return UserAuc(np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0, dtype=np.int64), 0)
    lost = np.isnan(scores)
    filled = np.where(lost, 0.0, scores)
    order = np.lexsort((filled, ~lost, users))
    positive, users, filled, lost = positive[order], users[order], filled[order], lost[order]
    new_user = np.append(True, users[1:] != users[:-1])
    new_group = new_user | np.append(True, (filled[1:] != filled[:-1]) | (lost[1:] != lost[:-1]))
    groups, owners = np.flatnonzero(new_group), np.flatnonzero(new_user)
    hit, missed = np.add.reduceat(positive, groups), np.add.reduceat(1 - positive, groups)
    ends = np.cumsum(missed)
    first = np.searchsorted(groups, owners)  # first group of each user
    before = ends - missed - np.repeat((ends - missed)[first], np.diff(np.append(first, len(groups))))
    doubled = np.add.reduceat(hit * (2 * before + missed), first)  # integers: twice the Mann-Whitney statistic
    good, bad = np.add.reduceat(positive, owners), np.add.reduceat(1 - positive, owners)
    both = (good > 0) & (bad > 0)
    values = doubled[both] / (2 * good[both] * bad[both])
    return UserAuc(users[owners][both], values, (good + bad)[both], int((~both).sum()))


def gauc(labels: np.ndarray, scores: np.ndarray, users: np.ndarray) -> float | None:
    """Return the mean of the users' AUCs weighted by their impressions (Zhu et al. 2017); None when no user has both classes."""
    found = user_auc(labels, scores, users)
    return float(np.average(found.values, weights=found.impressions)) if len(found.values) else None


def log_losses(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return float64 [rows], the negative log-likelihood of each row in nats; finite for probabilities 0 and 1, NaN for NaN.

    Raises:
        ContractError: A value is outside [0, 1].
    """
    positive, given = binary_labels(labels), _same_length(probabilities, labels).astype(np.float64)
    if ((given < 0) | (given > 1)).any():
        raise ContractError(f"log loss reads probabilities in [0, 1], got {np.nanmin(given)} to {np.nanmax(given)}")
    return -np.log(np.maximum(np.where(positive, given, 1.0 - given), _CLIP))


def log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float | None:
    """Return the mean of `log_losses`; None without rows."""
    return exact_mean(log_losses(labels, probabilities))


def squared_errors(labels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return float64 [rows], (value - label) squared."""
    return np.asarray(np.square(_errors(labels, values)))


def absolute_errors(labels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return float64 [rows], the distance between value and label."""
    return np.asarray(np.abs(_errors(labels, values)))


def rmse(labels: np.ndarray, values: np.ndarray) -> float | None:
    """Return the root of the mean squared error, in the unit of the labels; None without rows."""
    mean = exact_mean(squared_errors(labels, values))
    return None if mean is None else float(np.sqrt(mean))


def mae(labels: np.ndarray, values: np.ndarray) -> float | None:
    """Return the mean absolute error, in the unit of the labels; None without rows."""
    return exact_mean(absolute_errors(labels, values))


def binary_labels(labels: np.ndarray) -> np.ndarray:
    """Return labels as int64 0 or 1.

    Raises:
        DataError: A label is something else.
    """
    given = np.asarray(labels)
    if given.ndim != 1 or not np.isin(given, (0, 1)).all():
        raise DataError("this metric needs labels 0 or 1, one a row", hint="set a positive threshold or use --task rate")
    return given.astype(np.int64)


def _errors(labels: np.ndarray, values: np.ndarray) -> np.ndarray:
    return _same_length(values, labels).astype(np.float64) - np.asarray(labels, dtype=np.float64)


def _same_length(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    given = np.asarray(values)
    if given.shape != (len(labels),):
        raise ContractError(f"expected one prediction for each of {len(labels)} rows, got shape {list(given.shape)}")
    return given
