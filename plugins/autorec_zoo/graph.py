"""Graph models: embeddings of users and items smoothed over their interactions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.records.architecture import Architecture, Node
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.space import Choice, Int
from autorec_zoo.factorisation import pairwise, user_and_item
from autorec_zoo.sequential.common import objective

__all__ = ["LightGcn", "learned_tables"]


class LightGcn:
    """Matrix factorisation on embeddings averaged over K steps of the user-item graph, without weights between the steps.

    (He et al. 2020.) Every training step runs over the whole graph, so large batches pay; served vectors are stored tables.
    """

    class Config(ComponentConfig):
        """Options."""

        embedding_dim: Annotated[int, Int(16, 128, log=True), Field(ge=1)] = Field(64, description="Factor dimension.")
        num_layers: Annotated[int, Int(1, 4), Field(ge=1)] = Field(3, description="Steps over the graph.")
        loss: Annotated[Literal["bpr", "softmax"], Choice("bpr", "softmax")] = Field("bpr", description="Training objective.")
        negatives: Annotated[int, Choice(1, 4, 16), Field(ge=1)] = Field(1, description="Negatives a pair (bpr).")

    role: ClassVar[Literal["retriever", "ranker"]] = "retriever"
    tasks: ClassVar[tuple[str, ...]] = ("recommend",)

    def __init__(self, config: Config) -> None:
        self.config = config

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph.

        Raises:
            ContractError: The data has no user or no item column.
        """
        config, width = self.config, self.config.embedding_dim
        user, item = user_and_item(features, "LightGCN")
        nodes = [
            Node("own_users", "@table", config={"table": features[user].vocabulary, "width": width}),
            Node("own_items", "@table", config={"table": features[item].vocabulary, "width": width}),
            Node("own", "blocks/stack-tables", ("own_users", "own_items")),
            Node("smooth", "blocks/propagate", ("own",), {"layers": config.num_layers}),
            Node("users", "blocks/table-rows", ("smooth",), {"side": "user", "count": features.users}),
            Node("items", "blocks/table-rows", ("smooth",), {"side": "item", "first": features.users}),
        ]
        return learned_tables(nodes, config, features, user, width)


def learned_tables(nodes: Sequence[Node], config: Any, features: FeatureSchema, user: str, width: int) -> Architecture:
    """Return the graph that looks users up in the table `users`, scores the table `items`, and learns by the loss of `config`.

    Args:
        nodes: Ends with `users` and `items`, float32 [U, width] and [N, width].
    """
    looked_up = [
        Node("user_row", "@fields", config={"columns": [user], "index": True}),
        Node("user", "blocks/lookup", ("users", "user_row")),
    ]
    loss = pairwise("user", "items", config.negatives) if config.loss == "bpr" else objective("auto", "user", "items", features, width)
    return Architecture((*nodes, *looked_up, *loss), {"user": "user", "item": "items"}, "row")
