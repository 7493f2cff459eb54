"""Rankers that read a history of behaviour in the light of the candidate: DIN."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Architecture, Node
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.space import Choice, Float, Int, Ints
from autorec_zoo.ranking import _inputs, _ranker

__all__ = ["Din"]

_Dims = Annotated[tuple[int, ...], Ints(Int(16, 512, log=True), length=Int(1, 3))]
_Width = Annotated[int, Choice(4, 8, 16, 32)]
_Dropout = Annotated[float, Float(0.0, 0.6)]


class Din:
    """History pooled by its fit to the candidate, then a network (Zhou et al. 2018)."""

    class Config(ComponentConfig):
        """Options."""

        embedding_dim: _Width = Field(16, description="Width of a field's embedding.")
        attention_dims: Annotated[tuple[int, ...], Ints(Int(8, 64, log=True), length=Int(1, 2))] = Field(
            (32, 16), description="Hidden widths of the activation unit."
        )
        max_length: Annotated[int, Choice(10, 20, 50)] = Field(20, description="Newest steps that are read.")
        hidden_dims: _Dims = Field((128, 64), description="Layers of the network.")
        dropout: _Dropout = Field(0.2, description="Share of units dropped while training.")

    role: ClassVar[Literal["retriever", "ranker"]] = "ranker"
    tasks: ClassVar[tuple[str, ...]] = ("rate", "click")

    def __init__(self, config: Config) -> None:
        self.config = config

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph.

        Raises:
            ContractError: There is no history or no item column.
        """
        histories = features.of("history")
        if not histories or not features.item:
            raise ContractError("DIN weighs a history by the candidate item: it needs a user, an item and the history op")
        config, width = self.config, self.config.embedding_dim
        nodes, flat = _inputs(features, width)
        nodes += [
            Node("history", "@history", config={"columns": [histories[0].name], "width": width, "length": config.max_length}),
            Node("candidate", "@candidate", config={"columns": [features.item], "width": width}),
            Node("interest", "blocks/target-attention", ("history", "candidate"), {"attention_dims": list(config.attention_dims)}),
            Node("all", "blocks/concat", (flat, "interest")),
            Node("deep", "blocks/mlp", ("all",), {"hidden_dims": list(config.hidden_dims), "dropout": config.dropout}),
        ]
        return _ranker(features, nodes, ("deep",))
