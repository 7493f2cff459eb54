"""Boosted trees of LightGBM (Ke et al., NIPS 2017) on one thread, with every seed given."""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np

__all__ = ["boosted", "gains", "predicted"]

_ROUNDS = 100


def boosted(
    columns: np.ndarray, labels: np.ndarray, link: str, categorical: tuple[int, ...], rng: np.random.Generator, **options: Any
) -> lightgbm.Booster:
    """Return trees fitted on columns float32 [n, C].

    Thresholds are drawn at random, one a column, and the best of them is taken (extremely randomised trees, Geurts et al. 2006); each
    split sees a part of the columns, and categories are split one against the rest. So a column without effect of its own is split on
    now and then, which is what shows an interaction, and many categories gain little by chance.

    Args:
        link: logit | value.
        options: Of LightGBM; `rounds` = number of trees.
    """
    rounds = int(options.pop("rounds", _ROUNDS))
    chosen = {
        "objective": "binary" if link == "logit" else "regression",
        "learning_rate": 0.1,
        "num_leaves": 31,
        "min_data_in_leaf": max(20, len(labels) // 1000),
        "max_bin": 31,
        "max_cat_to_onehot": 64,
        "extra_trees": True,
        "feature_fraction": 0.5,
        "feature_fraction_bynode": 0.5,
        "num_threads": 1,
        "deterministic": True,
        "force_col_wise": True,
        "seed": int(rng.integers(2**31 - 1)),
        "verbosity": -1,
        **options,
    }
    data = lightgbm.Dataset(columns, labels, categorical_feature=list(categorical), params=chosen, free_raw_data=True)
    return lightgbm.train(chosen, data, rounds)


def gains(trees: lightgbm.Booster, owner: np.ndarray, features: int) -> np.ndarray:
    """Return float64 [features], the share of each feature in the total gain, over its columns."""
    found = np.bincount(owner, trees.feature_importance("gain"), minlength=features)
    return np.asarray(found / max(float(found.sum()), 1e-12))


def predicted(trees: lightgbm.Booster, columns: np.ndarray) -> np.ndarray:
    """Return float64 [n], probabilities of a logit label, or values."""
    return np.asarray(trees.predict(columns, num_threads=1), dtype=np.float64)
