"""What towers are made of: the features of one side, the layers above them, and losses on labels beside the main one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Node
from autorec_kernel.records.features import Feature, FeatureSchema
from autorec_zoo.parts import Columns, mlp, named, start_of

__all__ = ["TaskTypes", "in_batch", "label_losses", "read", "side_features", "tower", "varied"]

TaskTypes = tuple[Literal["classification", "regression"], ...] | None  # one a task; None = as the labels are
_LINKS = {"classification": "logit", "regression": "value"}


def side_features(features: FeatureSchema, names: Columns, side: Literal["user", "item"], option: str) -> list[Feature]:
    """Return the features that a tower reads: the named ones, or all that depend on this side alone, running totals left out.

    A total (a user's or an item's events so far) is read as it was at each training row, but at its last and largest value for serving:
    towers that read it rank worse than without (measured on ml-100k: NDCG@10 0.039 instead of 0.097).

    Raises:
        ContractError: A named feature depends on something else or is named twice, or there is none.
        UnknownNameError: There is no feature of that name.
    """
    suited = features.of("id", "bag", "numeric", "history", depends=(side,))
    steady = [feature for feature in suited if feature.kind == "history" or not feature.dynamic]
    found = steady if names is None else named(features, names, option)
    wrong = [feature.name for feature in found if feature.depends != side]
    if wrong:
        raise ContractError(f"{option} takes features of the {side} alone, and {wrong} depend on more: leave them out")
    if not found:
        raise ContractError(f"{option} needs at least one feature of the {side}, and the feature set has none")
    return found


def read(name: str, features: Sequence[Feature], width: int, *, axis: str = "", length: int = 0) -> list[Node]:
    """Return nodes whose last one is the VECTOR of all these features: embeddings, numbers, and histories as the mean of their steps.

    Args:
        name: Prefix of the node ids.
        axis: `user` or `item` for one row an entity; "" = one a batch row.
        length: Newest steps of a history; 0 = all.
    """
    place = {"axis": axis} if axis else {}
    fields = [feature.name for feature in features if feature.kind in ("id", "bag")]
    numbers = [feature.name for feature in features if feature.kind == "numeric"]
    nodes: list[Node] = []
    parts: list[str] = []
    if fields:
        parts.append(f"{name}_fields")
        nodes.append(Node(parts[-1], "@fields", config={"columns": fields, "width": width, **place}))
    if numbers:
        parts.append(f"{name}_numbers")
        nodes.append(Node(parts[-1], "@numeric", config={"columns": numbers, **place}))
    for feature in (feature for feature in features if feature.kind == "history"):
        steps, table = f"{name}_history_of_{feature.name}", f"{name}_table_of_{feature.name}"
        parts.append(f"{name}_mean_of_{feature.name}")
        nodes += [
            Node(steps, "@history", config={"columns": [feature.name], "index": True, "length": length}),
            Node(table, "@table", config={"table": feature.vocabulary, "width": width}),
            Node(parts[-1], "blocks/bag", (steps, table)),
        ]
    return [*nodes, Node(f"{name}_all", "blocks/concat", tuple(parts))]


def tower(name: str, features: Sequence[Feature], config: Any, *, axis: str = "", shares: str = "", length: int = 0) -> list[Node]:
    """Return the nodes of a tower; the last one, `name`, is the final vector.

    Args:
        config: Gives `field_dim`, `hidden_units`, `dropout_rates`, `embedding_dim`, `cosine`, and `temperature`, which divides the
            vectors of users.
        shares: Name of the tower whose layers this one uses.
    """
    inputs = read(name, features, config.field_dim, axis=axis, length=length)
    deep = mlp(f"{name}_deep", inputs[-1].id, config.hidden_units, config.dropout_rates)
    final = f"{name}_final" if config.cosine else name
    last = Node(final, "blocks/linear", (deep.id,), {"width": config.embedding_dim})
    if shares:
        other = f"{shares}_final" if config.cosine else shares
        deep = Node(deep.id, deep.block, deep.inputs, deep.config, f"{shares}_deep")
        last = Node(last.id, last.block, last.inputs, last.config, other)
    nodes = [*inputs, deep, last]
    if config.cosine:
        temperature = config.temperature if name == "user" else 1.0
        nodes.append(Node(name, "blocks/normalise", (final,), {"temperature": temperature}))
    return nodes


def in_batch(features: FeatureSchema) -> list[Node]:
    """Return the nodes of the softmax over the batch's items between the vectors `user` and `chosen`."""
    return [
        Node("target", "@target", config={"index": True}),
        Node("counts", "blocks/item-counts", (), {"rows": features.items}),
        Node("loss", "blocks/in-batch-softmax-loss", ("user", "chosen", "target", "counts")),
    ]


def varied(features: FeatureSchema) -> list[str]:
    """Return the labels that are not the same on all training rows."""
    return [label for label in features.tasks if features.label_range[label][0] < features.label_range[label][1]]


def label_losses(features: FeatureSchema, count: int | None, types: TaskTypes, source: str, weight: float) -> list[Node]:
    """Return one head and one loss a label, above the VECTOR `source`; they exist in training only.

    A label that is the same on all training rows (that of events which are all positives) teaches nothing and is left out. The graph is
    fed all training rows, with a target or not, so `source` must be made of the row's own item, not of `@target`, which is 0 on the others.

    Args:
        count: Number of labels, in the schema's order; None = all that differ between rows.
        types: Which loss each one has; None = the one that the schema says.
        weight: Factor of each loss.

    Raises:
        ContractError: There are fewer labels, another number of types, or a classification of a label that is not between 0 and 1.
    """
    able = varied(features)
    labels = able[: len(able) if count is None else count]
    if count is not None and len(labels) < count:
        raise ContractError(
            f"num_tasks is {count}, and the labels that differ between rows are {labels}: name more label columns, or ask for fewer"
        )
    if types is not None and len(types) != len(labels):
        raise ContractError(f"task_types names {len(types)} tasks, and there are {len(labels)}: {labels}")
    nodes: list[Node] = []
    for place, label in enumerate(labels):
        link = features.tasks[label] if types is None else _LINKS[types[place]]
        low, high, mean = features.label_range[label]
        if link == "logit" and (low < 0 or high > 1):
            raise ContractError(f"label {label!r} runs from {low:g} to {high:g}: a classification needs 0 and 1; use regression")
        offset = start_of(features, label) if link == features.tasks[label] else mean
        nodes += [
            Node(f"task_{place}", "blocks/head", (source,), {"tasks": [label], "link": link, "offset": offset}),
            Node(f"label_{place}", "@labels", config={"task": label}),
            Node(f"loss_{place}", "blocks/pointwise-loss", (f"task_{place}", f"label_{place}"), {"weight": weight}),
        ]
    return nodes
