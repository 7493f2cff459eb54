"""Planted interactions among noise, and a linear model to tell whether a program's output holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix, hstack
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from autorec_crosses.crosses import Crosses
from autorec_kernel.records.program import ReadContext, run_program
from autorec_kernel.records.table import Coded, Table

NONE = {"users": Table(), "items": Table()}


@dataclass(frozen=True)
class Planted:
    """Columns of texts in random order under random names, and `label`: the parity of the levels of the columns in `truth`."""

    events: Table
    truth: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(name for name in self.events if name != "label")

    def part(self, rows: slice) -> Table:
        return self.events.take(np.arange(self.events.rows)[rows])


def texts(levels: np.ndarray) -> Coded:
    return Coded(levels.astype(np.int32), np.array([f"v{level}" for level in range(int(levels.max()) + 1)], dtype=object))


def xor(seed: int, cards: Sequence[int], rows: int, noise: int = 30, flipped: float = 0.0, rate: float = 0.5) -> Planted:
    """Plant the parity of columns with these cardinalities (none = no interaction) among noise columns of cardinality 2, 5 and 50."""
    rng = np.random.default_rng(seed)
    levels = [rng.integers(0, card, rows) for card in (*cards, *[(2, 5, 50)[k % 3] for k in range(noise)])]
    label = sum(level % 2 for level in levels[: len(cards)]) % 2 if cards else rng.random(rows) < rate
    label = np.where(rng.random(rows) < flipped, 1 - np.asarray(label, dtype=int), label)
    names = [f"c{number:03d}" for number in rng.permutation(1000)[: len(levels)]]
    columns: dict[str, Any] = {names[place]: texts(levels[place]) for place in rng.permutation(len(levels))}
    return Planted(Table({**columns, "label": label.astype(np.float64)}, rows), tuple(sorted(names[: len(cards)])))


def search(events: Table, seed: int = 0, tables: Mapping[str, Table] = NONE, **options: Any) -> Any:
    names = tuple(name for name in events if name != "label" and not name.startswith("@"))
    op = Crosses(Crosses.Config(**{"columns": names, **options}))
    return op.fit(events, tables, np.random.default_rng(seed))


def read(fitted: Any, events: Mapping[str, Any], rows: int) -> dict[str, np.ndarray]:
    found = run_program(fitted.program(), events, ReadContext(rows))
    return {feature.name: np.asarray(found[name]) for feature, name in zip(fitted.outputs, fitted.program().outputs, strict=True)}


def linear_auc(train: Sequence[np.ndarray], label: np.ndarray, test: Sequence[np.ndarray], truth: np.ndarray) -> float:
    """Return the AUC on test rows of logistic regression over the one-hot codes of all columns."""
    sizes = [int(max(one.max(), two.max())) + 1 for one, two in zip(train, test, strict=True)]
    matrices = [
        hstack([csr_matrix((np.ones(len(c)), (np.arange(len(c)), c)), (len(c), size)) for c, size in zip(part, sizes, strict=True)]).tocsr()
        for part in (train, test)
    ]
    model = LogisticRegression(C=1.0, max_iter=200).fit(matrices[0], label)
    return float(roc_auc_score(truth, model.decision_function(matrices[1])))


class Kit:
    """What the tests of crosses share."""

    xor = staticmethod(xor)
    search = staticmethod(search)
    read = staticmethod(read)
    texts = staticmethod(texts)

    def before_and_after(self, planted: Planted, **options: Any) -> tuple[float, float, Any]:
        """Return the AUC on the last fifth of the rows without and with the crosses found on the rest, and the fitted op."""
        cut = planted.events.rows * 4 // 5
        train, test = planted.part(slice(0, cut)), planted.part(slice(cut, None))
        fitted = self.search(train, **options)
        raw = [[np.asarray(part[name].codes) for name in planted.columns] for part in (train, test)]  # type: ignore[union-attr]
        more = [[*columns, *self.read(fitted, part, part.rows).values()] for columns, part in zip(raw, (train, test), strict=True)]
        labels = np.asarray(train["label"]), np.asarray(test["label"])
        aucs = [linear_auc(one, labels[0], two, labels[1]) for one, two in (raw, more)]
        return aucs[0], aucs[1], fitted


@pytest.fixture(scope="session")
def kit() -> Kit:
    return Kit()
