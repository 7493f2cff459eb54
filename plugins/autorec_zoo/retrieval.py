"""Retrievers: matrix factorisation and SASRec."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Architecture, Node
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.space import Choice, Float, Int

__all__ = ["MatrixFactorization", "SasRec"]

_FULL_SOFTMAX_ITEMS = 4_000  # up to here a full softmax costs less than it gains over sampling


class MatrixFactorization:
    """score(u, i) = p_u · q_i, trained with BPR (Rendle et al. 2009) or a sampled softmax."""

    class Config(ComponentConfig):
        """Options."""

        embedding_dim: Annotated[int, Int(8, 128, log=True)] = Field(64, description="Factor dimension.")
        loss: Annotated[Literal["bpr", "softmax"], Choice("bpr", "softmax")] = Field("softmax", description="Training objective.")
        negatives: Annotated[int, Choice(1, 4, 16)] = Field(4, description="Negatives a pair (bpr).")

    role: ClassVar[Literal["retriever", "ranker"]] = "retriever"
    tasks: ClassVar[tuple[str, ...]] = ("recommend",)

    def __init__(self, config: Config) -> None:
        self.config = config

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph.

        Raises:
            ContractError: The data has no user or no item column.
        """
        if not (features.user and features.item):
            raise ContractError("matrix factorisation needs a user and an item column")
        width = self.config.embedding_dim
        nodes = [
            Node("user_field", "@fields", config={"columns": [features.user], "width": width}),
            Node("user", "blocks/sum-fields", ("user_field",)),
            Node("items", "@table", config={"table": features[features.item].vocabulary, "width": width}),
        ]
        if self.config.loss == "bpr":
            item = features[features.item].vocabulary
            nodes += [
                Node("chosen", "@target", config={"table": item, "width": width}),
                Node("others", "@negatives", config={"table": item, "width": width, "count": self.config.negatives}),
                Node("loss", "blocks/bpr-loss", ("user", "chosen", "others")),
            ]
        else:
            nodes += _softmax("user", features)
        return Architecture(tuple(nodes), {"user": "user", "item": "items"}, "row")


class SasRec:
    """Causal self-attention over the history; the last state is the user vector, item embeddings are shared with the input."""

    class Config(ComponentConfig):
        """Options."""

        embedding_dim: Annotated[int, Choice(32, 48, 64, 96, 128)] = Field(64, description="Width of the model.")
        layers: Annotated[int, Int(1, 3)] = Field(2, description="Attention layers.")
        heads: Annotated[int, Choice(1, 2, 4)] = Field(2, description="Attention heads.")
        max_length: Annotated[int, Choice(20, 50, 100, 200)] = Field(50, description="Newest steps that are read.")
        dropout: Annotated[float, Float(0.0, 0.6)] = Field(0.2, description="Share of units dropped while training.")

    role: ClassVar[Literal["retriever", "ranker"]] = "retriever"
    tasks: ClassVar[tuple[str, ...]] = ("recommend",)

    def __init__(self, config: Config) -> None:
        self.config = config

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph.

        Raises:
            ContractError: The order of the events is unknown, or there is no history feature.
        """
        histories = features.of("history")
        if not histories or not features.ordered:
            raise ContractError("SASRec reads an ordered history: it needs a time or position column and the history op")
        config, width = self.config, self.config.embedding_dim
        history = {"columns": [histories[0].name], "width": width, "length": config.max_length}
        encoder = {"layers": config.layers, "heads": config.heads, "dropout": config.dropout}
        nodes = [
            Node("history", "@history", config=history),
            Node("placed", "blocks/positions", ("history",), {"max_length": config.max_length, "dropout": config.dropout}),
            Node("states", "blocks/encoder", ("placed",), encoder),
            Node("user", "blocks/pool", ("states",), {"mode": "last"}),
            Node("items", "@table", config={"table": histories[0].vocabulary, "width": width}),
            *_softmax("states", features),
        ]
        return Architecture(tuple(nodes), {"user": "user", "item": "items"}, "sequence")


def _softmax(states: str, features: FeatureSchema) -> list[Node]:
    target = Node("target", "@target", config={"index": True})
    if features.items <= _FULL_SOFTMAX_ITEMS:
        return [target, Node("loss", "blocks/softmax-loss", (states, "items", "target"))]
    drawn = Node("drawn", "@negatives", config={"index": True, "shared": True, "count": 1024})
    return [target, drawn, Node("loss", "blocks/sampled-softmax-loss", (states, "target", "items", "drawn"))]
