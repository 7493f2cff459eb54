"""Sequential retrievers with self-attention: SASRec and a transformer that sees distances."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from autorec_kernel.records.architecture import Node
from autorec_kernel.records.features import Feature, FeatureSchema
from autorec_kernel.space import Choice
from autorec_zoo.sequential.common import (
    AUTO_LOSS,
    EncoderConfig,
    Objective,
    Sequential,
    catalogue,
    objective,
)

__all__ = ["SasRec", "Transformer"]


class SasRec(Sequential):
    """Causal self-attention over the history; the last state is the user vector, item embeddings are shared with the input."""

    name: ClassVar[str] = "SASRec"

    class Config(EncoderConfig):
        """Options."""

        loss: Objective = Field("auto", description=AUTO_LOSS)
        attention_dropout: float = Field(0.0, ge=0, lt=1, description="Share of attention weights dropped while training; slow.")
        smoothing: float = Field(0.0, ge=0, lt=1, description="Share of the wanted distribution that all items have alike (full softmax).")

    def nodes(self, features: FeatureSchema, source: Feature) -> list[Node]:
        """Return the nodes."""
        config, width = self.config, self.config.hidden_size
        history = {"columns": [source.name], "width": width, "length": config.max_len}
        encoder = {"layers": config.num_layers, "heads": config.num_heads, "dropout": config.dropout_rate}
        if config.attention_dropout:
            encoder["attention_dropout"] = config.attention_dropout
        return [
            Node("history", "@history", config=history),
            Node("placed", "blocks/positions", ("history",), {"max_length": config.max_len, "dropout": config.dropout_rate}),
            Node("states", "blocks/encoder", ("placed",), encoder),
            *catalogue("states", source, width),
            *objective(config.loss, "states", "items", features, width, smoothing=config.smoothing),
        ]


class Transformer(Sequential):
    """A causal transformer whose attention sees how far two steps are apart, instead of learned positions (Su et al. 2021).

    Wide feed-forward layers as in Vaswani et al. (2017); any length of history can be read, whatever length was trained on.
    """

    name: ClassVar[str] = "the transformer"

    class Config(EncoderConfig):
        """Options."""

        expansion: Annotated[float, Choice(1.0, 2.0, 4.0)] = Field(
            4.0, gt=0, description="Width of a feed-forward layer over that of the model."
        )
        loss: Objective = Field("auto", description=AUTO_LOSS)

    def nodes(self, features: FeatureSchema, source: Feature) -> list[Node]:
        """Return the nodes."""
        config, width = self.config, self.config.hidden_size
        encoder = {"layers": config.num_layers, "heads": config.num_heads, "dropout": config.dropout_rate, "rotary": True}
        return [
            Node("history", "@history", config={"columns": [source.name], "width": width, "length": config.max_len}),
            Node("dropped", "blocks/join-steps", ("history",), {"dropout": config.dropout_rate}),
            Node("states", "blocks/encoder", ("dropped",), {**encoder, "expansion": config.expansion}),
            *catalogue("states", source, width),
            *objective(config.loss, "states", "items", features, width),
        ]
