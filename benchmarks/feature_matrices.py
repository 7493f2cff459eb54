"""Raw columns, hand-made features and the engine's output in one shape that both learners read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import sparse

from autorec_kernel.features import FeatureSet, build_features
from autorec_kernel.kernel import Kernel
from benchmarks.feature_sets import Given
from benchmarks.manual_features import manual_features
from benchmarks.past import Sees

__all__ = ["Columns", "Matrices", "engine", "engine_features", "engine_matrices", "manual", "raw"]

CHUNK = 200_000


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """The features of the rows of one part.

    Args:
        numbers: Name → float32 [n], NaN = missing.
        codes: Name → int32 [n], 0 = unknown.
        bags: Name → csr [n, values], how often each value is there.
    """

    numbers: Mapping[str, np.ndarray]
    codes: Mapping[str, np.ndarray]
    bags: Mapping[str, sparse.csr_matrix] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Matrices:
    """The features and labels of every part.

    Args:
        parts: Part → columns.
        labels: Part → float64 [n].
        sizes: Name of a code → values, 0 included.
        ids: Codes that name a user or an item.
    """

    parts: Mapping[str, Columns]
    labels: Mapping[str, np.ndarray]
    sizes: Mapping[str, int]
    ids: tuple[str, ...] = ()

    @property
    def columns(self) -> dict[str, int]:
        """Return how many columns there are of each sort."""
        train = self.parts["train"]
        return {"numbers": len(train.numbers), "categories": len(train.codes), "bags": len(train.bags)}


def raw(given: Given) -> Matrices:
    """Return the given columns: categories by the training rows' values, numbers as they are, lists as counts of their values."""
    codes, sizes, bags = {}, {}, {}
    train = (given.frame["part"] == "train").to_numpy()
    for name in given.categories:
        known = pd.Index(given.frame[name][train].dropna().unique())
        codes[name], sizes[name] = (known.get_indexer(given.frame[name]) + 1).astype(np.int32), len(known) + 1
    for name in given.lists:
        bags[name] = sparse.csr_matrix(given.frame[name].fillna("").str.get_dummies("|").to_numpy(np.float32))
    numbers = {name: given.frame[name].to_numpy(np.float32) for name in given.numbers}
    return _cut(given, Columns(numbers, codes, bags), sizes, [name for name in ("user_id", "item_id") if name in codes])


def manual(given: Given, *, sees: Sees = "all") -> Matrices:
    """Return the given columns and the hand-made features beside them."""
    found, base = manual_features(given, sees=sees), raw(given)
    parts = {}
    for part, columns in base.parts.items():
        rows = given.rows(part)
        more = {f"made.{name}": found[name].to_numpy()[rows] for name in found}
        parts[part] = Columns({**columns.numbers, **more}, columns.codes, columns.bags)
    return Matrices(parts, base.labels, base.sizes, base.ids)


def engine(given: Given) -> Matrices:
    """Return the output of the automatic plan."""
    return engine_matrices(given, engine_features(given))


def engine_features(given: Given) -> FeatureSet:
    """Build the features; the test rows are opened only where the frame has them."""
    features = build_features(given.dataset, Kernel.discover(), task="click")
    if "test" in set(given.frame["part"]):
        given.dataset.test.fix_plan(features.digest)
        features.open_test(given.dataset.test.open("feature gain"))
    return features


def engine_matrices(given: Given, features: FeatureSet) -> Matrices:
    """Return the features of every row of the frame; histories are left out.

    Raises:
        ValueError: The engine's rows are not those of the frame.
    """
    parts, labels = {}, {}
    for part in dict.fromkeys(given.frame["part"]):
        rows = features.rows(part)
        parts[part], labels[part] = _engine_part(features, rows), features.labels_at("", rows).astype(np.float64)
        if not np.array_equal(labels[part], given.frame["label"].to_numpy()[given.rows(part)]):
            raise ValueError(f"{given.name}: the engine's {part} rows are not those that were given")
    coded = features.schema.of("id")
    ids = tuple(feature.name for feature in coded if feature.name in (features.schema.user, features.schema.item))
    return Matrices(parts, labels, {feature.name: feature.size for feature in coded}, ids)


def _engine_part(features: FeatureSet, rows: np.ndarray) -> Columns:
    wanted = features.schema.of("id", "bag", "numeric")
    numbers: dict[str, list[np.ndarray]] = {}
    codes: dict[str, list[np.ndarray]] = {}
    bags: dict[str, list[sparse.csr_matrix]] = {}
    for start in range(0, len(rows), CHUNK):
        values = features.row_inputs([feature.name for feature in wanted], rows[start : start + CHUNK])
        for feature in wanted:
            value = values[feature.name]
            if feature.kind == "id":
                codes.setdefault(feature.name, []).append(value.astype(np.int32))
            elif feature.kind == "bag":
                bags.setdefault(feature.name, []).append(_counted(value, feature.size))
            else:
                for place in range(feature.width):
                    numbers.setdefault(f"{feature.name}.{place}", []).append(value[:, place].astype(np.float32))
    stacked = {name: sparse.csr_matrix(sparse.vstack(found)) for name, found in bags.items()}
    return Columns(_joined(numbers), _joined(codes), stacked)


def _joined(pieces: Mapping[str, list[np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate(found) for name, found in pieces.items()}


def _counted(value: np.ndarray, size: int) -> sparse.csr_matrix:
    """Return how often each value is in each padded row of a bag int [n, w]; 0 does not count."""
    rows, places = np.nonzero(value)
    ones = np.ones(len(rows), np.float32)
    return sparse.csr_matrix((ones, (rows, value[rows, places])), shape=(len(value), size))


def _cut(given: Given, whole: Columns, sizes: Mapping[str, int], ids: Iterable[str]) -> Matrices:
    parts, labels = {}, {}
    for part in dict.fromkeys(given.frame["part"]):
        rows = given.rows(part)
        bags = {name: sparse.csr_matrix(bag[rows]) for name, bag in whole.bags.items()}
        parts[part], labels[part] = (
            Columns(_taken(whole.numbers, rows), _taken(whole.codes, rows), bags),
            given.frame["label"].to_numpy(np.float64)[rows],
        )
    return Matrices(parts, labels, sizes, tuple(ids))


def _taken(named: Mapping[str, np.ndarray], rows: np.ndarray) -> dict[str, np.ndarray]:
    return {name: value[rows] for name, value in named.items()}
