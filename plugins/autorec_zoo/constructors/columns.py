"""Records that describe columns without any data, and the `FeatureSchema` they make."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from autorec_kernel.errors import UsageError
from autorec_kernel.records.features import Depends, Feature, FeatureSchema

__all__ = ["Bag", "Column", "Field", "History", "Labels", "Numeric", "schema_of"]

Side = Literal["", "row", "user", "item", "pair"]
Labels = str | Sequence[str] | Mapping[str, str | tuple[float, float]]
_LINKS = {"classification": "logit", "regression": "value"}
_USERS, _ITEMS = ("user_id", "user", "uid"), ("item_id", "item", "iid")
_SIDES = ("", "row", "user", "item", "pair")
_STARS = (1.0, 5.0)  # range of a regression label unless one is given


@dataclass(frozen=True, slots=True)
class Field:
    """A column of categories.

    Args:
        name: Name of the column and of the model's input.
        size: Number of categories; ids run from 1 to `size`, and 0 is the unknown one.
        vocabulary: Space of its ids; columns that share it share embeddings. "" = the column's own name.
        of: What the value belongs to: "user", "item", "row" or "pair"; "" = the side of the list it stands in, else the row.
    """

    name: str
    size: int
    vocabulary: str = ""
    of: Side = ""

    def __post_init__(self) -> None:
        _demand(self, "size", self.size)
        _demand_side(self, self.of)


@dataclass(frozen=True, slots=True)
class Bag(Field):
    """A column of several categories a row, such as genres; its arguments are those of `Field`, and padding is 0."""


@dataclass(frozen=True, slots=True)
class Numeric:
    """A column of numbers.

    Args:
        name: Name of the column and of the model's input.
        width: Numbers a row.
        of: As of `Field`.
    """

    name: str
    width: int = 1
    of: Side = ""

    def __post_init__(self) -> None:
        _demand(self, "width", self.width)
        _demand_side(self, self.of)


@dataclass(frozen=True, slots=True)
class History:
    """A column of what a user chose before, oldest first, padded with 0 on the right.

    Args:
        name: Name of the column and of the model's input.
        item: Vocabulary of its entries: the name of the item column.
        size: Number of items; ids run from 1 to `size`.
    """

    name: str
    item: str
    size: int

    def __post_init__(self) -> None:
        _demand(self, "size", self.size)


Column = Field | Bag | Numeric | History


def _demand(column: Column, option: str, value: Any) -> None:
    """Demand a count.

    Raises:
        UsageError: It is no whole number of at least 1.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__") or int(value) < 1:
        where = f"{type(column).__name__}({column.name!r})"
        raise UsageError(
            f"{where}: {option} must be a whole number of at least 1, got {value!r}", hint=f"give {option}=<how many there are>"
        )


def _demand_side(column: Column, of: str) -> None:
    if of not in _SIDES:
        raise UsageError(
            f"{type(column).__name__}({column.name!r}): of is {of!r}", hint='give of="user", "item", "row" or "pair", or leave it out'
        )


def schema_of(columns: Iterable[tuple[Column, str]], labels: Labels, item_num: int | None = None) -> FeatureSchema:
    """Return the schema of some columns, each with the side its list stands for ("user", "item" or "").

    The item column is the one that histories hold, else the one called item_id or item; the user column is called user_id, user or uid,
    else it is the only id that belongs to users. With
    `item_num` and no item column there is one called `item_id`, and a history of it where none is given.

    Raises:
        UsageError: Two columns of one name differ, or one vocabulary has two sizes.
    """
    features: dict[str, Feature] = {}
    for column, side in columns:
        feature = _feature(column, side)
        if features.setdefault(feature.name, feature) != feature:
            raise UsageError(f"column {feature.name!r} is described in two ways: {features[feature.name]} and {feature}")
    if item_num is not None:
        _add_items(features, item_num)
    _demand_one_size(features.values())
    user, item = _entity(features, _USERS, set()), _entity(features, _ITEMS, {f.vocabulary for f in features.values() if _is_history(f)})
    of_users = [feature.name for feature in features.values() if feature.kind == "id" and feature.depends == "user"]
    user = user or (of_users[0] if len(of_users) == 1 else "")
    links, ranges = _labels(labels)
    users, items = (features[name].size if name else 0 for name in (user, item))
    return FeatureSchema(tuple(features.values()), user, item, users, items, links, ranges, ordered=True)


def _feature(column: Column, side: str) -> Feature:
    if isinstance(column, History):
        return Feature(column.name, "history", "user", True, column.item, column.size + 1, family="history")
    belongs: Depends = column.of or side or "row"  # type: ignore[assignment]
    if isinstance(column, Numeric):
        return Feature(column.name, "numeric", belongs, width=column.width)
    kind: Literal["bag", "id"] = "bag" if isinstance(column, Bag) else "id"
    if column.name in (*_USERS, *_ITEMS) and not (column.of or side):
        belongs = "user" if column.name in _USERS else "item"
    return Feature(column.name, kind, belongs, vocabulary=column.vocabulary or column.name, size=column.size + 1)


def _is_history(feature: Feature) -> bool:
    return feature.kind == "history"


def _add_items(features: dict[str, Feature], item_num: int) -> None:
    histories = [feature for feature in features.values() if _is_history(feature)]
    vocabulary = histories[0].vocabulary if histories else _entity(features, _ITEMS, set()) or "item_id"
    if not any(feature.kind == "id" and feature.vocabulary == vocabulary for feature in features.values()):
        features[vocabulary] = Feature(vocabulary, "id", "item", vocabulary=vocabulary, size=item_num + 1)
    if not histories:
        features["history"] = Feature("history", "history", "user", True, vocabulary, item_num + 1, family="history")


def _entity(features: Mapping[str, Feature], names: Sequence[str], vocabularies: set[str]) -> str:
    ids = [feature for feature in features.values() if feature.kind == "id"]
    held = [feature.name for feature in ids if feature.vocabulary in vocabularies]
    return next(iter([*held, *(name for name in names for feature in ids if feature.name == name)]), "")


def _demand_one_size(features: Iterable[Feature]) -> None:
    sizes: dict[str, Feature] = {}
    for feature in features:
        first = sizes.setdefault(feature.vocabulary, feature) if feature.vocabulary else feature
        if first.size != feature.size:
            told = f"{first.name!r} has {first.size - 1} values and {feature.name!r} {feature.size - 1}"
            raise UsageError(f"columns that share the vocabulary {feature.vocabulary!r} must be of one size: {told}")


def _labels(labels: Labels) -> tuple[dict[str, str], dict[str, tuple[float, float, float]]]:
    """Return label → link and label → (low, high, mean)."""
    named: Mapping[str, Any] = labels if isinstance(labels, Mapping) else dict.fromkeys([labels] if isinstance(labels, str) else labels, "")
    links: dict[str, str] = {}
    ranges: dict[str, tuple[float, float, float]] = {}
    for name, kind in named.items():
        if isinstance(kind, str) and kind not in ("", *_LINKS):
            raise UsageError(f"label {name!r} is a {kind!r}; expected classification, regression or a pair (low, high)")
        number = not isinstance(kind, str)
        links[name] = "value" if number else _LINKS.get(kind, "logit")
        low, high = (float(end) for end in kind) if number else (_STARS if links[name] == "value" else (0.0, 1.0))
        ranges[name] = (low, high, (low + high) / 2)
    return links, ranges
