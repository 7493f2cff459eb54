"""Carry the weights of a trained network over to one on other data; rows of vocabularies go by what they stand for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from autorec_training.rows import RowMap, row_map

if TYPE_CHECKING:
    from autorec_kernel.features import FeatureSet
    from autorec_kernel.models import Network
    from autorec_kernel.records.features import FeatureSchema

__all__ = ["Carried", "Followed", "carry", "followed", "grown"]

Followed = Mapping[str, Mapping[int, tuple[str, ...]]]  # tensor → dimension → vocabularies whose size it grows with
_Followed = dict[str, dict[int, tuple[str, ...]]]
_STORES = "stores."


@dataclass(slots=True)
class Carried:
    """What was carried over.

    Attributes:
        vocabularies: Vocabulary → rows `carried` by value, `new` ones, and those of the run that are `gone`.
        tensors: Names of the tensors that were carried over.
        left: Name of a tensor or vocabulary → why it was not.
    """

    vocabularies: dict[str, dict[str, int]] = field(default_factory=dict)
    tensors: list[str] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"vocabularies": self.vocabularies, "tensors": len(self.tensors), "left": dict(sorted(self.left.items()))}


@torch.no_grad()
def carry(old: Network, before: FeatureSet, new: Network, after: FeatureSet, follows: Followed, unrelated: Collection[str] = ()) -> Carried:
    """Write weights of a trained network into a fresh one.

    A row of an embedding table that both know has the old values. One that is new has those of the old unknown row, which is the mean of
    its vocabulary unless training has taught it: so a network predicts for a new id, before it learns, what the old one did. Other tensors
    are carried over where name and shape agree; where a dimension has a place for every row of a vocabulary, its places are carried as rows
    are, and new ones have the mean of the old. Closed forms are not touched.

    Args:
        old: In eval mode.
        follows: Of the tensors of `new`, as `followed` finds them.
        unrelated: Vocabularies of which no row is known.
    """
    told, maps = Carried(), dict[str, RowMap]()

    def rows_of(vocabulary: str) -> RowMap:
        if vocabulary not in maps:
            found = maps[vocabulary] = row_map(before, after, vocabulary, unrelated)
            fresh = len(found.rows) - 1 - found.known
            told.vocabularies[vocabulary] = {"carried": found.known, "new": fresh, "gone": max(0, _gone(found))}
            if found.reason:
                told.left[vocabulary] = found.reason
        return maps[vocabulary]

    _tables(old, new, rows_of, told)
    state, known = new.state_dict(), old.state_dict()
    for name, tensor in state.items():
        if name.startswith((_STORES, *new.solved)):
            continue
        value, reason = _value(known.get(name), tensor, follows.get(name, {}), rows_of, before.schema)
        if value is None:
            told.left[name] = reason
        else:
            tensor.copy_(value)
            told.tensors.append(name)
    return told


def _gone(found: RowMap) -> int:
    return found.size - 1 - len(np.unique(found.rows[found.rows > 0]))


def _tables(old: Network, new: Network, rows_of: Callable[[str], RowMap], told: Carried) -> None:
    stores = {store.weight.shape[1]: store for store in old.embedding_stores()}
    for store in new.embedding_stores():
        width = store.weight.shape[1]
        for key in store.ranges:
            was = stores.get(width)
            if was is None or key not in was.ranges:
                told.left[f"{key} of width {width}"] = "the run has no embedding table of that vocabulary and width"
                continue
            found = rows_of(key.partition("#")[0])
            rows = np.where(found.rows < was.ranges[key][1], found.rows, 0)  # a table may be shorter than its vocabulary
            store.table(key).copy_(was.table(key)[torch.from_numpy(rows)])
            told.tensors.append(f"{key} of width {width}")


def _value(
    old: torch.Tensor | None,
    new: torch.Tensor,
    follows: Mapping[int, tuple[str, ...]],
    rows_of: Callable[[str], RowMap],
    schema: FeatureSchema,
) -> tuple[torch.Tensor | None, str]:
    """Return the value to give a tensor, or None and why there is none."""
    if old is None:
        return None, "the run has no tensor of that name"
    value = old
    for dimension, vocabularies in follows.items():
        placed = _placed(value, dimension, new.shape[dimension], vocabularies, rows_of) if value.dim() == new.dim() else None
        if placed is None:
            return None, f"dimension {dimension} has places of {', '.join(vocabularies)} that cannot be told apart"
        value = placed
    if value.shape != new.shape:
        return None, f"its shape was {list(old.shape)}, is {list(new.shape)}"
    return value, ""


def _placed(
    value: torch.Tensor, dimension: int, places: int, vocabularies: tuple[str, ...], rows_of: Callable[[str], RowMap]
) -> torch.Tensor | None:
    """Return a tensor with the places of one dimension where the rows of a vocabulary are now; None where they cannot be found."""
    found = rows_of(vocabularies[0])
    first = len(found.rows) - places  # 1 where the unknown row has no place
    if len(vocabularies) > 1 or first not in (0, 1) or value.shape[dimension] != found.size - first:
        return None
    rows = torch.from_numpy(found.rows[first:] - first)
    taken = value.index_select(dimension, rows.clamp(min=0))
    fresh = np.flatnonzero((found.rows[first:] == 0) & (np.arange(first, len(found.rows)) > 0))
    if not value.is_floating_point() or not len(fresh) or found.size < 2:
        return taken
    mean = value.narrow(dimension, 1 - first, found.size - 1).mean(dimension, keepdim=True)
    shape = [len(fresh) if d == dimension else -1 for d in range(value.dim())]
    return taken.index_copy(dimension, torch.from_numpy(fresh), mean.expand(shape))


def followed(new: Network, vocabularies: Collection[str], rebuilt: Callable[[Collection[str]], Network]) -> _Followed:
    """Return which dimensions of which tensors grow with which vocabularies; embedding tables and closed forms are left out.

    Args:
        rebuilt: Returns the network as it is where these vocabularies have one row more.
    """
    shapes = _shapes(new)
    if _shapes(rebuilt(vocabularies)) == shapes:
        return {}
    found: _Followed = {}
    for vocabulary in sorted(vocabularies):
        for name, shape in _shapes(rebuilt([vocabulary])).items():
            was = shapes.get(name, shape)
            for dimension in [d for d in range(len(shape)) if len(was) == len(shape) and was[d] != shape[d]]:
                known = found.setdefault(name, {})
                known[dimension] = (*known.get(dimension, ()), vocabulary)
    return found


def _shapes(network: Network) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in network.state_dict().items() if not name.startswith((_STORES, *network.solved))}


def grown(schema: FeatureSchema, vocabularies: Collection[str]) -> FeatureSchema:
    """Return a schema in which some vocabularies have one row more."""
    features = tuple(replace(one, size=one.size + 1) if one.vocabulary in vocabularies else one for one in schema.features)
    users, items = schema.users + ("user" in vocabularies), schema.items + ("item" in vocabularies)
    return replace(schema, features=features, users=users, items=items)
