"""What sequential retrievers share: options, the history they read, the catalogue they answer from and the objectives they train on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Architecture, Batching, Node
from autorec_kernel.records.features import Feature, FeatureSchema
from autorec_kernel.space import Choice, Float, Int

__all__ = [
    "AUTO_LOSS",
    "DROPOUT",
    "Dropout",
    "EncoderConfig",
    "Heads",
    "Layers",
    "Length",
    "Objective",
    "Sequential",
    "SequentialConfig",
    "Width",
    "catalogue",
    "cheapest",
    "objective",
]

Length = Annotated[int, Choice(20, 50, 100, 200), Field(ge=1)]
Heads = Annotated[int, Choice(1, 2, 4), Field(ge=1)]
Layers = Annotated[int, Int(1, 3), Field(ge=1)]
Width = Annotated[int, Choice(32, 48, 64, 96, 128), Field(ge=1)]
Dropout = Annotated[float, Float(0.0, 0.6), Field(ge=0, lt=1)]
Objective = Literal["auto", "softmax", "sampled", "bce", "gbce", "bpr-max", "top1-max"]
AUTO_LOSS = "Training objective; auto = full softmax, or sampled where that takes too long."
DROPOUT = "Share of units dropped while training."

_GFLOPS = 40.0  # dense float32 speed of one core
_EPOCH_SECONDS = 60.0  # what a full softmax may take of an epoch
_SAMPLED: dict[str, tuple[str, dict[str, object], int]] = {  # objective -> block, its options, negatives that a batch shares
    "sampled": ("blocks/sampled-softmax-loss", {}, 1024),
    "bce": ("blocks/sampled-bce-loss", {}, 128),
    "gbce": ("blocks/sampled-bce-loss", {"calibration": 0.75}, 256),
    "bpr-max": ("blocks/ranking-max-loss", {"kind": "bpr-max"}, 512),
    "top1-max": ("blocks/ranking-max-loss", {"kind": "top1-max"}, 512),
}


class SequentialConfig(ComponentConfig):
    """Options of every sequential retriever."""

    item_num: int | None = Field(None, ge=1, description="Items of the catalogue; None = as many as the data has.")


class EncoderConfig(SequentialConfig):
    """Options of those whose layers are attention."""

    max_len: Length = Field(50, description="Newest steps that are read.")
    num_heads: Heads = Field(2, description="Attention heads.")
    num_layers: Layers = Field(2, description="Attention layers.")
    hidden_size: Width = Field(64, description="Width of the model.")
    dropout_rate: Dropout = Field(0.2, description=DROPOUT)


class Sequential(ABC):
    """A blueprint that turns an ordered history into user vectors, which multiply an item table."""

    role: ClassVar[Literal["retriever", "ranker"]] = "retriever"
    tasks: ClassVar[tuple[str, ...]] = ("recommend",)
    batching: ClassVar[Batching] = "sequence"
    name: ClassVar[str] = ""

    def __init__(self, config: ComponentConfig) -> None:
        self.config: Any = config

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph.

        Raises:
            ContractError: The order of the events is unknown, there is no history feature, or `item_num` is wrong.
        """
        nodes = self.nodes(features, _history_of(features, self.name, self.config.item_num))
        return Architecture(tuple(nodes), {"user": "user", "item": "items"}, self.batching)

    @abstractmethod
    def nodes(self, features: FeatureSchema, source: Feature) -> list[Node]:
        """Return the nodes, `user` and `items` among them.

        Args:
            source: The history feature.
        """


def catalogue(states: str, source: Feature, width: int) -> list[Node]:
    """Return the newest of the steps `states` as user vector, and the items of the history's vocabulary as table [N, width]."""
    return [
        Node("user", "blocks/pool", (states,), {"mode": "last"}),
        Node("items", "@table", config={"table": source.vocabulary, "width": width}),
    ]


def _history_of(features: FeatureSchema, model: str, item_num: int | None) -> Feature:
    histories = features.of("history")
    if not histories or not features.ordered:
        raise ContractError(f"{model} reads an ordered history: it needs a time or position column and the history op")
    if item_num is not None and item_num != features.items - 1:
        raise ContractError(f"item_num is {item_num}, but the catalogue has {features.items - 1} items: leave it out or correct it")
    return histories[0]


def cheapest(features: FeatureSchema, width: int) -> Literal["softmax", "sampled"]:
    """Return `softmax` where a pass over all training events scores the whole catalogue in a minute of one core, else `sampled`.

    Args:
        width: Dimension of an item vector. Three products of 2 · items · width operations an event: scores and their two gradients.
    """
    seconds = 6.0 * features.events * features.items * width / (_GFLOPS * 1e9)
    return "softmax" if seconds <= _EPOCH_SECONDS else "sampled"


def objective(
    kind: Objective,
    states: str,
    items: str,
    features: FeatureSchema,
    width: int,
    *,
    power: float = 0.0,
    smoothing: float = 0.0,
    target: str = "target",
) -> list[Node]:
    """Return the nodes of a loss over the steps `states` and the item table `items`.

    Args:
        width: Dimension of an item vector.
        power: Exponent of the counts that negatives are drawn by; 0 = all items alike. With it, `auto` is `sampled`.
        smoothing: Of a full softmax.
        target: The node of wanted rows; "target" = the source, which is the first of the nodes.

    Raises:
        ContractError: The loss draws no negatives, and `power` says how; or it is no full softmax, and `smoothing` is one's.
    """
    chosen = ("sampled" if power else cheapest(features, width)) if kind == "auto" else kind
    if power and chosen == "softmax":
        raise ContractError("sample_power says how negatives are drawn, and a full softmax draws none", hint="choose another loss, or 0")
    if smoothing and chosen != "softmax":
        told = f"smoothing is that of a full softmax, and the loss is {chosen!r}{' on a catalogue of this size' * (kind == 'auto')}"
        raise ContractError(told, hint='give loss="softmax", or smoothing=0')
    source = Node("target", "@target", config={"index": True})
    if chosen == "softmax":
        return [source, Node("loss", "blocks/softmax-loss", (states, items, target), {"smoothing": smoothing} if smoothing else {})]
    block, config, count = _SAMPLED[chosen]
    inputs: tuple[str, ...] = (states, target, items, "drawn")
    if not power:
        drawn = [Node("drawn", "@negatives", config={"index": True, "shared": True, "count": count})]
    else:
        drawn = [Node("drawn", "blocks/popular-items", config={"count": count, "power": power})]
        if chosen == "sampled":
            drawn.append(Node("counts", "blocks/item-counts", config={"rows": features.items}))
            inputs, config = (*inputs, "counts"), {**config, "power": power}
    return [source, *drawn, Node("loss", block, inputs, config)]
