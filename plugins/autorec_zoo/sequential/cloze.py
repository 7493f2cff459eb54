"""Sequential retrievers trained to fill in hidden steps: BERT4Rec."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.records.architecture import Architecture, Node
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.space import Choice, Float, Int
from autorec_zoo.sequential.common import Objective, history_of, objective

__all__ = ["Bert4Rec"]


class Bert4Rec:
    """Attention in both directions; steps hidden at random, and the one behind the newest, are to be found (Sun et al. 2019).

    In serving nothing is hidden: the state behind the newest step is the user vector.
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
        mask_rate: Annotated[float, Float(0.1, 0.6)] = Field(0.2, gt=0, lt=1, description="Share of steps hidden while training.")
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
        source = history_of(features, "BERT4Rec", config.item_num)
        history = {"columns": [source.name], "length": config.max_len}
        encoder = {"layers": config.num_layers, "heads": config.num_heads, "dropout": config.dropout_rate, "causal": False}
        target, *loss = objective(config.loss, "states", "items", features, width, target="answers")
        nodes = [
            Node("history", "@history", config={**history, "width": width}),
            Node("rows", "@history", config={**history, "index": True}),
            Node("drawn_steps", "blocks/draw-steps", ("rows",), {"share": config.mask_rate}),
            Node("hidden", "blocks/hide-steps", ("history", "rows", "drawn_steps")),
            Node("placed", "blocks/positions", ("hidden",), {"max_length": config.max_len + 1, "dropout": config.dropout_rate}),
            Node("states", "blocks/encoder", ("placed",), {**encoder, "expansion": 4.0}),
            Node("user", "blocks/pool", ("states",), {"mode": "last"}),
            Node("items", "@table", config={"table": source.vocabulary, "width": width}),
            target,
            Node("answers", "blocks/keep-steps", ("rows", "drawn_steps", "target")),
            *loss,
        ]
        return Architecture(tuple(nodes), {"user": "user", "item": "items"}, "sequence")
