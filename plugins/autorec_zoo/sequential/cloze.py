"""Sequential retrievers trained to fill in hidden steps: BERT4Rec."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from autorec_kernel.records.architecture import Node
from autorec_kernel.records.features import Feature, FeatureSchema
from autorec_kernel.space import Float
from autorec_zoo.sequential.common import (
    AUTO_LOSS,
    EncoderConfig,
    Objective,
    Sequential,
    catalogue,
    objective,
)

__all__ = ["Bert4Rec"]


class Bert4Rec(Sequential):
    """Attention in both directions; steps hidden at random, and the one behind the newest, are to be found (Sun et al. 2019).

    In serving nothing is hidden: the state behind the newest step is the user vector.
    """

    name: ClassVar[str] = "BERT4Rec"

    class Config(EncoderConfig):
        """Options."""

        mask_rate: Annotated[float, Float(0.1, 0.6)] = Field(0.2, gt=0, lt=1, description="Share of steps hidden while training.")
        loss: Objective = Field("auto", description=AUTO_LOSS)

    def nodes(self, features: FeatureSchema, source: Feature) -> list[Node]:
        """Return the nodes."""
        config, width = self.config, self.config.hidden_size
        history = {"columns": [source.name], "length": config.max_len}
        encoder = {"layers": config.num_layers, "heads": config.num_heads, "dropout": config.dropout_rate, "causal": False}
        target, *loss = objective(config.loss, "states", "items", features, width, target="answers")
        return [
            Node("history", "@history", config={**history, "width": width}),
            Node("rows", "@history", config={**history, "index": True}),
            Node("drawn_steps", "blocks/draw-steps", ("rows",), {"share": config.mask_rate}),
            Node("hidden", "blocks/hide-steps", ("history", "rows", "drawn_steps")),
            Node("placed", "blocks/positions", ("hidden",), {"max_length": config.max_len + 1, "dropout": config.dropout_rate}),
            Node("states", "blocks/encoder", ("placed",), {**encoder, "expansion": 4.0}),
            *catalogue("states", source, width),
            target,
            Node("answers", "blocks/keep-steps", ("rows", "drawn_steps", "target")),
            *loss,
        ]
