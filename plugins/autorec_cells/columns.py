"""What a ranker's cell reads: embedded fields, the flat vector, the history and its candidate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from autorec_cells.draft import HISTORY, Draft, Value
from autorec_kernel.errors import ContractError
from autorec_kernel.records.features import Feature, FeatureSchema

__all__ = ["SOURCES", "Columns", "group_width"]

SOURCES = ("fields", "flat", HISTORY, "candidate")
_SMALL, _MEDIUM = 100, 10_000  # rows up to which a vocabulary is small, or medium
_MOST_FIELDS = 16  # numbers up to which each is a field of its own


def group_width(config: Any, size: int) -> int:
    """Return the embedding width of a vocabulary of so many rows."""
    group = "small" if size <= _SMALL else "medium" if size <= _MEDIUM else "large"
    return int(getattr(config, f"{group}_dim"))


class Columns:
    """The sources of a ranker's cell; one that the data lacks is replaced by the fields.

    Raises:
        ContractError: There is no category and no number.
    """

    def __init__(self, draft: Draft, features: FeatureSchema, config: Any) -> None:
        self._draft, self._schema, self._config = draft, features, config
        self._embedded, self._numbers = features.of("id", "bag"), _in_families(features.of("numeric"))
        if not self._embedded and not self._numbers:
            raise ContractError("a cell reads ids, bags or numbers, and the feature set has none")
        self._pair = _behaviour(features)
        self._made: dict[str, Value] = {}

    def __call__(self, name: str) -> Value:
        """Return the value of a source."""
        if name in (HISTORY, "candidate") and self._pair is None:
            name = "fields"
        makers: Mapping[str, Callable[[], Value]] = {
            "fields": self._fields,
            "flat": self._flat,
            HISTORY: self._history,
            "candidate": self._candidate,
        }
        if name not in self._made:
            self._made[name] = makers[name]()
        return self._made[name]

    def linear(self) -> list[Value]:
        """Return the parts of a first-order model, each a VECTOR [A, 1]: a weight for every category and every number."""
        parts = []
        if self._embedded:
            config = {"columns": [feature.name for feature in self._embedded], "width": 1}
            first = self._draft.source("first", "@fields", config, "fields", 1, len(self._embedded))
            parts.append(self._draft.add("blocks/sum-fields", [first], port="vector", width=1))
        if self._numbers:
            config = {"width": 1, "bias": False, "zero_start": True}
            parts.append(self._draft.add("blocks/linear", [self._numeric()], config, port="vector", width=1))
        return parts

    def _of_width(self) -> list[Value]:
        """Return the embedded fields, a set a width, in the order of the schema."""
        widths: dict[int, list[Feature]] = {}
        for feature in self._embedded:
            widths.setdefault(group_width(self._config, feature.size), []).append(feature)
        found = []
        for width, members in widths.items():
            name = "fields" if len(widths) == 1 else f"fields_{width}"
            config = {"columns": [feature.name for feature in members], "width": width}
            found.append(self._draft.source(name, "@fields", config, "fields", width, len(members)))
        return found

    def _numeric(self) -> Value:
        config = {"columns": [feature.name for feature in self._numbers]}
        return self._draft.source("numbers", "@numeric", config, "vector", sum(feature.width for feature in self._numbers))

    def _fields(self) -> Value:
        parts = self._of_width()
        width = max((part.width for part in parts), default=self._config.medium_dim)
        parts = [part if part.width == width else self._widened(part, width) for part in parts]
        if self._numbers:
            groups = _groups(self._numbers)
            config = {"width": width, "groups": groups}
            parts.append(
                self._draft.add("blocks/numeric-fields", [self._numeric()], config, port="fields", width=width, fields=len(groups))
            )
        count = sum(part.fields for part in parts)
        return parts[0] if len(parts) == 1 else self._draft.add("blocks/join-fields", parts, port="fields", width=width, fields=count)

    def _widened(self, part: Value, width: int) -> Value:
        config = {"width": width, "bias": False}
        return self._draft.add("blocks/project-fields", [part], config, port="fields", width=width, fields=part.fields)

    def _flat(self) -> Value:
        parts = [*self._of_width(), *([self._numeric()] if self._numbers else [])]
        if len(parts) == 1:
            return parts[0]
        return self._draft.add("blocks/concat", parts, port="vector", width=sum(part.flat for part in parts))

    def _history(self) -> Value:
        assert self._pair is not None
        history, width = self._pair[0], group_width(self._config, self._pair[0].size)
        config = {"columns": [history.name], "width": width, "length": self._config.length}
        return self._draft.source(HISTORY, "@history", config, "sequence", width)

    def _candidate(self) -> Value:
        assert self._pair is not None
        candidate, width = self._pair[1], group_width(self._config, self._pair[0].size)
        return self._draft.source("candidate", "@candidate", {"columns": [candidate.name], "width": width}, "vector", width)


def _behaviour(features: FeatureSchema) -> tuple[Feature, Feature] | None:
    """Return the first history with a known candidate (the row's own value of the same vocabulary), histories of items first."""
    histories = sorted(features.of("history"), key=lambda feature: feature.family == "attribute")
    for history in histories if features.ordered else ():
        fitting = [one for one in features.of("id", depends=("row", "item", "pair")) if one.vocabulary == history.vocabulary]
        if fitting:
            return history, next((one for one in fitting if one.name == features.item), fitting[0])
    return None


def _families(numbers: Sequence[Feature]) -> list[list[Feature]]:
    """Return features of one name but for its last part (the windows of a count) together."""
    found: dict[str, list[Feature]] = {}
    for feature in numbers:
        found.setdefault(feature.name.rpartition(".")[0] or feature.name, []).append(feature)
    return list(found.values())


def _in_families(numbers: Sequence[Feature]) -> list[Feature]:
    return list(numbers) if len(numbers) <= _MOST_FIELDS else [feature for family in _families(numbers) for feature in family]


def _groups(numbers: Sequence[Feature]) -> list[int]:
    """Return how many neighbouring values make a field: a feature each, or, where there are many, a family or a few of them."""
    if len(numbers) <= _MOST_FIELDS:
        return [feature.width for feature in numbers]
    families = _families(numbers)
    share = -(-len(families) // _MOST_FIELDS)
    starts = range(0, len(families), share)
    return [sum(feature.width for family in families[start : start + share] for feature in family) for start in starts]
