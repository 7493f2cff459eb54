"""Rankers that read histories of behaviour in the light of the candidate: DIN, DIEN and BST."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Architecture, Node
from autorec_kernel.records.features import Feature, FeatureSchema
from autorec_kernel.space import Choice, Float, Int, Ints
from autorec_zoo.parts import Columns, Ranker, Rates, Size, Units, Width, chosen, flat_nodes, headed, mlp, target

__all__ = ["Bst", "Dien", "Din"]

Activation = Literal["dice", "prelu", "relu", "gelu", "silu", "tanh", "sigmoid"]
Length = Annotated[int, Choice(10, 20, 50), Field(ge=1)]
_FEATURES = "Features that are read as they are; None = all ids, bags and numbers."
_BEHAVIOUR = "Histories that are compared with the candidate; None = all but those of attributes."


class Din(Ranker):
    """Deep interest network: every history is pooled by its fit to the candidate, then a network (Zhou et al. 2018, section 4).

    The network reads the candidate too (figure 2), whether the features name it or not.
    """

    class Config(ComponentConfig):
        """Options."""

        features: Columns = Field(None, description=_FEATURES)
        behavior_features: Columns = Field(None, description=_BEHAVIOUR)
        attention_units: Annotated[tuple[Size, ...], Ints(Int(8, 64, log=True), length=Int(1, 2))] = Field(
            (32, 16), description="Hidden widths of the activation unit; empty = an affine one."
        )
        hidden_units: Units = Field((128, 64), description="Layers of the network.")
        activation: Annotated[Activation, Choice("dice", "prelu", "relu")] = Field("dice", description="Function in unit and network.")
        embedding_dim: Width = Field(16, description="Width of a field's embedding.")
        max_length: Length = Field(20, description="Newest steps that are read.")
        dropout_rates: Rates = Field((0.2,), description="Share of units dropped while training, a layer.")
        attention_softmax: bool = Field(False, description="Whether weights are normalised over the history, which the paper leaves out.")

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph.

        Raises:
            ContractError: There is no history, or none whose candidate is known.
        """
        config: Din.Config = self.config
        nodes, flat = flat_nodes(features, config.embedding_dim, config.features)
        unit = {"attention_dims": list(config.attention_units), "activation": config.activation, "softmax": config.attention_softmax}
        interests = []
        behaviours = _behaviours(features, config.behavior_features, "DIN")
        for mark, pair in behaviours:
            nodes += [
                *_pair_nodes(mark, pair, config.embedding_dim, config.max_length),
                Node(f"weights{mark}", "blocks/attention-weights", (f"history{mark}", f"candidate{mark}"), unit),
                Node(f"weighed{mark}", "blocks/scale-steps", (f"history{mark}", f"weights{mark}")),
                Node(f"interest{mark}", "blocks/pool", (f"weighed{mark}",), {"mode": "sum"}),
            ]
            interests.append(f"interest{mark}")
        return _with_network(features, nodes, [flat, *_unread(features, config.features, behaviours), *interests], config)


class Dien(Ranker):
    """Deep interest evolution network: a recurrent unit extracts interests, a second one follows those that fit the candidate.

    Zhou et al. 2019. AUGRU: the attention scales the update gate; AIGRU: it scales the inputs of a plain unit; AGRU: it replaces the gate.
    The auxiliary loss asks of each interest state that it tells the next step from drawn items. Equation 6 draws one for each step and adds
    up the two log-likelihoods; here a batch shares `auxiliary_negatives`, and a step's loss is the mean of its own term and all of theirs,
    so that the next step counts one in 65 by default. The network reads the candidate too (figure 1), whether the features name it or not.
    """

    class Config(ComponentConfig):
        """Options."""

        features: Columns = Field(None, description=_FEATURES)
        behavior_features: Columns = Field(None, description=_BEHAVIOUR)
        interest_units: Annotated[tuple[Size, ...], Ints(Int(8, 64, log=True), length=Int(1, 2))] = Field(
            (32,), min_length=1, description="States of the extraction layers; the evolution layer has the last one's."
        )
        gru_type: Annotated[Literal["AUGRU", "AIGRU", "AGRU"], Choice("AUGRU", "AIGRU")] = Field(
            "AUGRU", description="How attention enters the evolution layer."
        )
        hidden_units: Units = Field((128, 64), description="Layers of the network.")
        activation: Annotated[Activation, Choice("dice", "prelu", "relu")] = Field("dice", description="Function in the network.")
        embedding_dim: Width = Field(16, description="Width of a field's embedding.")
        max_length: Length = Field(20, description="Newest steps that are read.")
        dropout_rates: Rates = Field((0.2,), description="Share of units dropped while training, a layer.")
        auxiliary_weight: Annotated[float, Float(0.0, 1.0)] = Field(0.5, ge=0, description="Factor of the auxiliary loss; 0 = without it.")
        auxiliary_negatives: int = Field(64, ge=1, description="Items a batch that no step is followed by, for the auxiliary loss.")

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph.

        Raises:
            ContractError: There is no history with a candidate, or the order of its events is unknown.
        """
        config: Dien.Config = self.config
        nodes, flat = flat_nodes(features, config.embedding_dim, config.features)
        interests = []
        behaviours = _behaviours(features, config.behavior_features, "DIEN", ordered=True)
        for mark, pair in behaviours:
            nodes += [*_pair_nodes(mark, pair, config.embedding_dim, config.max_length), *_interest_nodes(mark, config)]
            interests.append(f"interest{mark}")
        graph = _with_network(features, nodes, [flat, *_unread(features, config.features, behaviours), *interests], config)
        extra = _auxiliary_nodes(features, behaviours, config)
        return Architecture((*graph.nodes, *extra), graph.outputs, graph.batching)


class Bst(Ranker):
    """Behaviour sequence transformer: the candidate joins the history, and its state after self-attention enters a network (Chen 2019).

    The candidate reaches the network as the last step of the sequence, whether the features name it or not.
    """

    class Config(ComponentConfig):
        """Options."""

        features: Columns = Field(None, description=_FEATURES)
        behavior_features: Columns = Field(None, description=_BEHAVIOUR)
        num_heads: Annotated[int, Choice(1, 2, 4), Field(ge=1)] = Field(
            2, description="Attention heads; `hidden_size` is a multiple of it."
        )
        num_layers: Annotated[int, Int(1, 3), Field(ge=1)] = Field(1, description="Attention layers.")
        hidden_size: Annotated[int, Choice(16, 32, 64), Field(ge=1)] = Field(32, description="Width of the transformer.")
        dropout_rate: Annotated[float, Float(0.0, 0.6)] = Field(0.2, ge=0, lt=1, description="Share of units dropped while training.")
        hidden_units: Units = Field((128, 64), description="Layers of the network.")
        activation: Activation = Field("relu", description="Function in the network.")
        embedding_dim: Width = Field(16, description="Width of a field's embedding.")
        max_length: Length = Field(20, description="Newest steps that are read.")

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph.

        Raises:
            ContractError: There is no history with a candidate, or the order of its events is unknown.
        """
        config: Bst.Config = self.config
        nodes, flat = flat_nodes(features, config.embedding_dim, config.features)
        encoder = {"layers": config.num_layers, "heads": config.num_heads, "dropout": config.dropout_rate, "causal": False}
        placed = {"max_length": config.max_length + 1, "dropout": config.dropout_rate}
        interests = []
        for mark, pair in _behaviours(features, config.behavior_features, "BST", ordered=True):
            nodes += [
                *_pair_nodes(mark, pair, config.embedding_dim, config.max_length),
                Node(f"joined{mark}", "blocks/append-step", (f"history{mark}", f"candidate{mark}")),
                Node(f"wide{mark}", "blocks/project-steps", (f"joined{mark}",), {"width": config.hidden_size}),
                Node(f"placed{mark}", "blocks/positions", (f"wide{mark}",), placed),
                Node(f"states{mark}", "blocks/encoder", (f"placed{mark}",), encoder),
                Node(f"interest{mark}", "blocks/pool", (f"states{mark}",), {"mode": "last"}),
            ]
            interests.append(f"interest{mark}")
        nodes += [
            Node("all", "blocks/concat", (flat, *interests)),
            mlp("deep", "all", config.hidden_units, (config.dropout_rate,), config.activation),
        ]
        return headed(features, nodes, ("deep",))


def _behaviours(features: FeatureSchema, names: Columns, model: str, *, ordered: bool = False) -> list[tuple[str, tuple[Feature, Feature]]]:
    """Return (suffix of node names, (history, its candidate: the row's own value of the same vocabulary)) a history.

    Raises:
        ContractError: No history, no candidate for one, or no known order where one is needed.
    """
    if ordered and not features.ordered:
        raise ContractError(f"{model} reads an ordered history: it needs a time or position column")
    if names is None and not features.of("history"):
        raise ContractError(f"{model} compares a history with the candidate: it needs a user, an item and the history op")
    histories = chosen(features, names, ("history",), option="behavior_features")
    if names is None:  # histories of attributes cost as much as that of the items, and did not pay on ml-100k: they are named where wanted
        histories = [history for history in histories if history.family != "attribute"] or histories
    return [(f"_{number}" if number else "", (one, _candidate(features, one))) for number, one in enumerate(histories)]


def _candidate(features: FeatureSchema, history: Feature) -> Feature:
    fitting = [feature for feature in features.of("id", depends=("row", "item", "pair")) if feature.vocabulary == history.vocabulary]
    if not fitting:
        raise ContractError(f"history {history.name!r} holds {history.vocabulary!r} rows, and no id feature tells the candidate's")
    return next((feature for feature in fitting if feature.name == features.item), fitting[0])


def _unread(features: FeatureSchema, names: Columns, behaviours: list[tuple[str, tuple[Feature, Feature]]]) -> list[str]:
    """Return the candidate nodes whose column is not among the features that the network reads already."""
    read = {feature.name for feature in chosen(features, names)}
    return [f"candidate{mark}" for mark, (_, candidate) in behaviours if candidate.name not in read]


def _pair_nodes(mark: str, pair: tuple[Feature, Feature], width: int, length: int) -> list[Node]:
    """Return the embedded history and the embedded candidate, which share their table."""
    history, candidate = pair
    return [
        Node(f"history{mark}", "@history", config={"columns": [history.name], "width": width, "length": length}),
        Node(f"candidate{mark}", "@candidate", config={"columns": [candidate.name], "width": width}),
    ]


def _interest_nodes(mark: str, config: Dien.Config) -> list[Node]:
    """Return extraction, attention and evolution; the last node is `interest`."""
    nodes, below = [], f"history{mark}"
    for layer, units in enumerate(config.interest_units):
        name = f"extracted{mark}_{layer}"
        nodes.append(Node(name, "blocks/gru", (below,), {"width": units}))
        below = name
    width, weights, evolved = config.interest_units[-1], f"weights{mark}", f"evolved{mark}"
    nodes.append(Node(weights, "blocks/attention-weights", (below, f"candidate{mark}"), {"form": "bilinear", "softmax": True}))
    if config.gru_type == "AIGRU":
        nodes += [
            Node(f"weighed{mark}", "blocks/scale-steps", (below, weights)),
            Node(evolved, "blocks/gru", (f"weighed{mark}",), {"width": width}),
        ]
    else:
        options = {"width": width, "mode": config.gru_type.lower(), "max_length": config.max_length}
        nodes.append(Node(evolved, "blocks/attention-gru", (below, weights), options))
    return [*nodes, Node(f"interest{mark}", "blocks/pool", (evolved,), {"mode": "last"})]


def _auxiliary_nodes(features: FeatureSchema, behaviours: list[tuple[str, tuple[Feature, Feature]]], config: Dien.Config) -> list[Node]:
    """Return the losses: the label's own and the auxiliary one of the first history of items; nothing without one."""
    item = features[features.item].vocabulary if features.item else ""
    of_items = [(mark, history.name) for mark, (history, _) in behaviours if history.vocabulary == item]
    if not config.auxiliary_weight or not of_items:
        return []
    mark, history = of_items[0]
    label = target(features)[0]
    width = config.embedding_dim
    return [
        Node("labels", "@labels", config={"task": label}),
        Node("loss", "blocks/pointwise-loss", ("score", "labels")),
        Node("steps", "@history", config={"columns": [history], "index": True, "length": config.max_length}),
        Node("following", "blocks/next-steps", ("steps",)),
        Node("items", "@table", config={"table": item, "width": width}),
        Node("drawn", "@negatives", config={"index": True, "shared": True, "count": config.auxiliary_negatives}),
        Node("foreseen", "blocks/project-steps", (f"extracted{mark}_{len(config.interest_units) - 1}",), {"width": width, "bias": False}),
        Node("told_apart", "blocks/sampled-bce-loss", ("foreseen", "following", "items", "drawn")),
        Node("auxiliary", "blocks/scale-loss", ("told_apart",), {"weight": config.auxiliary_weight}),
    ]


def _with_network(features: FeatureSchema, nodes: list[Node], parts: list[str], config: Din.Config | Dien.Config) -> Architecture:
    """Return the graph with a perceptron over all parts side by side."""
    nodes = [
        *nodes,
        Node("all", "blocks/concat", tuple(parts)),
        mlp("deep", "all", config.hidden_units, config.dropout_rates, config.activation),
    ]
    return headed(features, nodes, ("deep",))
