"""What blueprints share: option types, the nodes that read features, the layers above them and the score at the end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Architecture, Node
from autorec_kernel.records.features import Feature, FeatureKind, FeatureSchema
from autorec_kernel.space import Choice, Float, Floats, Int, Ints

__all__ = [
    "Columns",
    "Ranker",
    "Rate",
    "Rates",
    "Share",
    "Size",
    "Units",
    "Width",
    "chosen",
    "field_nodes",
    "flat_nodes",
    "headed",
    "linear_nodes",
    "mlp",
    "named",
    "start_of",
    "summed",
    "target",
]

Columns = tuple[str, ...] | None  # names of features; None = all suitable ones of the schema
Size = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Units = Annotated[tuple[Size, ...], Ints(Int(16, 512, log=True), length=Int(1, 4))]  # one width a layer; empty = no layer
Rates = Annotated[tuple[Share, ...], Floats(Float(0.0, 0.6), length=Int(0, 4))]  # one a layer: the last repeats, empty = none
Rate = Annotated[float, Float(0.0, 0.6), Field(ge=0, lt=1)]
Width = Annotated[int, Choice(4, 8, 16, 32), Field(ge=1)]
Nodes = list[Node]
_MOST_FIELDS = 16  # numbers up to which each is a field of its own

_CATEGORICAL: tuple[FeatureKind, ...] = ("id", "bag")
_TABULAR: tuple[FeatureKind, ...] = ("id", "bag", "numeric")


class Ranker:
    """A blueprint that predicts the label of given rows."""

    role: ClassVar[Literal["retriever", "ranker"]] = "ranker"
    tasks: ClassVar[tuple[str, ...]] = ("rate", "click")

    def __init__(self, config: ComponentConfig) -> None:
        self.config: Any = config


def chosen(features: FeatureSchema, names: Columns, kinds: Sequence[FeatureKind] = _TABULAR, option: str = "features") -> list[Feature]:
    """Return the features that a feature-list option names, in its order; all of these kinds for None.

    Args:
        option: The option's name, for the error.

    Raises:
        ContractError: A named feature is of another kind or named twice, or there is none.
        UnknownNameError: There is no feature of that name.
    """
    found = list(features.of(*kinds)) if names is None else named(features, names, option)
    wrong = [feature.name for feature in found if feature.kind not in kinds]
    if wrong:
        raise ContractError(f"{option} takes {' or '.join(kinds)} features, and {wrong} are not: leave them out")
    if not found:
        raise ContractError(f"{option} needs at least one {' or '.join(kinds)} feature, and the feature set has none")
    return found


def named(features: FeatureSchema, names: Sequence[str], option: str) -> list[Feature]:
    """Return the features that a list names.

    Raises:
        ContractError: It names none, or one twice.
        UnknownNameError: There is no feature of a name.
    """
    twice = [name for place, name in enumerate(names) if name in names[:place]]
    if twice:
        raise ContractError(f"{option} names {twice[0]!r} twice")
    if not names:
        raise ContractError(f"{option} is an empty list", hint=f"leave {option} out for all features that suit")
    return [features[name] for name in names]


def field_nodes(
    features: FeatureSchema, width: int, names: Columns = None, *, least: int = 1, option: str = "features"
) -> tuple[Nodes, str]:
    """Return nodes whose last one, named in second place, yields FIELDS [A, F, width], one a feature: ids and bags, then numbers.

    Raises:
        ContractError: There are fewer than `least` suitable features.
    """
    picked = chosen(features, names, option=option)
    if len(picked) < least:
        raise ContractError(f"{option} needs at least {least} features that interact, and there is only {[f.name for f in picked]}")
    fields, numbers = _split(picked)
    nodes: Nodes = []
    if fields:
        nodes.append(Node("fields", "@fields", config={"columns": [f.name for f in fields], "width": width}))
    if numbers:
        config = {"width": width, "groups": [f.width for f in numbers] if names is not None else _groups(numbers)}
        nodes += [_numbers("numbers", numbers), Node("number_fields", "blocks/numeric-fields", ("numbers",), config)]
    if fields and numbers:
        nodes.append(Node("all_fields", "blocks/join-fields", ("fields", "number_fields")))
    return nodes, nodes[-1].id


def flat_nodes(features: FeatureSchema, width: int, names: Columns = None, *, option: str = "features") -> tuple[Nodes, str]:
    """Return nodes whose last one, named in second place, flattens to the embedded categories followed by the plain numbers.

    Raises:
        ContractError: There is no suitable feature.
    """
    fields, numbers = _split(chosen(features, names, option=option))
    nodes: Nodes = []
    if fields:
        nodes.append(Node("fields", "@fields", config={"columns": [f.name for f in fields], "width": width}))
    if numbers:
        nodes.append(_numbers("numbers", numbers))
    if fields and numbers:
        nodes.append(Node("flat", "blocks/concat", ("fields", "numbers")))
    return nodes, nodes[-1].id


def linear_nodes(
    features: FeatureSchema, names: Columns = None, *, beside: Sequence[Node] = (), option: str = "features"
) -> tuple[Nodes, tuple[str, ...]]:
    """Return the nodes of a first-order model and the names of its parts: VECTORs [A, 1] that are to be summed.

    Args:
        beside: Nodes that the graph has already; a source of the same numbers among them is read instead of a second one.

    Raises:
        ContractError: There is no suitable feature.
    """
    fields, numbers = _split(chosen(features, names, option=option))
    nodes: Nodes = []
    parts: list[str] = []
    if fields:
        first = Node("first", "@fields", config={"columns": [f.name for f in fields], "width": 1})
        nodes += [first, Node("wide", "blocks/sum-fields", ("first",))]
        parts.append("wide")
    if numbers:
        source = _numbers("wide_numbers", numbers)
        same = next((node.id for node in beside if node.block == "@numeric" and node.config == source.config), "")
        nodes += [] if same else [source]
        nodes.append(Node("slope", "blocks/linear", (same or source.id,), {"width": 1, "bias": False, "zero_start": True}))
        parts.append("slope")
    return nodes, tuple(parts)


def mlp(name: str, source: str, units: Sequence[int], rates: Sequence[float] = (), activation: str = "relu") -> Node:
    """Return a multi-layer perceptron with one dropout rate a layer (the last rate repeats, none = no dropout, more than layers go)."""
    return Node(name, "blocks/mlp", (source,), {"hidden_dims": list(units), "dropout": list(rates[: len(units)]), "activation": activation})


def target(features: FeatureSchema) -> tuple[str, str, float]:
    """Return the label, its link and where the offset starts.

    Raises:
        ContractError: The data has no label.
    """
    if not features.tasks:
        raise ContractError("a ranker predicts a label, and the data has none")
    label = next(iter(features.tasks))
    return label, features.tasks[label], start_of(features, label)


def start_of(features: FeatureSchema, label: str) -> float:
    """Return where the offset of a head starts: the mean label, as a logit for 0/1 labels."""
    mean = features.label_range[label][2]
    if features.tasks[label] != "logit":
        return mean
    share = min(max(mean, 1e-4), 1 - 1e-4)
    return math.log(share / (1 - share))


def headed(features: FeatureSchema, nodes: Sequence[Node], parts: Sequence[str]) -> Architecture:
    """Return the graph that predicts the label by one affine layer over all parts."""
    label, link, offset = target(features)
    head = Node("score", "blocks/head", tuple(parts), {"tasks": [label], "link": link, "offset": offset})
    return Architecture((*nodes, head), {label: "score"}, "row")


def summed(features: FeatureSchema, nodes: Sequence[Node], parts: Sequence[str]) -> Architecture:
    """Return the graph that predicts the label by the plain sum of its parts, each a VECTOR [A, 1], and an offset."""
    label, link, offset = target(features)
    score = Node("score", "blocks/sum-scores", tuple(parts), {"task": label, "link": link, "offset": offset})
    return Architecture((*nodes, score), {label: "score"}, "row")


def _numbers(name: str, numbers: Sequence[Feature]) -> Node:
    return Node(name, "@numeric", config={"columns": [f.name for f in numbers]})


def _split(features: Sequence[Feature]) -> tuple[list[Feature], list[Feature]]:
    """Return categories and numbers; many numbers by families, in the order of their first members."""
    fields, numbers = [f for f in features if f.kind in _CATEGORICAL], [f for f in features if f.kind == "numeric"]
    return fields, numbers if len(numbers) <= _MOST_FIELDS else [f for family in _families(numbers) for f in family]


def _families(numbers: Sequence[Feature]) -> list[list[Feature]]:
    """Return features of one name but for its last part (the windows of a count) together."""
    found: dict[str, list[Feature]] = {}
    for feature in numbers:
        found.setdefault(feature.name.rpartition(".")[0] or feature.name, []).append(feature)
    return list(found.values())


def _groups(numbers: Sequence[Feature]) -> list[int]:
    """Return how many neighbouring values make a field: a feature each, or, where there are many, a family or a few of them.

    The work of pairs grows with the square of the fields.
    """
    if len(numbers) <= _MOST_FIELDS:
        return [feature.width for feature in numbers]
    families = _families(numbers)
    share = -(-len(families) // _MOST_FIELDS)
    starts = range(0, len(families), share)
    return [sum(f.width for family in families[start : start + share] for f in family) for start in starts]
