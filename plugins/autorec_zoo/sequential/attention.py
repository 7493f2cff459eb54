"""Sequential retrievers with self-attention: SASRec."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.records.architecture import Architecture, Node
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.space import Choice, Float, Int
from autorec_zoo.sequential.common import Objective, history_of, objective

__all__ = ["SasRec"]


class SasRec:
    """Causal self-attention over the history; the last state is the user vector, item embeddings are shared with the input."""

    class Config(ComponentConfig):
        """Options."""

        item_num: int | None = Field(None, ge=1, description="Items of the catalogue; None = as many as the data has.")
        max_len: Annotated[int, Choice(20, 50, 100, 200)] = Field(50, description="Newest steps that are read.")
        num_heads: Annotated[int, Choice(1, 2, 4)] = Field(2, description="Attention heads.")
        num_layers: Annotated[int, Int(1, 3)] = Field(2, description="Attention layers.")
        hidden_size: Annotated[int, Choice(32, 48, 64, 96, 128)] = Field(64, description="Width of the model.")
        dropout_rate: Annotated[float, Float(0.0, 0.6)] = Field(0.2, description="Share of units dropped while training.")
        loss: Objective = Field("auto", description="Training objective; auto = full softmax, or sampled where that takes too long.")

    role: ClassVar[Literal["retriever", "ranker"]] = "retriever"
    tasks: ClassVar[tuple[str, ...]] = ("recommend",)

    def __init__(self, config: Config) -> None:
        self.config = config

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph.

        Raises:
            ContractError: The order of the events is unknown, or there is no history feature.
        """
        config, width = self.config, self.config.hidden_size
        source = history_of(features, "SASRec", config.item_num)
        history = {"columns": [source.name], "width": width, "length": config.max_len}
        encoder = {"layers": config.num_layers, "heads": config.num_heads, "dropout": config.dropout_rate}
        nodes = [
            Node("history", "@history", config=history),
            Node("placed", "blocks/positions", ("history",), {"max_length": config.max_len, "dropout": config.dropout_rate}),
            Node("states", "blocks/encoder", ("placed",), encoder),
            Node("user", "blocks/pool", ("states",), {"mode": "last"}),
            Node("items", "@table", config={"table": source.vocabulary, "width": width}),
            *objective(config.loss, "states", "items", features, width),
        ]
        return Architecture(tuple(nodes), {"user": "user", "item": "items"}, "sequence")
