"""Baseline retrievers: popularity, item neighbours, EASE and its directed form, as graphs of solved blocks."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Architecture, Node
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.space import Choice, Float, Int

__all__ = ["DirectedModel", "EaseModel", "ImplicitAls", "ItemKnn", "Popularity", "RecencyEase", "RecentPopularity", "SlimModel"]

_EXACT = 20_000  # items solved exactly at most: the system, or the smaller side times the items, takes 1.6 GB in float32
_FREQUENT = 12_000  # items that a larger catalogue is solved on
_DESCENDED = 4_000  # items of which SLIM solves all
_DIRECTED = 4_000  # items of which the directed form solves all: about two seconds
_FOLLOWED = 3_000  # the most frequent items, on which it is solved in a larger catalogue: more of them gain nothing measurable


class _Retriever:
    Config: ClassVar[type[ComponentConfig]] = ComponentConfig
    role: ClassVar[Literal["retriever", "ranker"]] = "retriever"
    tasks: ClassVar[tuple[str, ...]] = ("recommend",)

    def __init__(self, config: ComponentConfig) -> None:
        self.config = config


class Popularity(_Retriever):
    """Every user gets the items that most users chose: user vector 1, item vector log(1 + count)."""

    class Config(ComponentConfig):
        """No options."""

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph; it reads the user id only to know how many rows there are.

        Raises:
            ContractError: The data has no user column.
        """
        return _popular(features, 0.0)


class RecentPopularity(_Retriever):
    """Every user gets the items that most users chose lately: events count less the older they are."""

    class Config(ComponentConfig):
        """Options."""

        half_life: Annotated[float, Float(0.005, 2.0, log=True)] = Field(
            0.2, gt=0, le=1e6, description="Share of the time span after which an event counts half."
        )

    config: Config

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph.

        Raises:
            ContractError: The data has no user column, or no order in which events could age.
        """
        if not features.ordered:
            raise ContractError("events can age only with a time or position column")
        return _popular(features, self.config.half_life)


class ItemKnn(_Retriever):
    """Items whose users overlap with those of the history's items, by shrunken cosine."""

    class Config(ComponentConfig):
        """Options."""

        neighbours: Annotated[int, Int(20, 400, log=True)] = Field(200, ge=1, le=100_000, description="Neighbours kept for each item.")
        shrinkage: Annotated[float, Float(0.1, 200.0, log=True)] = Field(
            10.0, ge=0, le=1e6, description="Added to the denominator of the cosine."
        )
        decay: Annotated[float, Float(0.5, 1.0)] = Field(1.0, gt=0, le=1, description="Weight of a step relative to the one after it.")

    config: Config

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph."""
        config = self.config
        similar = Node(
            "similar",
            "blocks/item-similarity",
            (),
            {"rows": features.items, "neighbours": config.neighbours, "shrinkage": config.shrinkage},
        )
        return _from_history(features, similar, config.decay)


class EaseModel(_Retriever):
    """EASE on the whole history, every step with the same weight; a catalogue too large is solved on its most frequent items."""

    class Config(ComponentConfig):
        """Options."""

        regularisation: Annotated[float, Float(1.0, 3000.0, log=True)] = Field(200.0, gt=0, le=1e9, description="Ridge penalty λ.")

    config: Config

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph."""
        return _from_history(features, _ease(features, self.config.regularisation), 1.0)


class RecencyEase(_Retriever):
    """EASE on a user vector whose older steps fade: order is worth more than the model family on ordered data."""

    class Config(ComponentConfig):
        """Options."""

        regularisation: Annotated[float, Float(1.0, 3000.0, log=True)] = Field(200.0, gt=0, le=1e9, description="Ridge penalty λ.")
        decay: Annotated[float, Choice(0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99)] = Field(
            0.8, gt=0, le=1, description="Weight of a step relative to the one after it."
        )

    config: Config

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph.

        Raises:
            ContractError: The data has no order, so nothing can fade.
        """
        if not features.ordered:
            raise ContractError("recency needs a time or position column: without one the order of a history is unknown")
        return _from_history(features, _ease(features, self.config.regularisation), self.config.decay)


class DirectedModel(_Retriever):
    """Which item follows, by ridge regression on the faded history, in closed form (`blocks/directed`)."""

    class Config(ComponentConfig):
        """Options."""

        regularisation: Annotated[float, Float(1.0, 1000.0, log=True)] = Field(50.0, gt=0, le=1e9, description="Ridge penalty λ.")
        decay: Annotated[float, Choice(0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98)] = Field(
            0.8, gt=0, le=1, description="Weight of a step relative to the one after it."
        )
        backward: Annotated[float, Float(0.0, 1.0)] = Field(0.2, ge=0, le=1, description="Weight of a pair of items against its direction.")

    config: Config

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph.

        Raises:
            ContractError: The data has no order, so nothing comes before anything.
        """
        if not features.ordered:
            raise ContractError("what follows an item needs a time or position column: without one the order of a history is unknown")
        config = {"rows": features.items, **self.config.model_dump()}
        if features.items > _DIRECTED:
            config["frequent"] = _FOLLOWED
        return _from_history(features, Node("weights", "blocks/directed", (), config), self.config.decay)


class SlimModel(_Retriever):
    """Sparse item-item weights that are not negative (Ning and Karypis 2011), on a history whose older steps may fade."""

    class Config(ComponentConfig):
        """Options."""

        l1: Annotated[float, Float(0.1, 50.0, log=True)] = Field(
            3.0, ge=0, le=1e6, description="Penalty on the size of a weight: sparsity."
        )
        l2: Annotated[float, Float(1.0, 1000.0, log=True)] = Field(50.0, gt=0, le=1e9, description="Ridge penalty.")
        decay: Annotated[float, Float(0.5, 1.0)] = Field(
            0.9, gt=0, le=1, description="Weight of a step relative to the one after it; without an order nothing fades."
        )

    config: Config

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph."""
        config = {"rows": features.items, "l1": self.config.l1, "l2": self.config.l2}
        if features.items > _DESCENDED:
            config["frequent"] = _DESCENDED
        return _from_history(features, Node("weights", "blocks/slim", (), config), _fading(features, self.config.decay))


class ImplicitAls(_Retriever):
    """Implicit alternating least squares (Hu et al. 2008); every user, known or not, is folded in from the history."""

    class Config(ComponentConfig):
        """Options."""

        embedding_dim: Annotated[int, Int(8, 256, log=True)] = Field(64, ge=1, le=4096, description="Factor dimension.")
        regularisation: Annotated[float, Float(0.1, 1000.0, log=True)] = Field(10.0, gt=0, le=1e9, description="Ridge penalty.")
        confidence: Annotated[float, Float(0.5, 100.0, log=True)] = Field(5.0, ge=0, le=1e6, description="Extra weight of a choice.")
        sweeps: Annotated[int, Int(3, 20)] = Field(10, ge=1, le=1000, description="Alternations of users and items.")
        decay: Annotated[float, Float(0.5, 1.0)] = Field(
            0.9, gt=0, le=1, description="Weight of a step relative to the one after it; without an order nothing fades."
        )

    config: Config

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph."""
        config = self.config
        factors = {"rows": features.items, "width": config.embedding_dim, "regularisation": config.regularisation}
        items = Node("items", "blocks/als-items", (), {**factors, "confidence": config.confidence, "sweeps": config.sweeps})
        folding = {"confidence": config.confidence, "decay": _fading(features, config.decay)}
        history = _history(features)
        return Architecture(
            (history, items, Node("user", "blocks/fold-in", ("history", "items"), folding)), {"user": "user", "item": "items"}, "user"
        )


def _fading(features: FeatureSchema, decay: float) -> float:
    return decay if features.ordered else 1.0


def _popular(features: FeatureSchema, half_life: float) -> Architecture:
    if not features.user:
        raise ContractError("popularity answers users, and the data has no user column")
    config = {"rows": features.items} | ({"half_life": half_life} if half_life else {})
    nodes = (Node("one", "@constant", config={"columns": [features.user]}), Node("counts", "blocks/item-counts", (), config))
    return Architecture(nodes, {"user": "one", "item": "counts"}, "user")


def _ease(features: FeatureSchema, regularisation: float) -> Node:
    config = {"rows": features.items, "regularisation": regularisation}
    if min(features.users, features.items) * features.items > _EXACT**2:
        config["frequent"] = _FREQUENT
    return Node("weights", "blocks/ease", (), config)


def _from_history(features: FeatureSchema, table: Node, decay: float) -> Architecture:
    scores = Node("scores", "blocks/neighbour-scores", ("history", table.id), {"decay": decay})
    return Architecture((_history(features), table, scores), {"score": "scores"}, "user")


def _history(features: FeatureSchema) -> Node:
    histories = features.of("history")
    if not histories:
        raise ContractError("item-item models score from a history, and the feature set has none: enable the history op")
    return Node("history", "@history", config={"columns": [histories[0].name], "index": True})
