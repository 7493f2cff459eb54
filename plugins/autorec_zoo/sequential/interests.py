"""Sequential retrievers that answer with several vectors a user: MIND and ComiRec."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from autorec_kernel.records.architecture import Batching, Node
from autorec_kernel.records.features import Feature, FeatureSchema
from autorec_kernel.space import Choice, Float, Int
from autorec_zoo.sequential.common import Objective, Sequential, SequentialConfig, Width, objective

__all__ = ["ComiRec", "Mind"]


class ComiRec(Sequential):
    """Several interests of a history by dynamic routing; training goes to the one that fits the target best (Cen et al. 2020, ComiRec-DR).

    It differs from MIND in three ways: a matrix for each pair of place in the history and interest instead of one for all, so that order
    counts; logits of routing that start at zero instead of at random; and hard attention, the interest of the largest product with the
    target, instead of a mix. Places are counted from the newest step. An interest is compared with items as it is, without a network.
    Serving scores an item by the interest it suits best: the paper's aggregation at λ = 0, without a reward for diversity.
    """

    name: ClassVar[str] = "ComiRec"
    batching: ClassVar[Batching] = "row"

    class Config(SequentialConfig):
        """Options."""

        num_interests: Annotated[int, Int(2, 8), Field(ge=1)] = Field(4, description="Vectors a user.")
        routing_iterations: Annotated[int, Int(1, 4), Field(ge=1)] = Field(3, description="Rounds of routing.")
        embedding_dim: Width = Field(64, description="Dimension of an item vector, and of an interest.")
        max_len: Annotated[int, Choice(20, 50), Field(ge=1)] = Field(20, description="Newest steps that are read, a matrix each.")
        loss: Objective = Field("sampled", description="Training objective.")

    def nodes(self, features: FeatureSchema, source: Feature) -> list[Node]:
        """Return the nodes."""
        config, width = self.config, self.config.embedding_dim
        capsules = {"interests": config.num_interests, "iterations": config.routing_iterations, "width": width, "maps": "each"}
        return [
            Node("history", "@history", config={"columns": [source.name], "width": width, "length": config.max_len}),
            Node("user", "blocks/capsules", ("history",), {**capsules, "max_length": config.max_len}),
            Node("items", "@table", config={"table": source.vocabulary, "width": width}),
            Node("wanted", "@target", config={"table": source.vocabulary, "width": width}),
            Node("suited", "blocks/label-attention", ("user", "wanted"), {"hard": True}),
            *objective(config.loss, "suited", "items", features, width),
        ]


class Mind(Sequential):
    """Several interests of a history by capsule routing; an item's score is that of the interest it suits best (Li et al. 2019).

    Label-aware attention mixes the interests by their fit to the target, and exists in training only. Every user has the same number of
    interests: the paper's adaptive number, which grows with the logarithm of the history's length (equation 9), is left out.
    """

    name: ClassVar[str] = "MIND"
    batching: ClassVar[Batching] = "row"

    class Config(SequentialConfig):
        """Options."""

        num_interests: Annotated[int, Int(2, 8), Field(ge=1)] = Field(4, description="Vectors a user.")
        routing_iterations: Annotated[int, Int(1, 4), Field(ge=1)] = Field(3, description="Rounds of routing.")
        hidden_size: Annotated[int, Int(16, 256, log=True), Field(ge=1)] = Field(64, description="Width of an interest capsule.")
        embedding_dim: Width = Field(64, description="Dimension of an item vector.")
        max_len: Annotated[int, Choice(20, 50, 100), Field(ge=1)] = Field(50, description="Newest steps that are read.")
        label_power: Annotated[float, Float(1.0, 4.0)] = Field(1.0, ge=1, description="How sharply training picks the best interest.")
        loss: Objective = Field("sampled", description="Training objective.")

    def nodes(self, features: FeatureSchema, source: Feature) -> list[Node]:
        """Return the nodes."""
        config, width = self.config, self.config.embedding_dim
        capsules = {"interests": config.num_interests, "iterations": config.routing_iterations, "width": config.hidden_size}
        return [
            Node("history", "@history", config={"columns": [source.name], "width": width, "length": config.max_len}),
            Node("capsules", "blocks/capsules", ("history",), {**capsules, "max_length": config.max_len}),
            Node("user", "blocks/project-fields", ("capsules",), {"width": width, "hidden": 4 * config.hidden_size}),
            Node("items", "@table", config={"table": source.vocabulary, "width": width}),
            Node("wanted", "@target", config={"table": source.vocabulary, "width": width}),
            Node("suited", "blocks/label-attention", ("user", "wanted"), {"power": config.label_power}),
            *objective(config.loss, "suited", "items", features, width),
        ]
