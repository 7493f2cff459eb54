"""Shuffled copies of a feature that are as tied to users or items as the feature is, and to no label."""

from __future__ import annotations

import numpy as np

from autorec_kernel.records.features import Feature
from autorec_selection.sample import Sample

__all__ = ["groups_of", "shuffled"]


def groups_of(feature: Feature, sample: Sample) -> np.ndarray | None:
    """Return int64 [n], what moves as one when the feature is shuffled: items for what depends on the item, else users.

    None = every row by itself: the ids of users and items, of which nothing is left when whole users or items move, and data without
    users.
    """
    if feature.name in (sample.schema.user, sample.schema.item):
        return None
    of_item = feature.depends == "item"
    return None if not (sample.schema.item if of_item else sample.schema.user) else (sample.items if of_item else sample.users)


def shuffled(groups: np.ndarray | None, rows: int, rng: np.random.Generator) -> np.ndarray:
    """Return int64 [rows], a permutation: row i of the shuffled copy is row `found[i]` of the original.

    Groups are laid one after the other in two random orders, each turned round by a random number of rows in the first of them, and
    the first sequence is written over the second. So neighbours inside a group stay neighbours, their places in it do not matter, and
    a copy is no more certain of its values than the original: the number of groups counts, not the number of rows.
    """
    if groups is None:
        return rng.permutation(rows)
    names, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    by_group = np.argsort(group, kind="stable")
    place = np.empty(rows, np.int64)
    place[by_group] = np.arange(rows) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    turned = (place + rng.integers(0, sizes)[group]) % sizes[group]
    source = np.lexsort((turned, rng.permutation(len(names))[group]))
    target = np.lexsort((place, rng.permutation(len(names))[group]))
    found = np.empty(rows, np.int64)
    found[target] = source
    return found
