"""Sequential retrievers that answer with several vectors a user: MIND."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.records.architecture import Architecture, Node
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.space import Choice, Float, Int
from autorec_zoo.sequential.common import Objective, history_of, objective

__all__ = ["Mind"]


class Mind:
    """Several interests of a history by capsule routing; an item's score is that of the interest it suits best (Li et al. 2019).

    Label-aware attention mixes the interests by their fit to the target, and exists in training only. Every user has the same number of
    interests: the paper's adaptive number, which grows with the logarithm of the history's length (equation 9), is left out.
    """

    class Config(ComponentConfig):
        """Options."""

        item_num: int | None = Field(None, ge=1, description="Items of the catalogue; None = as many as the data has.")
        num_interests: Annotated[int, Int(2, 8), Field(ge=1)] = Field(4, description="Vectors a user.")
        routing_iterations: Annotated[int, Int(1, 4), Field(ge=1)] = Field(3, description="Rounds of routing.")
        hidden_size: Annotated[int, Int(16, 256, log=True), Field(ge=1)] = Field(64, description="Width of an interest capsule.")
        embedding_dim: Annotated[int, Choice(32, 48, 64, 96, 128), Field(ge=1)] = Field(64, description="Dimension of an item vector.")
        max_len: Annotated[int, Choice(20, 50, 100), Field(ge=1)] = Field(50, description="Newest steps that are read.")
        label_power: Annotated[float, Float(1.0, 4.0)] = Field(1.0, ge=1, description="How sharply training picks the best interest.")
        loss: Objective = Field("sampled", description="Training objective.")

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
        source = history_of(features, "MIND", config.item_num)
        capsules = {"interests": config.num_interests, "iterations": config.routing_iterations, "width": config.hidden_size}
        nodes = [
            Node("history", "@history", config={"columns": [source.name], "width": width, "length": config.max_len}),
            Node("capsules", "blocks/capsules", ("history",), {**capsules, "max_length": config.max_len}),
            Node("user", "blocks/project-fields", ("capsules",), {"width": width, "hidden": 4 * config.hidden_size}),
            Node("items", "@table", config={"table": source.vocabulary, "width": width}),
            Node("wanted", "@target", config={"table": source.vocabulary, "width": width}),
            Node("suited", "blocks/label-attention", ("user", "wanted"), {"power": config.label_power}),
            *objective(config.loss, "suited", "items", features, width),
        ]
        return Architecture(tuple(nodes), {"user": "user", "item": "items"}, "row")
