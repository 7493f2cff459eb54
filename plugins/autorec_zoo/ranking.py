"""Rankers: DeepFM and DCN-V2."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Architecture, Node
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.space import Choice, Float, Int, Ints

__all__ = ["Dcnv2", "DeepFm"]

_Dims = Annotated[tuple[int, ...], Ints(Int(16, 512, log=True), length=Int(1, 3))]
_Width = Annotated[int, Choice(4, 8, 16, 32)]
_Dropout = Annotated[float, Float(0.0, 0.6)]


class _Ranker:
    role: ClassVar[Literal["retriever", "ranker"]] = "ranker"
    tasks: ClassVar[tuple[str, ...]] = ("rate", "click")


class DeepFm(_Ranker):
    """First-order terms + factorization machine + network; the machine and the network share embeddings (Guo et al. 2017)."""

    class Config(ComponentConfig):
        """Options."""

        embedding_dim: _Width = Field(16, description="Width of a field's embedding.")
        hidden_dims: _Dims = Field((128, 64), description="Layers of the network.")
        dropout: _Dropout = Field(0.2, description="Share of units dropped while training.")

    def __init__(self, config: Config) -> None:
        self.config = config

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph."""
        nodes, deep = _inputs(features, self.config.embedding_dim)
        nodes += [
            Node("first", "@fields", config={"columns": _field_names(features), "width": 1}),
            Node("linear", "blocks/sum-fields", ("first",)),
            Node("pairs", "blocks/fm", ("fields",)),
            Node("deep", "blocks/mlp", (deep,), {"hidden_dims": list(self.config.hidden_dims), "dropout": self.config.dropout}),
        ]
        nodes.append(Node("network", "blocks/linear", ("deep",), {"width": 1, "bias": False}))
        label, link, offset = _target(features)
        score = Node("score", "blocks/sum-scores", ("linear", "pairs", "network"), {"task": label, "link": link, "offset": offset})
        return Architecture((*nodes, score), {label: "score"}, "row")


class Dcnv2(_Ranker):
    """Cross network and deep network side by side (Wang et al. 2021, parallel form)."""

    class Config(ComponentConfig):
        """Options."""

        embedding_dim: _Width = Field(16, description="Width of a field's embedding.")
        cross_layers: Annotated[int, Int(1, 4)] = Field(2, description="Number of crosses.")
        hidden_dims: _Dims = Field((128, 64), description="Layers of the network.")
        dropout: _Dropout = Field(0.2, description="Share of units dropped while training.")

    def __init__(self, config: Config) -> None:
        self.config = config

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph."""
        nodes, flat = _inputs(features, self.config.embedding_dim)
        nodes += [
            Node("cross", "blocks/cross-network", (flat,), {"cross_layers": self.config.cross_layers}),
            Node("deep", "blocks/mlp", (flat,), {"hidden_dims": list(self.config.hidden_dims), "dropout": self.config.dropout}),
        ]
        return _ranker(features, nodes, ("cross", "deep"))


def _field_names(features: FeatureSchema) -> list[str]:
    return [feature.name for feature in features.of("id", "bag")]


def _inputs(features: FeatureSchema, width: int) -> tuple[list[Node], str]:
    """Return the source nodes and the name of the vector that joins them."""
    fields, numbers = _field_names(features), [feature.name for feature in features.of("numeric")]
    if not fields:
        raise ContractError("this ranker embeds categorical columns, and the feature set has none")
    nodes = [Node("fields", "@fields", config={"columns": fields, "width": width})]
    if not numbers:
        return nodes, "fields"
    nodes += [Node("numbers", "@numeric", config={"columns": numbers}), Node("flat", "blocks/concat", ("fields", "numbers"))]
    return nodes, "flat"


def _target(features: FeatureSchema) -> tuple[str, str, float]:
    """Return the label, its link and where the offset starts: the mean label on the scale of the scores."""
    if not features.tasks:
        raise ContractError("a ranker predicts a label, and the data has none")
    label = next(iter(features.tasks))
    link, mean = features.tasks[label], features.label_range[label][2]
    share = min(max(mean, 1e-4), 1 - 1e-4)
    return label, link, math.log(share / (1 - share)) if link == "logit" else mean


def _ranker(features: FeatureSchema, nodes: list[Node], parts: tuple[str, ...]) -> Architecture:
    label, link, offset = _target(features)
    head = Node("score", "blocks/head", parts, {"tasks": [label], "link": link, "offset": offset})
    return Architecture((*nodes, head), {label: "score"}, "row")
