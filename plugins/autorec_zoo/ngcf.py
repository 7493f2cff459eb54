"""NGCF: embeddings that pass through learned transforms on their way over the graph of users and items."""

from __future__ import annotations

from itertools import pairwise as neighbours
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.records.architecture import Architecture, Node
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.space import Choice, Float, Int, Ints
from autorec_zoo.factorisation import user_and_item
from autorec_zoo.graph import learned_tables

__all__ = ["Ngcf"]

_Widths = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Ints(Int(16, 128, log=True), length=Int(1, 4)), Field(min_length=1)]
_SIDES = ("user", "item")


class Ngcf:
    """Embeddings that take in their neighbours layer by layer, with what both have in common (Wang et al. 2019, equations 3 to 8).

    E⁽ˡ⁾ = f((𝓛 + I) E⁽ˡ⁻¹⁾ W₁⁽ˡ⁾ + (𝓛 E⁽ˡ⁻¹⁾ ⊙ E⁽ˡ⁻¹⁾) W₂⁽ˡ⁾) with 𝓛 = D^-½ A D^-½ and f = LeakyReLU (equation 7); users and items are
    served as E⁽⁰⁾ … E⁽ᴸ⁾ side by side (equation 9), and their inner product is the score. Dropout acts on what a layer gives on, as in the
    authors' program; that of whole nodes is left out, and so is the unit length which that program, but not the paper, gives each layer.
    """

    class Config(ComponentConfig):
        """Options."""

        embedding_dim: Annotated[int, Int(16, 128, log=True), Field(ge=1)] = Field(64, description="Width of the embeddings, E⁽⁰⁾.")
        hidden_units: _Widths = Field((64, 64, 64), description="Width of each layer over the graph.")
        dropout_rate: Annotated[float, Float(0.0, 0.6), Field(ge=0, lt=1)] = Field(0.1, description="Share of a layer's units dropped.")
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
        config = self.config
        columns = dict(zip(_SIDES, user_and_item(features, "NGCF"), strict=True))
        widths = (config.embedding_dim, *config.hidden_units)
        nodes = [node for side in _SIDES for node in _entities(side, columns[side], config.embedding_dim)]
        for layer, (before, width) in enumerate(neighbours(widths), 1):
            nodes += _propagated(layer, features.users)
            nodes += [node for side in _SIDES for node in _transformed(side, layer, before, width, config.dropout_rate)]
        nodes += [Node(f"{side}s", "blocks/join-tables", tuple(f"{side}{n}" for n in range(len(widths)))) for side in _SIDES]
        return learned_tables(nodes, config, features, columns["user"], sum(widths))


def _entities(side: str, column: str, width: int) -> list[Node]:
    """Return the embedding of every user or item, and the row that each has."""
    source = {"columns": [column], "axis": side}
    return [
        Node(f"{side}0", "@fields", config={**source, "width": width}),
        Node(f"each_{side}", "@fields", config={**source, "index": True}),
    ]


def _propagated(layer: int, users: int) -> list[Node]:
    """Return 𝓛 E⁽ˡ⁻¹⁾, and the users' and the items' part of it; all layers share one graph."""
    near, graph = f"near{layer}", {"layers": 1, "first": False}
    return [
        Node(f"all{layer - 1}", "blocks/stack-tables", (f"user{layer - 1}", f"item{layer - 1}")),
        Node(near, "blocks/propagate", (f"all{layer - 1}",), graph, shares="near1" if layer > 1 else None),
        Node(f"{near}_users", "blocks/table-rows", (near,), {"side": "user", "count": users}),
        Node(f"{near}_items", "blocks/table-rows", (near,), {"side": "item", "first": users}),
    ]


def _transformed(side: str, layer: int, before: int, width: int, dropout: float) -> list[Node]:
    """Return E⁽ˡ⁾ of one side; items pass through the matrices of the users."""
    own, near, name = f"{side}{layer - 1}", f"near_{side}{layer}", f"{side}{layer}"
    affine = {"width": width, "bias": False, "initial_scale": (2 / (before + width)) ** 0.5}
    first, second = (f"user{layer}_{part}" if side == "item" else None for part in ("sum_moved", "common_moved"))
    return [
        Node(near, "blocks/lookup", (f"near{layer}_{side}s", f"each_{side}")),
        Node(f"{name}_sum", "blocks/add", (own, near)),
        Node(f"{name}_common", "blocks/product", (own, near)),
        Node(f"{name}_sum_moved", "blocks/linear", (f"{name}_sum",), affine, first),
        Node(f"{name}_common_moved", "blocks/linear", (f"{name}_common",), affine, second),
        Node(f"{name}_both", "blocks/add", (f"{name}_sum_moved", f"{name}_common_moved")),
        Node(name, "blocks/activate", (f"{name}_both",), {"activation": "leaky-relu", "bias": False, "dropout": dropout}),
    ]
