"""`Entities`: what the nodes on the user or the item axis read, for all users or items of a feature set or for some of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from autorec_kernel.models.sources import INTERACTIONS, OBSERVED

if TYPE_CHECKING:
    from autorec_kernel.features import FeatureSet
    from autorec_kernel.records.architecture import Axis
    from autorec_kernel.records.features import FeatureSchema
    from autorec_kernel.records.interactions import Interactions

__all__ = ["BlankEntities", "Entities", "EntityInputs", "split_name"]


class EntityInputs(Protocol):
    """Where a network finds the inputs of its entity axes."""

    def inputs(self, names: Iterable[str], rows: np.ndarray) -> dict[str, np.ndarray]:
        """Return `@axis:feature` → values of the entities int64 [A]."""
        ...


class Entities:
    """The users and items of a feature set, at the end of its training part."""

    def __init__(self, features: FeatureSet) -> None:
        self.features = features
        self._transposed: Interactions | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Entities:
        return self  # data, which copies of a network share

    def inputs(self, names: Iterable[str], rows: np.ndarray) -> dict[str, np.ndarray]:
        """Return `@axis:feature` → values; `@axis:@interactions` float32 [A, M], 0 = no event, and `@axis:@observed`, 1 = an event."""
        found = {}
        for name in names:
            axis, feature = split_name(name)
            if feature in (INTERACTIONS, OBSERVED):
                found[name] = self._dense(axis, rows, observed=feature == OBSERVED)
            else:
                given = {"users": rows} if axis == "user" else {"items": rows}
                found[name] = self.features.state().inputs([feature], **given)[feature]  # type: ignore[arg-type]
        return found

    def _dense(self, axis: str, rows: np.ndarray, *, observed: bool) -> np.ndarray:
        """Return float32 [A, M], labels or ones where there is one; of several events of a pair the newest counts."""
        events = self.features.interactions if axis == "user" else self._by_item()
        counts = np.diff(events.offsets)[rows]
        starts = np.repeat(events.offsets[rows] - np.cumsum(counts) + counts, counts)
        at = starts + np.arange(counts.sum())
        dense = np.zeros((len(rows), events.item_count), np.float32)
        dense[np.repeat(np.arange(len(rows)), counts), events.items[at]] = 1.0 if observed else events.values[at]
        return dense

    def _by_item(self) -> Interactions:
        if self._transposed is None:
            self._transposed = self.features.interactions.transposed()
        return self._transposed


class BlankEntities:
    """Unknown entities in the shapes of a schema: what costs are estimated with."""

    def __init__(self, schema: FeatureSchema) -> None:
        self.schema = schema

    def inputs(self, names: Iterable[str], rows: np.ndarray) -> dict[str, np.ndarray]:
        """Return zeros."""
        found = {}
        for name in names:
            axis, feature = split_name(name)
            if feature in (INTERACTIONS, OBSERVED):
                found[name] = np.zeros((len(rows), self.schema.items if axis == "user" else self.schema.users), np.float32)
                continue
            kind, width = self.schema[feature].kind, self.schema[feature].width
            shape = (len(rows),) if kind == "id" else (len(rows), width)
            found[name] = np.zeros(shape, np.float32 if kind == "numeric" else np.int64)
        return found


def split_name(name: str) -> tuple[Axis, str]:
    """Return (axis, feature) of `@axis:feature`."""
    axis, _, feature = name[1:].partition(":")
    return axis, feature  # type: ignore[return-value]
