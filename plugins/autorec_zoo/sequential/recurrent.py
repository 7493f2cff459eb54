"""Sequential retrievers with a recurrent unit: GRU4Rec and NARM."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.records.architecture import Architecture, Node
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.space import Choice, Float, Int
from autorec_zoo.sequential.common import Objective, history_of, objective

__all__ = ["Gru4Rec", "Narm"]

_Hidden = Annotated[int, Int(16, 256, log=True), Field(ge=1)]
_Width = Annotated[int, Choice(32, 48, 64, 96, 128), Field(ge=1)]
_Dropout = Annotated[float, Float(0.0, 0.6), Field(ge=0, lt=1)]
_ITEM_NUM = "Items of the catalogue; None = as many as the data has."


class Gru4Rec:
    """A recurrent unit that reads a session item by item (Hidasi et al. 2016; losses of Hidasi and Karatzoglou 2018).

    Training walks through many sessions side by side: the state of each layer goes on from batch to batch and starts at zeros where a
    session begins. Layers are chained units, each with a state of its own. Serving reads the whole history at once.
    """

    class Config(ComponentConfig):
        """Options."""

        item_num: int | None = Field(None, ge=1, description=_ITEM_NUM)
        hidden_size: _Hidden = Field(64, description="Width of the recurrent state.")
        num_layers: Annotated[int, Int(1, 3), Field(ge=1)] = Field(1, description="Recurrent layers.")
        dropout_rate: _Dropout = Field(0.2, description="Share of a layer's input dropped while training.")
        embedding_dim: _Width = Field(64, description="Dimension of an item vector.")
        loss: Objective = Field("auto", description="Training objective; auto = full softmax, or sampled where that takes too long.")
        steps: int = Field(20, ge=1, description="Steps of each session in a batch; 1 = the paper's.")
        sample_power: float = Field(0.0, ge=0, le=1, description="Exponent of popularity that negatives are drawn by; 0 = all alike.")

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
        source = history_of(features, "GRU4Rec", config.item_num)
        history = {"columns": [source.name], "width": width, "steps": config.steps}
        nodes, states = [Node("history", "@history", config=history)], "history"
        unit = {"width": config.hidden_size, "dropout": config.dropout_rate}
        for layer in range(1, config.num_layers + 1):
            nodes.append(Node(f"states{layer}", "blocks/continued-gru", (states, f"~end{layer}"), unit))
            states = f"states{layer}"
            nodes.append(Node(f"end{layer}", "blocks/pool", (states,), {"mode": "last"}))
        nodes += [
            Node("answers", "blocks/project-steps", (states,), {"width": width, "bias": False}),
            Node("user", "blocks/pool", ("answers",), {"mode": "last"}),
            Node("items", "@table", config={"table": source.vocabulary, "width": width}),
            *objective(config.loss, "answers", "items", features, width, power=config.sample_power),
        ]
        return Architecture(tuple(nodes), {"user": "user", "item": "items"}, "session")


class Narm:
    """A recurrent state as the whole session and its attention to older states as the purpose (Li et al. 2017).

    score = embᵀ B [h_t; Σ_j α_tj h_j] (equation 11): the bias-free B is on the user's side, so that items need nothing but their vectors.
    """

    class Config(ComponentConfig):
        """Options."""

        item_num: int | None = Field(None, ge=1, description=_ITEM_NUM)
        hidden_size: _Hidden = Field(64, description="Width of the recurrent state.")
        attention_size: Annotated[int, Int(16, 128, log=True), Field(ge=1)] = Field(64, description="Hidden units of the attention score.")
        dropout_rate: _Dropout = Field(0.25, description="Share of units dropped while training, before and after the recurrent unit.")
        embedding_dim: _Width = Field(64, description="Dimension of an item vector.")
        max_len: Annotated[int, Choice(20, 50), Field(ge=1)] = Field(50, description="Newest steps that are read.")
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
        source = history_of(features, "NARM", config.item_num)
        nodes = [
            Node("history", "@history", config={"columns": [source.name], "width": width, "length": config.max_len}),
            Node("states", "blocks/gru", ("history",), {"width": config.hidden_size, "dropout": config.dropout_rate}),
            Node("purpose", "blocks/additive-attention", ("states",), {"width": config.attention_size}),
            Node("both", "blocks/join-steps", ("states", "purpose"), {"dropout": config.dropout_rate}),
            Node("answers", "blocks/project-steps", ("both",), {"width": width, "bias": False}),
            Node("user", "blocks/pool", ("answers",), {"mode": "last"}),
            Node("items", "@table", config={"table": source.vocabulary, "width": width}),
            *objective(config.loss, "answers", "items", features, width),
        ]
        return Architecture(tuple(nodes), {"user": "user", "item": "items"}, "sequence")
