"""Baseline rankers: user and item deviations, and a linear model on all features."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Architecture, Node
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.space import Float

__all__ = ["Bias", "LogisticRegression"]


class Bias:
    """Mean label + user deviation + item deviation, both shrunken (Koren 2010): the model that rating predictors must beat."""

    class Config(ComponentConfig):
        """Options."""

        item_shrinkage: Annotated[float, Float(0.1, 100.0, log=True)] = Field(
            5.0, ge=0, le=1e6, description="Ratings that pull an item to the mean."
        )
        user_shrinkage: Annotated[float, Float(0.1, 100.0, log=True)] = Field(
            5.0, ge=0, le=1e6, description="Ratings that pull a user to the mean."
        )

    role: ClassVar[Literal["retriever", "ranker"]] = "ranker"
    tasks: ClassVar[tuple[str, ...]] = ("rate",)

    def __init__(self, config: Config) -> None:
        self.config = config

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph.

        Raises:
            ContractError: The data has no user or no item column.
        """
        if not (features.user and features.item and features.tasks):
            raise ContractError("the bias model needs a user, an item and a label column")
        label = next(iter(features.tasks))
        shrinkage = {"item_shrinkage": self.config.item_shrinkage, "user_shrinkage": self.config.user_shrinkage}
        nodes: list[Node] = []
        for side, column, rows in (("user", features.user, features.users), ("item", features.item, features.items)):
            nodes += [
                Node(f"{side}_row", "@fields", config={"columns": [column], "index": True}),
                Node(f"{side}_table", "blocks/bias-table", (), {"side": side, "rows": rows, **shrinkage}),
                Node(f"{side}_bias", "blocks/lookup", (f"{side}_table", f"{side}_row")),
            ]
        mean = features.label_range[label][2]
        config = {"task": label, "link": "value", "offset": mean, "learned": False}
        score = Node("score", "blocks/sum-scores", ("user_bias", "item_bias"), config)
        return Architecture((*nodes, score), {label: "score"}, "row")


class LogisticRegression:
    """A weight for every category and every number, and nothing else (linear regression when the label is a value).

    Several labels have a model each, with weights of its own.
    """

    class Config(ComponentConfig):
        """No options."""

    role: ClassVar[Literal["retriever", "ranker"]] = "ranker"
    tasks: ClassVar[tuple[str, ...]] = ("click", "rate")

    def __init__(self, config: Config) -> None:
        self.config = config

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph.

        Raises:
            ContractError: There is no label or no feature.
        """
        if not features.tasks:
            raise ContractError("a linear model predicts a label, and the data has none")
        if not features.of("id", "bag", "numeric"):
            raise ContractError("a linear model needs at least one feature")
        nodes = [node for number, label in enumerate(features.tasks) for node in _linear(features, label, number)]
        outputs = {label: f"score{_mark(number)}" for number, label in enumerate(features.tasks)}
        return Architecture(tuple(nodes), outputs, "row")


def _mark(number: int) -> str:
    return f"_{number}" if number else ""


def _linear(features: FeatureSchema, label: str, number: int) -> list[Node]:
    """Return the linear model of one label; the weights of further labels are tables of their own."""
    mark, nodes, parts = _mark(number), list[Node](), list[str]()
    fields, numbers = features.of("id", "bag"), features.of("numeric")
    if fields:
        columns = {"columns": [f.name for f in fields], "width": 1} | ({"tag": str(number)} if number else {})
        nodes += [Node(f"fields{mark}", "@fields", config=columns), Node(f"wide{mark}", "blocks/sum-fields", (f"fields{mark}",))]
        parts.append(f"wide{mark}")
    if numbers:
        slope = {"width": 1, "bias": False, "zero_start": True}
        nodes += [
            Node(f"numbers{mark}", "@numeric", config={"columns": [f.name for f in numbers]}),
            Node(f"slope{mark}", "blocks/linear", (f"numbers{mark}",), slope),
        ]
        parts.append(f"slope{mark}")
    config = {"task": label, "link": features.tasks[label], "offset": start_of(features, label)}
    return [*nodes, Node(f"score{mark}", "blocks/sum-scores", tuple(parts), config)]


def start_of(features: FeatureSchema, label: str) -> float:
    """Return where the offset of a head starts: the mean label, as a logit for 0/1 labels."""
    mean = features.label_range[label][2]
    if features.tasks[label] != "logit":
        return mean
    share = min(max(mean, 1e-4), 1 - 1e-4)
    return math.log(share / (1 - share))
