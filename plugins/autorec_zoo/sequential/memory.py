"""Sequential retrievers that weigh a history by its newest step, without recurrence: STAMP."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from autorec_kernel.records.architecture import Node
from autorec_kernel.records.features import Feature, FeatureSchema
from autorec_kernel.space import Choice, Int
from autorec_zoo.sequential.common import AUTO_LOSS, Objective, Sequential, SequentialConfig, Width, catalogue, objective

__all__ = ["Stamp"]


class Stamp(Sequential):
    """General and current interest of a session, a network each, and their product with an item (Liu et al. 2018).

    α_i = W₀ σ(W₁ x_i + W₂ x_t + W₃ m_s + b), m_s the mean of the session (equations 2 and 7); h_s = tanh(W_s Σ_i α_i x_i + b_s) and
    h_t = tanh(W_t x_t + b_t) (equations 3 and 8). An item scores ⟨h_s, h_t, x_i⟩ = (h_s ⊙ h_t) · x_i (equations 1 and 4). The paper's
    sigmoid between that and the softmax (equation 4) is left out: it changes no order, and would keep every probability near 1 / items.
    Training reads each step of a history as the end of a session.
    """

    name: ClassVar[str] = "STAMP"

    class Config(SequentialConfig):
        """Options."""

        attention_size: Annotated[int, Int(16, 128, log=True), Field(ge=1)] = Field(64, description="Hidden units of the attention score.")
        embedding_dim: Width = Field(64, description="Dimension of an item vector, and of both interests.")
        max_len: Annotated[int, Choice(20, 50), Field(ge=1)] = Field(50, description="Newest steps that are read.")
        loss: Objective = Field("auto", description=AUTO_LOSS)

    def nodes(self, features: FeatureSchema, source: Feature) -> list[Node]:
        """Return the nodes."""
        config, width = self.config, self.config.embedding_dim
        network = {"width": width, "activation": "tanh"}
        return [
            Node("history", "@history", config={"columns": [source.name], "width": width, "length": config.max_len}),
            Node("attended", "blocks/additive-attention", ("history",), {"width": config.attention_size, "mean": True}),
            Node("general", "blocks/project-steps", ("attended",), network),
            Node("current", "blocks/project-steps", ("history",), network),
            Node("interest", "blocks/scale-steps", ("general", "current")),
            *catalogue("interest", source, width),
            *objective(config.loss, "interest", "items", features, width),
        ]
