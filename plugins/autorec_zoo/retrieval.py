"""Retrievers that know a user by id: matrix factorisation."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Architecture, Node
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.space import Choice, Int

__all__ = ["MatrixFactorization"]

_FULL_SOFTMAX_ITEMS = 4_000  # up to here a full softmax costs less than it gains over sampling


class MatrixFactorization:
    """score(u, i) = p_u · q_i, trained with BPR (Rendle et al. 2009) or a sampled softmax."""

    class Config(ComponentConfig):
        """Options."""

        embedding_dim: Annotated[int, Int(8, 128, log=True)] = Field(64, description="Factor dimension.")
        loss: Annotated[Literal["bpr", "softmax"], Choice("bpr", "softmax")] = Field("softmax", description="Training objective.")
        negatives: Annotated[int, Choice(1, 4, 16)] = Field(4, description="Negatives a pair (bpr).")

    role: ClassVar[Literal["retriever", "ranker"]] = "retriever"
    tasks: ClassVar[tuple[str, ...]] = ("recommend",)

    def __init__(self, config: Config) -> None:
        self.config = config

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph.

        Raises:
            ContractError: The data has no user or no item column.
        """
        if not (features.user and features.item):
            raise ContractError("matrix factorisation needs a user and an item column")
        width = self.config.embedding_dim
        nodes = [
            Node("user_field", "@fields", config={"columns": [features.user], "width": width}),
            Node("user", "blocks/sum-fields", ("user_field",)),
            Node("items", "@table", config={"table": features[features.item].vocabulary, "width": width}),
        ]
        if self.config.loss == "bpr":
            item = features[features.item].vocabulary
            nodes += [
                Node("chosen", "@target", config={"table": item, "width": width}),
                Node("others", "@negatives", config={"table": item, "width": width, "count": self.config.negatives}),
                Node("loss", "blocks/bpr-loss", ("user", "chosen", "others")),
            ]
        else:
            nodes += _softmax("user", features)
        return Architecture(tuple(nodes), {"user": "user", "item": "items"}, "row")


def _softmax(states: str, features: FeatureSchema) -> list[Node]:
    target = Node("target", "@target", config={"index": True})
    if features.items <= _FULL_SOFTMAX_ITEMS:
        return [target, Node("loss", "blocks/softmax-loss", (states, "items", "target"))]
    drawn = Node("drawn", "@negatives", config={"index": True, "shared": True, "count": 1024})
    return [target, drawn, Node("loss", "blocks/sampled-softmax-loss", (states, "target", "items", "drawn"))]
