"""The report of metric against number of features: quick models on the first 1, 2, 4, … of a ranking, judged on validation rows."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import rankdata

from autorec_kernel.features import FeatureSet
from autorec_selection.columns import Columns, columns_of
from autorec_selection.linear import fitted_linear
from autorec_selection.sample import draw, validation

__all__ = ["auc", "curve_of", "steps_of"]

_ROWS = 20_000  # rows that are judged, and rows that a model learns from


def curve_of(features: FeatureSet, names: Sequence[str], rng: np.random.Generator, seconds: float, rows: int) -> list[dict[str, Any]]:
    """Return rows {"features": k, "metric": "auc" | "rmse", "value", "model"} for the primary label, as many as the seconds allow.

    Every model also sees the features that are not among the names (ids, histories): k = 0 is what they reach alone.
    """
    start, spent = time.perf_counter(), 0.0
    train, judged = validation(features, draw(features, "train", min(rows, _ROWS), rng), _ROWS, rng)
    if not train.targets or not train.targets[0].varies or not judged.targets[0].varies:
        return []
    train, judged = train.take(train.targets[0].known), judged.take(judged.targets[0].known)
    labels, truth, link = train.targets[0].values, judged.targets[0].values, train.targets[0].link
    order = [*(name for name in (f.name for f in train.features) if name not in names), *names]
    columns = columns_of(train, judged, labels, rng, features=[train.schema[name] for name in order])
    always, seed, found = len(order) - len(names), int(rng.integers(2**31 - 1)), list[dict[str, Any]]()
    for count in steps_of(len(names), always):
        if found and time.perf_counter() - start + 2 * spent > seconds:
            break
        begun = time.perf_counter()
        values, model = _model(columns, np.flatnonzero(columns.owner < always + count), labels, link, np.random.default_rng(seed))
        metric, value = ("auc", auc(truth, values)) if link == "logit" else ("rmse", float(np.sqrt(np.mean((truth - values) ** 2))))
        found.append({"features": count, "metric": metric, "value": round(value, 6), "model": model})
        spent = time.perf_counter() - begun
    return found


def steps_of(count: int, always: int) -> list[int]:
    """Return 0 (where there are features besides the ranked ones), 1, 2, 4, … below `count`, and `count`."""
    doubled = [2**i for i in range(count.bit_length()) if 2**i < count]
    return sorted({*([0] if always else []), *doubled, *([count] if count else [])})


def auc(truth: np.ndarray, found: np.ndarray) -> float:
    """Return the chance that a row of label 1 stands above one of label 0; ties count half (Mann and Whitney 1947)."""
    positive = truth > 0.5
    ones, zeros = int(positive.sum()), int((~positive).sum())
    return float((rankdata(found)[positive].sum() - ones * (ones + 1) / 2) / max(ones * zeros, 1))


def _model(columns: Columns, taken: np.ndarray, labels: np.ndarray, link: str, rng: np.random.Generator) -> tuple[np.ndarray, str]:
    """Return (float64 [n], the judged rows' predictions; the model)."""
    place = {int(column): number for number, column in enumerate(taken)}
    categorical = tuple(place[column] for column in columns.categorical if column in place)
    train, judged = columns.train[:, taken], columns.judged[:, taken]
    if importlib.util.find_spec("lightgbm") is None:
        return fitted_linear(train, judged, labels, link, categorical), "linear"
    from autorec_selection.boosting import boosted, predicted

    trees = boosted(train, labels, link, categorical, rng, extra_trees=False, feature_fraction=1.0, feature_fraction_bynode=1.0)
    return predicted(trees, judged), "boosted trees"
