"""How much one column says about a label: by rank, by group, and as the only column of a model (numpy)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

__all__ = ["alone", "asked", "group_z", "list_z", "rank_z"]

_FOLDS, _BINS, _SHUFFLES = 5, 64, 30
_VALUES, _HELD = 300, 30  # most values of a list that are asked for, and fewest rows that hold one


def asked(kind: str, values: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Return what a feature is asked for, with the kind of each: a number column by column, a list also for its length and its ends.

    Args:
        values: Of a number float [n, width], of an id int [n], of a list int [n, W] padded with 0 on the right.
    """
    if kind == "id":
        return [(kind, values)]
    if kind == "numeric":
        return [(kind, column) for column in values.T]
    length = np.count_nonzero(values, axis=1)
    ends = (np.take_along_axis(values, place[:, None], 1)[:, 0] for place in (0 * length, np.maximum(length - 1, 0)))
    often = [np.where(np.bincount(end)[end] < _HELD, 0, end) for end in ends]
    return [("numeric", length), *(("id", end) for end in often), (kind, values)]


def rank_z(value: np.ndarray, label: np.ndarray) -> float:
    """Return the rank correlation of float [n] and float [n] in standard errors of unrelated columns; 0 where one is constant.

    With a 0/1 label this is the Mann-Whitney statistic: the AUC minus 0.5 over its standard error with ties.
    """
    ranks = [_ranked(column)[1] for column in (value, label)]
    spread = ranks[0].std() * ranks[1].std()
    return 0.0 if spread == 0 else float((ranks[0] * ranks[1]).mean() / spread * np.sqrt(len(label) - 1))


def group_z(group: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> float:
    """Return how far apart the means of float [n] by int [n] lie, in deviations of what shuffled labels give, for any number of groups.

    What is compared is the root of a chi-square, which is nearly normal even for two groups (R. A. Fisher, 1922); the chi-square is not.
    """
    _, group = np.unique(group, return_inverse=True)
    size = np.bincount(group)
    return _beyond(np.sqrt([(np.bincount(group, weights=y) ** 2 / size).sum() for y in _shuffles(label, rng)]))


def list_z(lists: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> float:
    """Return the same of rows that hold each frequent value of int [n, W]: of the value that says most, and of all together."""
    held = _held(lists)
    held = (held - held.mean(0)) / (held.std(0) * np.sqrt(len(held)))
    found = held.T @ np.stack(list(_shuffles(label, rng)), axis=1)
    return max(_beyond(np.abs(found).max(0, initial=0.0)), _beyond(np.sqrt((found**2).sum(0))), key=abs)


def _held(lists: np.ndarray) -> np.ndarray:
    """Return float32 [n, values]: 1 where a row holds one of the most frequent values, of those that some rows hold and some do not."""
    counts = np.bincount(lists.ravel())
    counts[0] = 0
    place = np.argsort(np.argsort(-counts, kind="stable"), kind="stable")
    found = np.zeros((len(lists), _VALUES + 1), np.float32)
    found[np.arange(len(lists))[:, None], np.where(counts > 0, np.minimum(place, _VALUES), _VALUES)[lists]] = 1.0
    rows = found[:, :_VALUES].sum(0)
    return found[:, :_VALUES][:, np.minimum(rows, len(lists) - rows) >= _HELD]


def _shuffles(label: np.ndarray, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield the label in deviations from its mean, first as it is."""
    yield (own := (label - label.mean()) / (label.std() or 1.0))
    yield from (rng.permutation(own) for _ in range(_SHUFFLES))


def _beyond(found: np.ndarray) -> float:
    """Return how far the first of float [n] is from the others, in their deviations; 0 where they do not differ."""
    spread = float(found[1:].std())
    return 0.0 if spread <= 1e-9 else float((found[0] - found[1:].mean()) / spread)


def alone(value: np.ndarray, label: np.ndarray, rng: np.random.Generator, *, kind: str, binary: bool) -> float:
    """Return the AUC (of a 0/1 label) or R² (of a number) of a model of one column.

    The model is the column itself, where it is a number, or the mean label of its values (64 quantiles of a number) in other folds; of a
    list it is a ridge regression on the frequent values that a row holds, fitted on other folds.

    Args:
        value: float [n], int [n] groups, or int [n, W] lists.
        label: float [n].
        kind: numeric | id | what `asked` calls a list.
    """
    fold, numeric = rng.integers(0, _FOLDS, len(label)), kind == "numeric"
    if value.ndim == 2:
        means = _ridge(_held(value), label, fold)
    else:
        group, ranks = _ranked(value)
        bins = ((ranks + len(ranks) / 2) * _BINS / len(ranks)).astype(np.int64) if numeric else group
        means = _mean_of_others(bins, label, fold)
    if binary:
        found, straight = _auc(_ranked(means)[1], label), _auc(ranks, label) if numeric else 0.5
        return max(found, straight, 1.0 - straight)
    explained = 1.0 - float(((label - means) ** 2).mean()) / float(label.var())
    if not numeric or np.ptp(value) == 0:
        return explained
    return max(explained, float(np.corrcoef(value.astype(np.float64), label)[0, 1]) ** 2)


def _ridge(held: np.ndarray, label: np.ndarray, fold: np.ndarray) -> np.ndarray:
    x, y, guess = np.append(held, np.ones((len(held), 1), held.dtype), axis=1), label - label.mean(), np.empty(len(label))
    rows = [fold == part for part in range(_FOLDS)]
    gram, found = (np.array([x[part].T @ side[part] for part in rows], np.float64) for side in (x, y))
    for part, own, told in zip(rows, gram.sum(0) - gram, found.sum(0) - found, strict=True):
        guess[part] = label.mean() + x[part] @ np.linalg.solve(own + np.eye(len(own)), told)
    return guess


def _ranked(value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (int64 [n], groups of equal values; float64 [n], centred ranks, of equal values their mean)."""
    _, place, count = np.unique(value, return_inverse=True, return_counts=True)
    return place, np.asarray((np.cumsum(count) - (count - 1) / 2.0)[place] - (len(value) + 1) / 2.0)


def _auc(ranks: np.ndarray, label: np.ndarray) -> float:
    """Return the AUC of centred ranks: the mean rank of positives, in units of the negatives' number, from 0.5 on (Mann and Whitney)."""
    positive = label == 1
    return 0.5 + float(ranks[positive].mean()) / float((~positive).sum())


def _mean_of_others(group: np.ndarray, label: np.ndarray, fold: np.ndarray) -> np.ndarray:
    _, group = np.unique(group, return_inverse=True)
    cells = (int(group.max()) + 1, _FOLDS)
    place = group * _FOLDS + fold
    total = np.bincount(place, weights=label, minlength=cells[0] * _FOLDS).reshape(cells)
    count = np.bincount(place, minlength=cells[0] * _FOLDS).reshape(cells)
    others, known = total.sum(1, keepdims=True) - total, count.sum(1, keepdims=True) - count
    means = np.where(known > 0, others / np.maximum(known, 1), label.mean())
    return np.asarray(means[group, fold])
