"""`Feature` and `FeatureSchema`: the model-ready columns that a feature set offers (no torch, no pandas)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from autorec_kernel.errors import UnknownNameError

__all__ = ["Depends", "Feature", "FeatureKind", "FeatureSchema"]

FeatureKind = Literal["id", "bag", "numeric", "history"]
Depends = Literal["row", "user", "item", "pair"]


@dataclass(frozen=True, slots=True)
class Feature:
    """One output of a feature op.

    Args:
        name: Unique in the feature set, e.g. `item_id`, `genres`, `user.count`.
        kind: id int64 [A] | bag int64 [A, W] padded with 0 | numeric float32 [A, width] | history int64 [A, L] padded with 0 on
            the right, oldest first. Row 0 of every vocabulary = unknown.
        depends: What the value is a function of.
        dynamic: True for a point-in-time value (an as-of table read at the row's clock), False for a static one.
        vocabulary: Name of the id space of id, bag and history values (`item`, `user`, `genres`); features that share it share rows.
        size: Rows of that vocabulary, row 0 included.
        width: Columns of a numeric value.
        family: Family of ops it comes from (`id`, `scale`, `bag`, `time`, `aggregate`, `history`): what a feature gene switches.
        op: Component id of the op.
    """

    name: str
    kind: FeatureKind
    depends: Depends
    dynamic: bool = False
    vocabulary: str = ""
    size: int = 0
    width: int = 1
    family: str = ""
    op: str = ""


@dataclass(frozen=True, slots=True)
class FeatureSchema:
    """All features of a feature set, the tasks it carries labels for, and the sizes of the two entity spaces (row 0 = unknown).

    Args:
        user: Name of the id feature of users, "" when the data has no user column.
        item: Name of the id feature of items, "" when the data has no item column.
        users, items: Rows of those vocabularies, row 0 included; `items` is the catalogue.
        tasks: Label name -> link of its prediction: logit (0/1 label) | value (number).
        label_range: Label name -> (low, high, mean) in the training part.
        implies: 0/1 label -> the other 0/1 labels that are 1 wherever it is 1 (a purchase implies its click); None = not looked at.
        shares: 0/1 label -> other 0/1 label -> mean of the first where it is known and the other is 1; None = not looked at.
        ranked: Features that a selector put in order of worth, best first: what the gene `features.share` cuts; None = not looked at.
    """

    features: tuple[Feature, ...] = ()
    user: str = ""
    item: str = ""
    users: int = 0
    items: int = 0
    tasks: Mapping[str, str] = None  # type: ignore[assignment]
    label_range: Mapping[str, tuple[float, float, float]] = None  # type: ignore[assignment]
    events: int = 0  # training rows
    ordered: bool = False  # whether the order inside a user is known (time or position)
    implies: Mapping[str, tuple[str, ...]] | None = None
    shares: Mapping[str, Mapping[str, float]] | None = None
    ranked: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "tasks", dict(self.tasks or {}))
        object.__setattr__(self, "label_range", {k: tuple(v) for k, v in (self.label_range or {}).items()})

        if self.implies is not None:
            object.__setattr__(self, "implies", {name: tuple(others) for name, others in self.implies.items()})
        if self.ranked is not None:
            object.__setattr__(self, "ranked", tuple(self.ranked))

    def __getitem__(self, name: str) -> Feature:
        for feature in self.features:
            if feature.name == name:
                return feature
        raise UnknownNameError("feature", name, [feature.name for feature in self.features])

    def of(self, *kinds: FeatureKind, depends: Iterable[Depends] = ("row", "user", "item", "pair")) -> tuple[Feature, ...]:
        """Return the features of these kinds that depend on one of `depends`, in order."""
        allowed = set(depends)
        return tuple(f for f in self.features if f.kind in kinds and f.depends in allowed)

    def without(self, families: Iterable[str]) -> FeatureSchema:
        """Return the schema with whole families switched off (what a feature gene does)."""
        dropped = set(families)
        return replace(self, features=tuple(f for f in self.features if f.family not in dropped))

    def only(self, names: Iterable[str]) -> FeatureSchema:
        """Return the schema with these features alone, in its own order; names it does not have are passed over."""
        kept = set(names)
        return replace(self, features=tuple(f for f in self.features if f.name in kept))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; what was not looked at is left out."""
        optional = ("implies", "shares", "ranked")
        return {name: value for name, value in asdict(self).items() if name not in optional or value is not None}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> FeatureSchema:
        """Read what `to_json` wrote."""
        return cls(**{**value, "features": tuple(Feature(**feature) for feature in value["features"])})
