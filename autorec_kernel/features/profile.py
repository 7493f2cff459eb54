"""What the feature stage knows of the data before any op is fitted: sizes, clock, task, and facts about the label."""

from __future__ import annotations

import numpy as np

from autorec_kernel.contracts.features import DataProfile
from autorec_kernel.features.entities import Entities, label_of, texts
from autorec_kernel.records.dataset import CLOCK, Dataset, Task
from autorec_kernel.records.table import Table

__all__ = ["default_task", "profile_of"]

_DAY = 86_400e9  # ns


def default_task(dataset: Dataset) -> Task:
    """Return the task that the protocol implies: the state at the cut means `recommend`; else 0/1 labels mean `click`, others `rate`."""
    if dataset.protocol.state == "cut":
        return "recommend"
    label = label_of(dataset.train, dataset.schema)
    binary = label is not None and bool(np.isin(label[~np.isnan(label)], (0.0, 1.0)).all())
    return "click" if binary or dataset.protocol.positive_threshold is not None else "rate"


def profile_of(dataset: Dataset, train: Table, entities: Entities, task: str, history_length: int = 50) -> DataProfile:
    """Return the profile of the training part.

    Its facts are those that `DataProfile` lists. Of the validation rows nothing is read but whether training knows their ids.
    """
    sides = {"user_rows": float(dataset.users.rows), "item_rows": float(dataset.items.rows)}
    facts = {**sides, "history_length": float(history_length), **_label_facts(dataset, train), **_shape_facts(dataset, train, entities)}
    sizes = train.rows, entities.users.size - 1, entities.items.size - 1
    return DataProfile(dataset.schema, *sizes, dataset.protocol.clock, task, facts)


def _shape_facts(dataset: Dataset, train: Table, entities: Entities) -> dict[str, float]:
    cells = max(entities.users.size - 1, 1) * max(entities.items.size - 1, 1)
    found = {"density": train.rows / cells}
    if dataset.protocol.clock == "time" and train.rows:
        clock = np.asarray(train[CLOCK])
        found["span_days"] = (float(clock.max()) - float(clock.min())) / _DAY
    for name, column, known in (("cold_users", entities.user, entities.users), ("cold_items", entities.item, entities.items)):
        if column and dataset.valid.rows:
            found[name] = float((known.rows_of_column(texts(dataset.valid[column])) == 0).mean())
    return found


def _label_facts(dataset: Dataset, train: Table) -> dict[str, float]:
    label = label_of(train, dataset.schema)
    known = label[np.isfinite(label)] if label is not None else np.zeros(0)
    if not len(known):
        return {}
    bounded = np.clip(known, -1e100, 1e100)
    return {
        "label_mean": float(bounded.mean()),
        "label_std": float(bounded.std()),
        "label_low": float(bounded.min()),
        "label_high": float(bounded.max()),
    }
