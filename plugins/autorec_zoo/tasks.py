"""What rankers of several labels share: which labels there are, a head for each, and how their losses are put together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Architecture, Node
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.space import Choice
from autorec_zoo.parts import start_of

__all__ = ["Balance", "TaskType", "TaskTypes", "chain", "finished", "heads", "tasks_of"]

TaskType = Literal["classification", "regression"]
TaskTypes = tuple[TaskType, ...] | None
Balance = Annotated[Literal["none", "uncertainty"], Choice("none", "uncertainty")]

_TYPES: dict[str, TaskType] = {"logit": "classification", "probability": "classification", "value": "regression"}


def tasks_of(features: FeatureSchema, count: int | None, types: TaskTypes) -> dict[str, TaskType]:
    """Return label → classification (0 and 1) or regression (a number), the primary label first.

    Args:
        count, types: What the options say; None = whatever the data has.

    Raises:
        ContractError: There is one label only, or the options say otherwise than the data.
    """
    found = {name: _TYPES[link] for name, link in features.tasks.items()}
    if len(found) < 2:
        raise ContractError(f"several labels are needed, and the data has {len(found)}; name them: --role COLUMN=label for each")
    if count is not None and count != len(found):
        raise ContractError(f"num_tasks is {count}, and the data has {len(found)} labels: {', '.join(found)}")
    if types is not None and tuple(types) != tuple(found.values()):
        told = ", ".join(f"{name} ({kind})" for name, kind in found.items())
        raise ContractError(f"task_types is {', '.join(types) or 'empty'}, and the labels of the data are {told}")
    return found


def chain(features: FeatureSchema, first: str, second: str) -> tuple[str, str]:
    """Return the labels of two events of which the second never comes without the first, such as click and conversion.

    Args:
        first, second: Their names, taken as they are said; "" for both = the first two labels, in the order that the data shows.

    Raises:
        ContractError: There are no such labels, one of them holds numbers, or the primary label is neither of the two.
    """
    labels, primary = features.tasks, next(iter(features.tasks), "")
    if bool(first) != bool(second) or len(labels) < 2:
        raise ContractError(f"a click and a conversion label are needed, both named or neither; the data has {', '.join(labels) or 'none'}")
    pair = (first, second) if first else _nested(features, *list(labels)[:2])
    wrong = [name for name in pair if labels.get(name) != "logit"]
    if wrong or first == second != "" or primary not in pair:
        raise ContractError(f"click and conversion must be two labels of 0 and 1, one of them {primary!r}; got {pair[0]!r} and {pair[1]!r}")
    return pair


def _nested(features: FeatureSchema, one: str, other: str) -> tuple[str, str]:
    """Return the two labels in the order in which the second implies the first; as they stand where nobody looked."""
    if features.implies is None or one in features.implies.get(other, ()):
        return one, other
    if other in features.implies.get(one, ()):
        return other, one
    raise ContractError(f"neither of {one!r} and {other!r} implies the other in this data, as a conversion implies its click")


def heads(features: FeatureSchema, ends: Mapping[str, tuple[str, str]], given: Mapping[str, str] | None = None) -> list[Node]:
    """Return a head for each entry of `ends`: name → (label, node it reads).

    Args:
        given: Name → label of an event without which the head's own cannot be: its offset starts at the share among those, whether
            rows without the event have a label of 0 or none. Where nobody looked, labels are taken to be known everywhere.
    """
    found = []
    for name, (label, source) in ends.items():
        start = start_of(features, label)
        if given and name in given:
            share = min(max(_share(features, label, given[name]), 1e-4), 1 - 1e-4)
            start = math.log(share / (1 - share))
        found.append(Node(name, "blocks/head", (source,), {"tasks": [label], "link": features.tasks[label], "offset": start}))
    return found


def _share(features: FeatureSchema, label: str, event: str) -> float:
    """Return the share of `label` = 1 among rows with the event."""
    joint = features.label_range[label][2] / max(features.label_range[event][2], 1e-4)
    return (features.shares or {}).get(label, {}).get(event, joint)


def finished(
    features: FeatureSchema,
    nodes: Sequence[Node],
    tasks: Mapping[str, TaskType],
    ends: Mapping[str, str],
    balance: str,
    entire_space: bool = False,
) -> Architecture:
    """Return the graph with a head for each task and the losses that differ from the tasks' default ones.

    Args:
        ends: Label → the node its head reads.
        balance: none = the tasks' losses added up; uncertainty = weighed by learned variances.
        entire_space: Whether the conversion label is predicted as that of a click and a conversion (Ma et al. 2018).
    """
    names = {label: f"score_{number}" for number, label in enumerate(tasks)}
    click, conversion = chain(features, "", "") if entire_space else ("", "")
    given = {names[conversion]: click} if entire_space else {}
    more = heads(features, {names[label]: (label, ends[label]) for label in tasks}, given)
    scores = dict(names)
    if entire_space:
        scores[conversion] = "joint_score"
        more.append(Node("joint_score", "blocks/multiply-scores", (names[click], names[conversion]), {"tasks": [conversion]}))
    if entire_space or balance == "uncertainty":
        more += _losses(scores, tasks, balance, (click, conversion))
    return Architecture((*nodes, *more), scores, "row")


def _losses(scores: Mapping[str, str], tasks: Mapping[str, TaskType], balance: str, pair: tuple[str, str]) -> list[Node]:
    """Return the losses; where the second label of `pair` is named, its scores are compared with both labels together."""
    labels = {label: f"label_{number}" for number, label in enumerate(tasks)}
    nodes = [Node(name, "@labels", config={"task": label}) for label, name in labels.items()]
    if pair[1]:
        nodes.append(Node("both", "blocks/joint-label", tuple(labels[label] for label in pair)))
        labels[pair[1]] = "both"
    losses = [Node(f"loss_{number}", "blocks/pointwise-loss", (scores[label], labels[label])) for number, label in enumerate(tasks)]
    if balance == "uncertainty":
        kinds = {"kinds": list(tasks.values())}
        return [*nodes, *losses, Node("loss", "blocks/uncertainty-weighting", tuple(loss.id for loss in losses), kinds)]
    return [*nodes, *losses]
