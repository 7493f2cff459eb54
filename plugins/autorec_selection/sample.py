"""What selectors look at: a sample of training or validation rows with their feature values, labels and the groups they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from autorec_kernel.features import FeatureSet
from autorec_kernel.records.features import Feature, FeatureSchema

__all__ = ["Sample", "Target", "draw", "held_out", "validation"]

HISTORY = 50  # steps of a history that are looked at
_TARGETS = 3  # labels that are looked at


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """One label.

    Args:
        link: logit (0/1) | value (number).
        values: float32 [n], NaN = unknown.
    """

    name: str
    link: str
    values: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """Return int64, the rows where the label is known."""
        return np.flatnonzero(~np.isnan(self.values))

    @property
    def varies(self) -> bool:
        """Return whether there is something to learn: two different values at least."""
        known = self.values[self.known]
        return bool(len(known) > 1 and known.min() < known.max())


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Rows in the order of the feature set.

    Args:
        schema: Of the feature set; `schema.features` names the columns.
        inputs: Feature name → values [n, …] as the feature set gives them.
        users, items: int64 [n], the user and the item (candidate) of each row; 0 = unknown.
        targets: Labels, the primary one first.
    """

    schema: FeatureSchema
    inputs: Mapping[str, np.ndarray]
    users: np.ndarray
    items: np.ndarray
    targets: tuple[Target, ...]

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return len(self.users)

    @property
    def features(self) -> tuple[Feature, ...]:
        """Return the features, in the order of the schema."""
        return self.schema.features

    @property
    def targets_that_vary(self) -> tuple[Target, ...]:
        """Return the labels that have something to learn."""
        return tuple(target for target in self.targets if target.varies)

    def take(self, rows: np.ndarray) -> Sample:
        """Return some of the rows."""
        targets = tuple(Target(t.name, t.link, t.values[rows]) for t in self.targets)
        inputs = {name: values[rows] for name, values in self.inputs.items()}
        return Sample(self.schema, inputs, self.users[rows], self.items[rows], targets)


def draw(features: FeatureSet, split: Literal["train", "valid"], rows: int, rng: np.random.Generator) -> Sample:
    """Return at most `rows` rows of a split, drawn without replacement.

    Where the task is to recommend, half of them are what users chose and the other half the same moments with an item drawn evenly from
    the catalogue: the label is whether the item was chosen.
    """
    contrast = features.task == "recommend" and bool(features.schema.item) and features.schema.items > 2
    every = features.positive_rows(split) if contrast else features.rows(split)
    count = max(rows // 2, 1) if contrast else rows
    taken = every if count >= len(every) else np.sort(rng.choice(every, count, replace=False))
    names = [feature.name for feature in features.schema.features]
    lengths = {feature.name: HISTORY for feature in features.schema.features if feature.kind == "history"}
    users, items = (features.rows_at("user", taken), features.rows_at("item", taken)) if len(taken) else (taken, taken)
    if not contrast:
        found = features.row_inputs(names, taken, lengths=lengths)
        tasks = list(features.schema.tasks.items())[:_TARGETS]
        targets = tuple(Target(name, link, features.labels_at(name, taken)) for name, link in tasks)
        return Sample(features.schema, found, users, items, targets)
    others = rng.integers(1, features.schema.items, len(taken))
    candidates = np.stack([items, others], axis=1)
    found = features.pair_inputs(names, taken, candidates, lengths=lengths)
    chosen = Target("chosen", "logit", np.tile(np.array([1, 0], np.float32), len(taken)))
    return Sample(features.schema, found, np.repeat(users, 2), candidates.reshape(-1), (chosen,))


def held_out(sample: Sample, share: float = 0.25) -> tuple[Sample, Sample]:
    """Return the first rows and the last rows of a sample: what is judged lies behind what is learnt."""
    cut = int(sample.rows * (1 - share)) // 2 * 2
    return sample.take(np.arange(cut)), sample.take(np.arange(cut, sample.rows))


def validation(features: FeatureSet, train: Sample, rows: int, rng: np.random.Generator) -> tuple[Sample, Sample]:
    """Return (rows to learn from, rows to judge on): the validation rows, or the end of the sample where they are too few."""
    judged = draw(features, "valid", rows, rng)
    return (train, judged) if judged.rows >= 50 and judged.targets_that_vary else held_out(train)
