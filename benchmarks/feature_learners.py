"""The two learners that judge features: logistic regression of scikit-learn and LightGBM, both tuned on validation rows."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import lightgbm
import numpy as np
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from autorec_kernel.evaluation.rows import auc
from benchmarks.feature_matrices import Columns, Matrices

__all__ = ["LEARNERS"]

HASHED = 1 << 18  # values above which the one-hot columns of a category are shared
REACH = 5.0  # standard deviations
LARGE = 500_000  # rows from which fewer options are tried: always with the ids, one size and a larger step of LightGBM
BAG = 256  # values of a bag that LightGBM sees, the most frequent ones
Found = tuple[dict[str, np.ndarray], dict[str, Any]]
Tried = tuple[float, dict[str, np.ndarray], dict[str, Any]]


def logistic(given: Matrices, judged: str) -> Found:
    """Return float64 scores of validation and judged rows and what was chosen; the penalty is searched in steps of 10 from C = 0.01."""
    tried: list[Tried] = []
    for dropped in _without_ids(given):
        inputs = _linear_inputs(given, dropped)
        scored: dict[int, Tried] = {}
        power: int | None = -2
        while power is not None:
            scored[power] = _logistic(given, inputs, judged, 10.0**power, dropped)
            top = max(scored, key=lambda one: scored[one][0])
            power = next((one for one in (top - 1, top + 1) if one not in scored and -6 <= one <= 2), None)
        tried += scored.values()
    return max(tried, key=lambda one: one[0])[1:]


def _logistic(given: Matrices, inputs: dict[str, sparse.csr_matrix], judged: str, strength: float, dropped: tuple[str, ...]) -> Tried:
    model = LogisticRegression(C=strength, max_iter=300)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(inputs["train"], given.labels["train"])
    scores = {part: model.decision_function(inputs[part]) for part in {"valid", judged}}
    value = float(auc(given.labels["valid"], scores["valid"]) or 0)
    told = {"C": strength, "ids": not dropped, "valid_auc": round(value, 5), "iterations": int(model.n_iter_[0])}
    return value, scores, told


def boosted(given: Matrices, judged: str) -> Found:
    """Return float64 scores of validation and judged rows and what was chosen; rounds end by early stopping on validation rows."""
    tried: list[Tried] = []
    large = len(given.labels["train"]) > LARGE
    for dropped in _without_ids(given):
        names, kinds, inputs = _tree_inputs(given, dropped, judged)
        for leaves in (63,) if large else (7, 31):
            options = {**_BOOSTED, "num_leaves": leaves, "learning_rate": 0.2 if large else 0.05}
            sets = {
                part: lightgbm.Dataset(inputs[part], given.labels[part], feature_name=names, categorical_feature=kinds, free_raw_data=False)
                for part in ("train", "valid")
            }
            stop = lightgbm.early_stopping(30 if large else 50, verbose=False)
            model = lightgbm.train(options, sets["train"], 3000, valid_sets=[sets["valid"]], callbacks=[stop])
            value = float(model.best_score["valid_0"]["auc"])
            told = {"leaves": leaves, "rounds": model.best_iteration, "ids": not dropped, "valid_auc": round(value, 5)}
            scores = {part: np.asarray(model.predict(inputs[part], raw_score=True)) for part in {"valid", judged}}
            tried.append((value, scores, {**told, "leading": _leading(model)}))
    return max(tried, key=lambda one: one[0])[1:]


def _leading(model: lightgbm.Booster, count: int = 15) -> list[str]:
    gains = model.feature_importance("gain")
    names = model.feature_name()
    return [names[place] for place in np.argsort(-gains, kind="stable")[:count] if gains[place] > 0]


def _without_ids(given: Matrices) -> Iterator[tuple[str, ...]]:
    yield ()
    if given.ids and len(given.labels["train"]) <= LARGE:
        yield given.ids


def _linear_inputs(given: Matrices, dropped: tuple[str, ...]) -> dict[str, sparse.csr_matrix]:
    train = given.parts["train"]
    scales = {name: _scale(value) for name, value in train.numbers.items()}
    gaps = [name for name, value in train.numbers.items() if np.isnan(value).any()]
    codes = [name for name in train.codes if name not in dropped]
    return {part: _linear(columns, scales, gaps, codes, given) for part, columns in given.parts.items()}


def _linear(
    columns: Columns, scales: dict[str, tuple[float, float]], gaps: list[str], codes: list[str], given: Matrices
) -> sparse.csr_matrix:
    numbers = np.empty((len(next(iter({**columns.numbers, **columns.codes}.values()))), len(scales) + len(gaps)), np.float32)
    for place, (name, (mean, unit)) in enumerate(scales.items()):
        numbers[:, place] = np.nan_to_num(np.clip((columns.numbers[name] - mean) / unit, -REACH, REACH), nan=0.0)
    for place, name in enumerate(gaps, len(scales)):
        numbers[:, place] = np.isnan(columns.numbers[name])
    pieces = [sparse.csr_matrix(numbers)]
    pieces += [_one_hot(columns.codes[name], given.sizes[name]) for name in codes]
    return sparse.csr_matrix(sparse.hstack([*pieces, *columns.bags.values()], format="csr", dtype=np.float32))


def _scale(value: np.ndarray) -> tuple[float, float]:
    known = value[np.isfinite(value)].astype(np.float64)
    return (float(known.mean()), float(known.std()) or 1.0) if len(known) else (0.0, 1.0)


def _one_hot(codes: np.ndarray, size: int) -> sparse.csr_matrix:
    """Return one column a value; an unknown one has none."""
    places = np.where(codes > HASHED, codes % HASHED + 1, codes) if size > HASHED else codes
    known = np.flatnonzero(places > 0)
    shape = (len(codes), min(size, HASHED + 1))
    return sparse.csr_matrix((np.ones(len(known), np.float32), (known, places[known])), shape=shape)


def _tree_inputs(given: Matrices, dropped: tuple[str, ...], judged: str) -> tuple[list[str], list[int], dict[str, np.ndarray]]:
    train = given.parts["train"]
    codes = [name for name in train.codes if name not in dropped]
    often = {name: np.sort(np.argsort(-np.asarray(bag.sum(axis=0)).ravel(), kind="stable")[:BAG]) for name, bag in train.bags.items()}
    plain = [*codes, *train.numbers, *(f"{name}={place}" for name, places in often.items() for place in places)]
    names = [f"{number}_" + "".join(c if c.isalnum() or c in "._*-+" else "_" for c in name) for number, name in enumerate(plain)]
    inputs = {}
    for part in {"train", "valid", judged}:
        columns = given.parts[part]
        matrix = np.empty((len(given.labels[part]), len(names)), np.float32)
        for place, name in enumerate(codes):
            matrix[:, place] = columns.codes[name]
        for place, name in enumerate(train.numbers, len(codes)):
            matrix[:, place] = columns.numbers[name]
        start = len(codes) + len(train.numbers)
        for name, places in often.items():
            matrix[:, start : start + len(places)] = columns.bags[name][:, places].toarray()
            start += len(places)
        inputs[part] = matrix
    return names, list(range(len(codes))), inputs


_BOOSTED: dict[str, Any] = {
    "objective": "binary",
    "metric": "auc",
    "min_data_in_leaf": 50,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 1.0,
    "num_threads": 1,
    "deterministic": True,
    "force_col_wise": True,
    "seed": 0,
    "verbosity": -1,
}
LEARNERS: dict[str, Callable[[Matrices, str], Found]] = {"logistic": logistic, "lightgbm": boosted}
