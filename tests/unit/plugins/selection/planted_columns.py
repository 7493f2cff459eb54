"""Eight columns that tell the label among 92 that do not: numbers and categories mixed, names and places shuffled."""

from __future__ import annotations

import numpy as np
import pandas as pd

from autorec_features.identity import Identity
from autorec_features.scale import Scale
from autorec_kernel.data import open_dataset
from autorec_kernel.features import FeatureSet, build_features

INFORMATIVE, NOISE, ROWS = 8, 92, 20_000
_SIZES = (2, 5, 50)


def planted(seed: int, *, rows: int = ROWS, noise: int = NOISE, task: str = "click") -> tuple[pd.DataFrame, set[str]]:
    """Return (frame with the column `label`, names of the informative columns).

    A straight line, a parabola, five categories and fifty categories tell by themselves; a pair of binary columns tells by its
    exclusive or alone, and a pair of numbers by the sign of its product alone.
    """
    rng = np.random.default_rng(seed)
    line, bent, left, right = (rng.normal(size=rows) for _ in range(4))
    five, fifty = rng.integers(0, 5, rows), rng.integers(0, 50, rows)
    one, other = rng.integers(0, 2, rows), rng.integers(0, 2, rows)
    logit = 0.5 * line + 0.5 * (bent**2 - 1) + rng.normal(0, 0.7, 5)[five] + rng.normal(0, 0.5, 50)[fifty]
    logit = logit + 0.9 * (2 * (one ^ other) - 1) + 0.9 * np.sign(left * right)
    told = [line, bent, _text(five), _text(fifty), _text(one), _text(other), left, right]
    lies = [rng.normal(size=rows) if i % 2 else _text(rng.integers(0, _SIZES[i // 2 % 3], rows)) for i in range(noise)]
    places = rng.permutation(len(told) + len(lies))
    columns = {f"c{place:03d}": column for place, column in zip(places, [*told, *lies], strict=True)}
    label = logit + rng.logistic(size=rows)
    frame = pd.DataFrame(dict(sorted(columns.items())))
    return frame.assign(label=(label > 0).astype(int) if task == "click" else label), {f"c{place:03d}" for place in places[: len(told)]}


def features_of(frame: pd.DataFrame, task: str = "click") -> FeatureSet:
    """Return the feature set of a frame whose label is the column `label`: its columns as they are, one feature each."""
    ops = {"features/id": Identity, "features/scale": Scale}
    return build_features(open_dataset(frame, task=task, roles={"label": "label"}, seed=0), ops, task=task)


def _text(codes: np.ndarray) -> np.ndarray:
    return np.array([f"v{code}" for code in range(50)], dtype=object)[codes]
