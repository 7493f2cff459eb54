"""Sequential retrievers with self-attention: SASRec and a transformer that sees distances."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.records.architecture import Architecture, Node
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.space import Choice, Float, Int
from autorec_zoo.sequential.common import Objective, history_of, objective

__all__ = ["SasRec", "Transformer"]


class SasRec:
    """Causal self-attention over the history; the last state is the user vector, item embeddings are shared with the input."""

    class Config(ComponentConfig):
        """Options."""

        item_num: int | None = Field(None, ge=1, description="Items of the catalogue; None = as many as the data has.")
        max_len: Annotated[int, Choice(20, 50, 100, 200), Field(ge=1)] = Field(50, description="Newest steps that are read.")
        num_heads: Annotated[int, Choice(1, 2, 4), Field(ge=1)] = Field(2, description="Attention heads.")
        num_layers: Annotated[int, Int(1, 3), Field(ge=1)] = Field(2, description="Attention layers.")
        hidden_size: Annotated[int, Choice(32, 48, 64, 96, 128), Field(ge=1)] = Field(64, description="Width of the model.")
        dropout_rate: Annotated[float, Float(0.0, 0.6), Field(ge=0, lt=1)] = Field(
            0.2, description="Share of units dropped while training."
        )
        loss: Objective = Field("auto", description="Training objective; auto = full softmax, or sampled where that takes too long.")
        attention_dropout: float = Field(0.0, ge=0, lt=1, description="Share of attention weights dropped while training; slow.")
        smoothing: float = Field(0.0, ge=0, lt=1, description="Share of the wanted distribution that all items have alike (softmax).")

    role: ClassVar[Literal["retriever", "ranker"]] = "retriever"
    tasks: ClassVar[tuple[str, ...]] = ("recommend",)

    def __init__(self, config: Config) -> None:
        self.config = config

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph.

        Raises:
            ContractError: The order of the events is unknown, there is no history feature, or `item_num` is wrong.
        """
        config, width = self.config, self.config.hidden_size
        source = history_of(features, "SASRec", config.item_num)
        history = {"columns": [source.name], "width": width, "length": config.max_len}
        encoder = {"layers": config.num_layers, "heads": config.num_heads, "dropout": config.dropout_rate}
        if config.attention_dropout:
            encoder["attention_dropout"] = config.attention_dropout
        nodes = [
            Node("history", "@history", config=history),
            Node("placed", "blocks/positions", ("history",), {"max_length": config.max_len, "dropout": config.dropout_rate}),
            Node("states", "blocks/encoder", ("placed",), encoder),
            Node("user", "blocks/pool", ("states",), {"mode": "last"}),
            Node("items", "@table", config={"table": source.vocabulary, "width": width}),
            *objective(config.loss, "states", "items", features, width, smoothing=config.smoothing),
        ]
        return Architecture(tuple(nodes), {"user": "user", "item": "items"}, "sequence")


class Transformer:
    """A causal transformer whose attention sees how far two steps are apart, instead of learned positions (Su et al. 2021).

    Wide feed-forward layers as in Vaswani et al. (2017); any length of history can be read, whatever length was trained on.
    """

    class Config(ComponentConfig):
        """Options."""

        item_num: int | None = Field(None, ge=1, description="Items of the catalogue; None = as many as the data has.")
        max_len: Annotated[int, Choice(20, 50, 100, 200), Field(ge=1)] = Field(50, description="Newest steps that are read.")
        num_heads: Annotated[int, Choice(1, 2, 4), Field(ge=1)] = Field(2, description="Attention heads.")
        num_layers: Annotated[int, Int(1, 3), Field(ge=1)] = Field(2, description="Attention layers.")
        hidden_size: Annotated[int, Choice(32, 48, 64, 96, 128), Field(ge=1)] = Field(64, description="Width of the model.")
        dropout_rate: Annotated[float, Float(0.0, 0.6), Field(ge=0, lt=1)] = Field(
            0.2, description="Share of units dropped while training."
        )
        expansion: Annotated[float, Choice(1.0, 2.0, 4.0)] = Field(
            4.0, gt=0, description="Width of a feed-forward layer over that of the model."
        )
        loss: Objective = Field("auto", description="Training objective; auto = full softmax, or sampled where that takes too long.")

    role: ClassVar[Literal["retriever", "ranker"]] = "retriever"
    tasks: ClassVar[tuple[str, ...]] = ("recommend",)

    def __init__(self, config: Config) -> None:
        self.config = config

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph.

        Raises:
            ContractError: The order of the events is unknown, there is no history feature, or `item_num` is wrong.
        """
        config, width = self.config, self.config.hidden_size
        source = history_of(features, "the transformer", config.item_num)
        encoder = {"layers": config.num_layers, "heads": config.num_heads, "dropout": config.dropout_rate, "rotary": True}
        nodes = [
            Node("history", "@history", config={"columns": [source.name], "width": width, "length": config.max_len}),
            Node("dropped", "blocks/join-steps", ("history",), {"dropout": config.dropout_rate}),
            Node("states", "blocks/encoder", ("dropped",), {**encoder, "expansion": config.expansion}),
            Node("user", "blocks/pool", ("states",), {"mode": "last"}),
            Node("items", "@table", config={"table": source.vocabulary, "width": width}),
            *objective(config.loss, "states", "items", features, width),
        ]
        return Architecture(tuple(nodes), {"user": "user", "item": "items"}, "sequence")
