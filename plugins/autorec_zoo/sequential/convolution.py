"""Sequential retrievers with convolution: NextItNet."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.records.architecture import Architecture, Node
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.space import Choice, Float, Int
from autorec_zoo.sequential.common import Objective, history_of, objective

__all__ = ["NextItNet"]


class NextItNet:
    """Dilated causal convolution over the history; every step predicts the next one (Yuan et al. 2019)."""

    class Config(ComponentConfig):
        """Options."""

        item_num: int | None = Field(None, ge=1, description="Items of the catalogue; None = as many as the data has.")
        max_len: Annotated[int, Choice(20, 50, 100, 200), Field(ge=1)] = Field(50, description="Newest steps that are read.")
        kernel_size: Annotated[int, Int(2, 5), Field(ge=1)] = Field(3, description="Steps that one convolution reads.")
        num_layers: Annotated[int, Int(1, 4), Field(ge=1)] = Field(3, description="Residual layers; the gap doubles with each.")
        embedding_dim: Annotated[int, Choice(32, 48, 64, 96, 128), Field(ge=1)] = Field(64, description="Width of the model.")
        dropout_rate: Annotated[float, Float(0.0, 0.6), Field(ge=0, lt=1)] = Field(
            0.2, description="Share of units dropped while training."
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
        config, width = self.config, self.config.embedding_dim
        source = history_of(features, "NextItNet", config.item_num)
        layers = {"layers": config.num_layers, "kernel": config.kernel_size, "dropout": config.dropout_rate}
        nodes = [
            Node("history", "@history", config={"columns": [source.name], "width": width, "length": config.max_len}),
            Node("states", "blocks/dilated-convolution", ("history",), layers),
            Node("user", "blocks/pool", ("states",), {"mode": "last"}),
            Node("items", "@table", config={"table": source.vocabulary, "width": width}),
            *objective(config.loss, "states", "items", features, width),
        ]
        return Architecture(tuple(nodes), {"user": "user", "item": "items"}, "sequence")
