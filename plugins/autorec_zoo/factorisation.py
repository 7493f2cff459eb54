"""Factorisation: users and items as vectors whose inner product is the score; for ranking the catalogue, and for predicting labels."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Architecture, Node
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.space import Choice, Int
from autorec_zoo.parts import Ranker, Rates, Units, headed, mlp, target
from autorec_zoo.sequential.common import objective

__all__ = ["BiasedMf", "BprMf", "MatrixFactorization", "NeuMf", "pairwise", "user_and_item"]

_Factors = Annotated[int, Int(8, 128, log=True), Field(ge=1)]
_Negatives = Annotated[int, Choice(1, 4, 16), Field(ge=1)]


def user_and_item(features: FeatureSchema, model: str) -> tuple[str, str]:
    """Return the names of the user and the item column.

    Raises:
        ContractError: One of them is missing.
    """
    if not (features.user and features.item):
        raise ContractError(f"{model} needs a user and an item column")
    return features.user, features.item


def pairwise(user: str, items: str, negatives: int) -> list[Node]:
    """Return the nodes of the pairwise loss (Rendle et al. 2009) between a user vector and rows of an item table."""
    return [
        Node("target", "@target", config={"index": True}),
        Node("drawn", "@negatives", config={"index": True, "count": negatives}),
        Node("chosen", "blocks/table-row", (items, "target")),
        Node("others", "blocks/lookup", (items, "drawn")),
        Node("loss", "blocks/bpr-loss", (user, "chosen", "others")),
    ]


class MatrixFactorization:
    """score(u, i) = p_u · q_i (+ b_i), trained on the softmax over the catalogue, sampled where that is large, or pairwise (BPR)."""

    class Config(ComponentConfig):
        """Options."""

        embedding_dim: _Factors = Field(64, description="Factor dimension.")
        loss: Annotated[Literal["bpr", "softmax"], Choice("bpr", "softmax")] = Field("softmax", description="Training objective.")
        negatives: _Negatives = Field(4, description="Negatives a pair (bpr).")
        biases: bool = Field(False, description="Whether every item has a bias; that of a user would not change a ranking.")

    role: ClassVar[Literal["retriever", "ranker"]] = "retriever"
    tasks: ClassVar[tuple[str, ...]] = ("recommend",)

    def __init__(self, config: Any) -> None:
        self.config = config

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph.

        Raises:
            ContractError: The data has no user or no item column.
        """
        return _factorised(features, self.config, self.config.loss)


class BprMf:
    """score(u, i) = p_u · q_i + b_i, trained so that chosen items score above others (BPR, Rendle et al. 2009)."""

    class Config(ComponentConfig):
        """Options."""

        embedding_dim: _Factors = Field(64, description="Factor dimension.")
        negatives: _Negatives = Field(1, description="Negatives a pair.")
        biases: bool = Field(True, description="Whether every item has a bias.")

    role: ClassVar[Literal["retriever", "ranker"]] = "retriever"
    tasks: ClassVar[tuple[str, ...]] = ("recommend",)

    def __init__(self, config: Config) -> None:
        self.config = config

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph.

        Raises:
            ContractError: The data has no user or no item column.
        """
        return _factorised(features, self.config, "bpr")


def _factorised(features: FeatureSchema, config: Any, loss: str) -> Architecture:
    user, item = user_and_item(features, "matrix factorisation")
    items, width = features[item].vocabulary, config.embedding_dim
    nodes = [
        Node("user_field", "@fields", config={"columns": [user], "width": width}),
        Node("factors", "blocks/sum-fields", ("user_field",)),
        Node("item_factors", "@table", config={"table": items, "width": width}),
    ]
    ends = {"user": "factors", "item": "item_factors"}
    if config.biases:
        nodes += [
            Node("user", "blocks/append-one", ("factors",)),
            Node("item_biases", "@table", config={"table": items, "width": 1}),
            Node("items", "blocks/join-tables", ("item_factors", "item_biases")),
        ]
        ends = {"user": "user", "item": "items"}
    if loss == "bpr":
        nodes += pairwise(ends["user"], ends["item"], config.negatives)
    else:
        nodes += objective("auto", ends["user"], ends["item"], features, width)
    return Architecture(tuple(nodes), ends, "row")


class BiasedMf(Ranker):
    """label(u, i) = μ + b_u + b_i + p_u · q_i, on the scale of the label (Koren, Bell and Volinsky 2009, equation 4).

    μ is the mean label (its logit for 0/1 labels) and not learned, so that weight decay pulls predictions towards it.
    """

    class Config(ComponentConfig):
        """Options."""

        embedding_dim: Annotated[int, Int(4, 128, log=True), Field(ge=1)] = Field(32, description="Factor dimension.")

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph.

        Raises:
            ContractError: The data has no user, no item or no label column.
        """
        user, item = user_and_item(features, "matrix factorisation")
        nodes = [
            Node("biases", "@fields", config={"columns": [user, item], "width": 1}),
            Node("deviation", "blocks/sum-fields", ("biases",)),
            Node("factors", "@fields", config={"columns": [user, item], "width": self.config.embedding_dim}),
            Node("fit", "blocks/fm", ("factors",)),
        ]
        label, link, mean = target(features)
        config = {"task": label, "link": link, "offset": mean, "learned": False}
        score = Node("score", "blocks/sum-scores", ("deviation", "fit"), config)
        return Architecture((*nodes, score), {label: "score"}, "row")


class NeuMf(Ranker):
    """A product of factors and a network on other factors of the same user and item, joined by one layer (He et al. 2017, figure 3).

    It predicts labels of given rows: its score is no inner product, so that a catalogue cannot be ranked by an index of item vectors.
    """

    class Config(ComponentConfig):
        """Options."""

        embedding_dim: _Factors = Field(32, description="Width of the factors that are multiplied (GMF).")
        mlp_dim: _Factors = Field(32, description="Width of the factors that the network reads.")
        hidden_units: Units = Field((64, 32, 16), description="Layers of the network.")
        dropout_rates: Rates = Field((), description="Share of units dropped after each layer while training; the last repeats.")

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph.

        Raises:
            ContractError: The data has no user, no item or no label column.
        """
        user, item = user_and_item(features, "NeuMF")
        width, config = self.config.embedding_dim, self.config
        nodes = [
            Node("user_factors", "@fields", config={"columns": [user], "width": width, "tag": "product"}),
            Node("item_factors", "@fields", config={"columns": [item], "width": width, "tag": "product"}),
            Node("product", "blocks/product", ("user_factors", "item_factors")),
            Node("both", "@fields", config={"columns": [user, item], "width": config.mlp_dim, "tag": "network"}),
            mlp("deep", "both", config.hidden_units, config.dropout_rates),
        ]
        return headed(features, nodes, ("product", "deep"))
