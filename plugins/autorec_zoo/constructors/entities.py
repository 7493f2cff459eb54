"""What a network built from records knows of every user and item: their ids, and what the caller tells it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from autorec_kernel.errors import ContractError, DataError, UnknownNameError, UsageError
from autorec_kernel.models.entities import split_name
from autorec_kernel.models.sources import INTERACTIONS, OBSERVED

if TYPE_CHECKING:
    from autorec_kernel.models.entities import EntityInputs
    from autorec_kernel.records.features import Feature, FeatureSchema

__all__ = ["Given", "told"]

Side = Literal["user", "item"]
_KINDS = {"id": "iu", "bag": "iu", "numeric": "fiu"}


class Given:
    """Inputs of entities that were given by hand, in front of a place where the others are found.

    Args:
        schema: Names the columns and counts the entities.
        given: `@axis:feature` → one row an entity, row 0 = the unknown one.
        base: Where the others are; None = nowhere but for the ids, which are the rows themselves.
    """

    def __init__(self, schema: FeatureSchema, given: Mapping[str, np.ndarray], base: EntityInputs | None = None) -> None:
        self.schema, self.given, self.base = schema, dict(given), base

    def inputs(self, names: Iterable[str], rows: np.ndarray) -> dict[str, np.ndarray]:
        """Return `@axis:feature` → values of the entities int64 [A].

        Raises:
            ContractError: A feature was not given, and there is no other place.
        """
        found = {name: self.given[name][rows] for name in names if name in self.given}
        others = [name for name in names if name not in found]
        if self.base is not None:
            return {**self.base.inputs(others, rows), **found} if others else found
        ids = {f"@user:{self.schema.user}", f"@item:{self.schema.item}"}
        unknown = [name for name in others if name not in ids]
        if unknown:
            raise ContractError(f"the network reads {unknown} of every entity, and it was built without data", hint=self._hint(unknown[0]))
        return {**found, **{name: np.asarray(rows, np.int64) for name in others}}

    def _hint(self, name: str) -> str:
        axis, feature = split_name(name)
        feature = INTERACTIONS if feature == OBSERVED else feature
        count = self.schema.users if axis == "user" else self.schema.items
        rows = f"one row for each {axis}, {count} with the unknown one in front"
        return f"give it with network.attach({axis}s={{{feature!r}: …}}), {rows}, or build the network with schema=<FeatureSet>"


def told(schema: FeatureSchema, axis: Side, values: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return `@axis:feature` → array, for what the caller gives of every user or item.

    Args:
        values: Feature → tensor or array: id int64 [N], bag int64 [N, W], numeric float32 [N] or [N, width]; `@interactions` float32
            [N, M], the label of each pair, NaN = no event. N and M count the unknown entity in front, row 0.

    Raises:
        UnknownNameError: There is no such feature of this side.
        UsageError: An array has another shape or type.
        DataError: An id is out of range.
    """
    able = {feature.name: feature for feature in schema.of("id", "bag", "numeric", depends=(axis,))}
    found: dict[str, np.ndarray] = {}
    for name, value in values.items():
        array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
        if name == INTERACTIONS:
            known = ~np.isnan(_dense(schema, axis, array))
            found[f"@{axis}:{INTERACTIONS}"] = np.where(known, array, 0).astype(np.float32)
            found[f"@{axis}:{OBSERVED}"] = known.astype(np.float32)
        elif name not in able:
            raise UnknownNameError(f"feature of the {axis}", name, [*able, INTERACTIONS])
        else:
            found[f"@{axis}:{name}"] = _column(able[name], array, schema.users if axis == "user" else schema.items, axis)
    return found


def _dense(schema: FeatureSchema, axis: Side, array: np.ndarray) -> np.ndarray:
    shape = (schema.users, schema.items) if axis == "user" else (schema.items, schema.users)
    if array.shape != shape or array.dtype.kind not in "fiu":
        raise UsageError(f"{INTERACTIONS!r} of {axis}s must be numbers {list(shape)}, row and column 0 unknown; got {list(array.shape)}")
    return array.astype(np.float32)


def _column(feature: Feature, array: np.ndarray, count: int, axis: Side) -> np.ndarray:
    shapes = {"id": (count,), "bag": (count, "W"), "numeric": (count, feature.width)}[feature.kind]
    if feature.kind == "numeric" and array.shape == (count,) and feature.width == 1:
        array = array[:, None]
    fits = array.ndim == len(shapes) and all(own in (one, "W") or one == "W" for own, one in zip(array.shape, shapes, strict=True))
    if not fits or array.dtype.kind not in _KINDS[feature.kind]:
        wanted = f"{'numbers' if feature.kind == 'numeric' else 'whole numbers'} [{', '.join(map(str, shapes))}]"
        what = f"{feature.name!r} of {axis}s must be {wanted}, one row for each and the unknown one in front, row 0"
        raise UsageError(f"{what}; got {array.dtype} {list(array.shape)}")
    if feature.kind == "numeric":
        return array.astype(np.float32)
    if array.size and not (array.min() >= 0 and array.max() < feature.size):
        wrong = array[(array < 0) | (array >= feature.size)][0]
        raise DataError(f"{feature.name!r} of {axis}s holds {wrong}: its values run from 0 (unknown) to {feature.size - 1}")
    return array.astype(np.int64)
