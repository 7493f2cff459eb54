"""Sequential retrievers with a recurrent unit: GRU4Rec and NARM."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from autorec_kernel.records.architecture import Batching, Node
from autorec_kernel.records.features import Feature, FeatureSchema
from autorec_kernel.space import Choice, Int
from autorec_zoo.sequential.common import AUTO_LOSS, Dropout, Layers, Objective, Sequential, SequentialConfig, Width, catalogue, objective

__all__ = ["Gru4Rec", "Narm"]

_Hidden = Annotated[int, Int(16, 256, log=True), Field(ge=1)]


class Gru4Rec(Sequential):
    """A recurrent unit that reads a session item by item (Hidasi et al. 2016; losses of Hidasi and Karatzoglou 2018).

    Training walks through many sessions side by side: the state of each layer goes on from batch to batch and starts at zeros where a
    session begins. Layers are chained units, each with a state of its own. Serving reads the whole history at once.
    """

    name: ClassVar[str] = "GRU4Rec"
    batching: ClassVar[Batching] = "session"

    class Config(SequentialConfig):
        """Options."""

        hidden_size: _Hidden = Field(64, description="Width of the recurrent state.")
        num_layers: Layers = Field(1, description="Recurrent layers.")
        dropout_rate: Dropout = Field(0.2, description="Share of a layer's input dropped while training.")
        embedding_dim: Width = Field(64, description="Dimension of an item vector.")
        loss: Objective = Field("auto", description=AUTO_LOSS)
        steps: int = Field(20, ge=1, description="Steps of each session in a batch; 1 = the paper's.")
        sample_power: float = Field(
            0.0, ge=0, le=1, description="Exponent of popularity that negatives are drawn by; 0 = all alike; more makes `auto` sampled."
        )

    def nodes(self, features: FeatureSchema, source: Feature) -> list[Node]:
        """Return the nodes."""
        config, width = self.config, self.config.embedding_dim
        history = {"columns": [source.name], "width": width, "steps": config.steps}
        nodes, states = [Node("history", "@history", config=history)], "history"
        unit = {"width": config.hidden_size, "dropout": config.dropout_rate}
        for layer in range(1, config.num_layers + 1):
            nodes.append(Node(f"states{layer}", "blocks/continued-gru", (states, f"~end{layer}"), unit))
            states = f"states{layer}"
            nodes.append(Node(f"end{layer}", "blocks/pool", (states,), {"mode": "last"}))
        nodes += [
            Node("answers", "blocks/project-steps", (states,), {"width": width, "bias": False}),
            *catalogue("answers", source, width),
            *objective(config.loss, "answers", "items", features, width, power=config.sample_power),
        ]
        return nodes


class Narm(Sequential):
    """A recurrent state as the whole session and its attention to older states as the purpose (Li et al. 2017).

    score = embᵀ B [h_t; Σ_j α_tj h_j] (equation 11): the bias-free B is on the user's side, so that items need nothing but their vectors.
    """

    name: ClassVar[str] = "NARM"

    class Config(SequentialConfig):
        """Options."""

        hidden_size: _Hidden = Field(64, description="Width of the recurrent state.")
        attention_size: Annotated[int, Int(16, 128, log=True), Field(ge=1)] = Field(64, description="Hidden units of the attention score.")
        dropout_rate: Dropout = Field(0.25, description="Share of units dropped while training, before and after the recurrent unit.")
        embedding_dim: Width = Field(64, description="Dimension of an item vector.")
        max_len: Annotated[int, Choice(20, 50), Field(ge=1)] = Field(50, description="Newest steps that are read.")
        loss: Objective = Field("auto", description=AUTO_LOSS)

    def nodes(self, features: FeatureSchema, source: Feature) -> list[Node]:
        """Return the nodes."""
        config, width = self.config, self.config.embedding_dim
        return [
            Node("history", "@history", config={"columns": [source.name], "width": width, "length": config.max_len}),
            Node("states", "blocks/gru", ("history",), {"width": config.hidden_size, "dropout": config.dropout_rate}),
            Node("purpose", "blocks/additive-attention", ("states",), {"width": config.attention_size}),
            Node("both", "blocks/join-steps", ("states", "purpose"), {"dropout": config.dropout_rate}),
            Node("answers", "blocks/project-steps", ("both",), {"width": width, "bias": False}),
            *catalogue("answers", source, width),
            *objective(config.loss, "answers", "items", features, width),
        ]
