"""Rankers of several labels: shared bottom, entire space, mixture of experts, progressive layered extraction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.records.architecture import Architecture, Node
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.space import Choice, Int, Ints
from autorec_zoo.parts import Columns, Ranker, Rate, Units, Width, flat_nodes, mlp
from autorec_zoo.tasks import Balance, TaskTypes, chain, finished, heads, tasks_of

__all__ = ["Esmm", "Mmoe", "Ple", "SharedBottom"]

_ExpertUnits = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Ints(Int(8, 256, log=True), length=Int(1, 3))]
_Activation = Annotated[
    Literal["relu", "gelu", "silu", "tanh", "sigmoid", "prelu", "dice", "identity"], Choice("relu", "gelu", "silu", "tanh", "prelu")
]
_GateActivation = Annotated[Literal["softmax", "sigmoid", "softplus", "tanh", "relu"], Choice("softmax", "sigmoid")]


class SharedBottom(Ranker):
    """One network that all tasks share, and a tower for each (Caruana 1997)."""

    class Config(ComponentConfig):
        """Options."""

        features: Columns = Field(None, description="Features to read; None = all ids, bags and numbers.")
        hidden_units: Units = Field((128, 64), min_length=1, description="Layers of the shared network.")
        task_hidden_units: Units = Field((32,), description="Layers of each task's tower.")
        num_tasks: int | None = Field(None, ge=2, description="Number of labels, if it is to be checked.")
        task_types: TaskTypes = Field(None, description="classification or regression of each label, if it is to be checked.")
        embedding_dim: Width = Field(16, description="Width of a field's embedding.")
        dropout: Rate = Field(0.0, description="Share of units dropped while training.")
        balance: Balance = Field("none", description="How the tasks' losses are weighed: all alike, or by learned uncertainties.")
        entire_space: bool = Field(False, description="Whether a conversion is predicted as click and conversion, as `esmm` does.")

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph.

        Raises:
            ContractError: The data has one label only, or other labels than the options say.
        """
        config = self.config
        tasks = tasks_of(features, config.num_tasks, config.task_types)
        nodes, flat = flat_nodes(features, config.embedding_dim, config.features)
        nodes.append(mlp("bottom", flat, config.hidden_units, (config.dropout,)))
        towers, ends = _towers(dict.fromkeys(tasks, "bottom"), config.task_hidden_units, config.dropout)
        return finished(features, (*nodes, *towers), tasks, ends, config.balance, config.entire_space)


class Esmm(Ranker):
    """Clicks and conversions learned over all impressions: pCTCVR = pCTR · pCVR (Ma et al. 2018, "Entire space").

    The losses are those of the click and of click-and-conversion; the conversion network has none of its own, so that no sample is drawn
    from clicked rows only. The prediction of the conversion label is pCTCVR; pCVR is that divided by pCTR, the node `cvr`. With
    `hidden_units=()` the two networks share the embeddings alone, as in the paper.
    """

    class Config(ComponentConfig):
        """Options."""

        features: Columns = Field(None, description="Features to read; None = all ids, bags and numbers.")
        hidden_units: Units = Field((128,), description="Layers that both networks share.")
        tower_units: Units = Field((64, 32), min_length=1, description="Layers of each network.")
        embedding_dim: Width = Field(16, description="Width of a field's embedding.")
        dropout: Rate = Field(0.0, description="Share of units dropped while training.")
        balance: Balance = Field("none", description="How the two losses are weighed: alike, or by learned uncertainties.")
        click: str = Field("", description="Label of the first event; empty = of the first two labels the one that the other implies.")
        conversion: str = Field("", description="Label of what never comes without it; empty = the other one.")

    tasks: ClassVar[tuple[str, ...]] = ("click",)

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph.

        Raises:
            ContractError: There are no two labels of 0 and 1, or the primary label is neither of the two.
        """
        config = self.config
        click, conversion = chain(features, config.click, config.conversion)
        nodes, flat = flat_nodes(features, config.embedding_dim, config.features)
        bottom = mlp("bottom", flat, config.hidden_units, (config.dropout,))
        nodes += [bottom] if config.hidden_units else []
        source = bottom.id if config.hidden_units else flat
        nodes += [mlp(f"{name}_tower", source, config.tower_units, (config.dropout,)) for name in ("ctr", "cvr")]
        nodes += heads(features, {"ctr": (click, "ctr_tower"), "cvr": (conversion, "cvr_tower")}, given={"cvr": click})
        nodes += [
            Node("ctcvr", "blocks/multiply-scores", ("ctr", "cvr"), {"tasks": [conversion]}),
            Node("clicked", "@labels", config={"task": click}),
            Node("converted", "@labels", config={"task": conversion}),
            Node("both", "blocks/joint-label", ("clicked", "converted")),
            Node("ctr_loss", "blocks/pointwise-loss", ("ctr", "clicked")),
            Node("ctcvr_loss", "blocks/pointwise-loss", ("ctcvr", "both")),
        ]
        if config.balance == "uncertainty":
            nodes.append(Node("loss", "blocks/uncertainty-weighting", ("ctr_loss", "ctcvr_loss")))
        outputs = {click: "ctr", conversion: "ctcvr"}
        return Architecture(tuple(nodes), {task: outputs[task] for task in features.tasks if task in outputs}, "row")


class Mmoe(Ranker):
    """Experts that all tasks share, mixed by a gate a task (Ma et al. 2018, "Modeling task relationships")."""

    class Config(ComponentConfig):
        """Options."""

        features: Columns = Field(None, description="Features to read; None = all ids, bags and numbers.")
        expert_units: _ExpertUnits = Field((64,), min_length=1, description="Layers of each expert.")
        num_experts: Annotated[int, Int(2, 8)] = Field(4, ge=2, description="Number of experts.")
        num_tasks: int | None = Field(None, ge=2, description="Number of labels, if it is to be checked.")
        expert_activation: _Activation = Field("relu", description="Function after each layer of an expert.")
        gate_activation: _GateActivation = Field("softmax", description="How a gate's weights are made of logits.")
        task_types: TaskTypes = Field(None, description="classification or regression of each label, if it is to be checked.")
        tower_units: Units = Field((32,), description="Layers of each task's tower.")
        embedding_dim: Width = Field(16, description="Width of a field's embedding.")
        dropout: Rate = Field(0.0, description="Share of units dropped while training.")
        balance: Balance = Field("none", description="How the tasks' losses are weighed: all alike, or by learned uncertainties.")
        entire_space: bool = Field(False, description="Whether a conversion is predicted as click and conversion, as `esmm` does.")

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph.

        Raises:
            ContractError: The data has one label only, or other labels than the options say.
        """
        config = self.config
        tasks = tasks_of(features, config.num_tasks, config.task_types)
        nodes, flat = flat_nodes(features, config.embedding_dim, config.features)
        nodes.append(_experts("experts", flat, config.num_experts, config.expert_units, config.expert_activation, config.dropout))
        gates = {task: f"gate_{number}" for number, task in enumerate(tasks)}
        nodes += [Node(gate, "blocks/gate", (flat, "experts"), {"activation": config.gate_activation}) for gate in gates.values()]
        towers, ends = _towers(gates, config.tower_units, config.dropout)
        return finished(features, (*nodes, *towers), tasks, ends, config.balance, config.entire_space)


class Ple(Ranker):
    """Layers of experts, some of a task's own and some shared; what is shared and what is not parts step by step (Tang et al. 2020).

    In each layer a task's gate mixes its own experts and the shared ones. The shared gate, which feeds the shared experts of the next
    layer, mixes all experts as in the paper (equation 7), or with `shared_gate="shared"` the shared ones only; the last layer has none.
    A task's own experts of the last layer get no gradient from other tasks; with `shared_gate="shared"` that holds in every layer.
    """

    class Config(ComponentConfig):
        """Options."""

        features: Columns = Field(None, description="Features to read; None = all ids, bags and numbers.")
        expert_units: _ExpertUnits = Field((64,), min_length=1, description="Layers of each expert.")
        num_experts: Annotated[int, Int(1, 4)] = Field(2, ge=1, description="Experts of each task in each layer.")
        num_layers: Annotated[int, Int(1, 3)] = Field(2, ge=1, description="Layers of extraction.")
        num_shared_experts: Annotated[int, Int(1, 4)] = Field(2, ge=1, description="Shared experts in each layer.")
        task_types: TaskTypes = Field(None, description="classification or regression of each label, if it is to be checked.")
        tower_units: Units = Field((32,), description="Layers of each task's tower.")
        embedding_dim: Width = Field(16, description="Width of a field's embedding.")
        dropout: Rate = Field(0.0, description="Share of units dropped while training.")
        balance: Balance = Field("none", description="How the tasks' losses are weighed: all alike, or by learned uncertainties.")
        entire_space: bool = Field(False, description="Whether a conversion is predicted as click and conversion, as `esmm` does.")
        shared_gate: Literal["all", "shared"] = Field("all", description="What feeds the next shared experts: all experts, or the shared.")

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph.

        Raises:
            ContractError: The data has one label only, or other labels than the options say.
        """
        config = self.config
        tasks = tasks_of(features, None, config.task_types)
        nodes, flat = flat_nodes(features, config.embedding_dim, config.features)
        states, shared = dict.fromkeys(tasks, flat), flat
        for layer in range(config.num_layers):
            more, states, shared = self._layer(layer, states, shared)
            nodes += more
        towers, ends = _towers(states, config.tower_units, config.dropout)
        return finished(features, (*nodes, *towers), tasks, ends, config.balance, config.entire_space)

    def _layer(self, layer: int, states: Mapping[str, str], shared: str) -> tuple[list[Node], dict[str, str], str]:
        """Return the nodes of a layer, each task's state after it, and the shared state."""
        config, own = self.config, {task: f"experts_{layer}_{number}" for number, task in enumerate(states)}
        common, mixed = f"experts_{layer}_shared", f"state_{layer}_shared"
        rest = (config.expert_units, "relu", config.dropout)
        nodes = [_experts(own[task], state, config.num_experts, *rest) for task, state in states.items()]
        nodes.append(_experts(common, shared, config.num_shared_experts, *rest))
        after = {task: f"state_{layer}_{number}" for number, task in enumerate(states)}
        nodes += [Node(after[task], "blocks/gate", (state, own[task], common)) for task, state in states.items()]
        if layer + 1 < config.num_layers:
            read = (*own.values(), common) if config.shared_gate == "all" else (common,)
            nodes.append(Node(mixed, "blocks/gate", (shared, *read)))
        return nodes, after, mixed


def _experts(name: str, source: str, count: int, units: Sequence[int], activation: str, dropout: float) -> Node:
    config = {"count": count, "hidden_dims": list(units), "activation": activation, "dropout": dropout}
    return Node(name, "blocks/experts", (source,), config)


def _towers(sources: Mapping[str, str], units: Sequence[int], dropout: float) -> tuple[list[Node], dict[str, str]]:
    """Return a tower for each task above its source, and where each ends: at the source itself where there are no layers."""
    if not units:
        return [], dict(sources)
    nodes = {task: mlp(f"tower_{number}", source, units, (dropout,)) for number, (task, source) in enumerate(sources.items())}
    return list(nodes.values()), {task: node.id for task, node in nodes.items()}
