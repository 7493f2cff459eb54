"""Sequential retrievers with convolution: NextItNet."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from autorec_kernel.records.architecture import Node
from autorec_kernel.records.features import Feature, FeatureSchema
from autorec_kernel.space import Int
from autorec_zoo.sequential.common import (
    AUTO_LOSS,
    DROPOUT,
    Dropout,
    Length,
    Objective,
    Sequential,
    SequentialConfig,
    Width,
    catalogue,
    objective,
)

__all__ = ["NextItNet"]


class NextItNet(Sequential):
    """Dilated causal convolution over the history; every step predicts the next one (Yuan et al. 2019)."""

    name: ClassVar[str] = "NextItNet"

    class Config(SequentialConfig):
        """Options."""

        max_len: Length = Field(50, description="Newest steps that are read.")
        kernel_size: Annotated[int, Int(2, 5), Field(ge=1)] = Field(3, description="Steps that one convolution reads.")
        num_layers: Annotated[int, Int(1, 4), Field(ge=1)] = Field(3, description="Residual layers; the gap doubles with each.")
        embedding_dim: Width = Field(64, description="Width of the model.")
        dropout_rate: Dropout = Field(0.2, description=DROPOUT)
        loss: Objective = Field("auto", description=AUTO_LOSS)

    def nodes(self, features: FeatureSchema, source: Feature) -> list[Node]:
        """Return the nodes."""
        config, width = self.config, self.config.embedding_dim
        layers = {"layers": config.num_layers, "kernel": config.kernel_size, "dropout": config.dropout_rate}
        return [
            Node("history", "@history", config={"columns": [source.name], "width": width, "length": config.max_len}),
            Node("states", "blocks/dilated-convolution", ("history",), layers),
            *catalogue("states", source, width),
            *objective(config.loss, "states", "items", features, width),
        ]
