"""Rankers with explicit crosses beside a network: DCN, DCN-V2 and EDCN."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.records.architecture import Architecture, Node
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.space import Choice, Int
from autorec_zoo.parts import Columns, Ranker, Rates, Units, Width, field_nodes, flat_nodes, headed, mlp, target

__all__ = ["Dcn", "Dcnv2", "Edcn"]

_FEATURES = "Features that are crossed; None = all ids, bags and numbers."
Crosses = Annotated[int, Int(1, 5)]
Parameterization = Literal["vector", "matrix", "mixture"]
Bridge = Literal["product", "add", "concat", "attention"]


class Dcn(Ranker):
    """Cross layers with a weight vector each, beside a network on the same vector (Wang et al. 2017)."""

    class Config(ComponentConfig):
        """Options."""

        features: Columns = Field(None, description=_FEATURES)
        cross_num: Crosses = Field(3, ge=1, description="Cross layers; the degree is one more.")
        hidden_units: Units = Field((256, 128, 64), description="Width of each layer of the network.")
        dropout_rates: Rates = Field((), description="Share of units dropped after each layer; the last one repeats.")
        embedding_dim: Width = Field(16, description="Width of a field's embedding.")

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph.

        Raises:
            ContractError: There is no label or no suitable feature.
        """
        return _cross_and_deep(features, self.config, {"parameterization": "vector"})


class Dcnv2(Ranker):
    """Cross layers with a matrix, a vector or a mixture of low-rank matrices each, beside a network (Wang et al. 2021, parallel form)."""

    class Config(ComponentConfig):
        """Options."""

        features: Columns = Field(None, description=_FEATURES)
        cross_num: Crosses = Field(3, ge=1, description="Cross layers; the degree is one more.")
        hidden_units: Units = Field((256, 128, 64), description="Width of each layer of the network.")
        cross_parameterization: Annotated[Parameterization, Choice("vector", "matrix", "mixture")] = Field(
            "matrix", description="What weighs the current value: a vector (as in DCN), a matrix, or low-rank experts with gates."
        )
        dropout_rates: Rates = Field((), description="Share of units dropped after each layer; the last one repeats.")
        embedding_dim: Width = Field(16, description="Width of a field's embedding.")
        rank: Annotated[int, Int(4, 128, log=True)] = Field(
            32, ge=1, description="Inner width of an expert; without effect unless `mixture`."
        )
        num_experts: Annotated[int, Int(1, 8)] = Field(4, ge=1, description="Low-rank experts of a layer; without effect unless `mixture`.")

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph.

        Raises:
            ContractError: There is no label or no suitable feature.
        """
        config = self.config
        cross: dict[str, Any] = {"parameterization": config.cross_parameterization}
        if config.cross_parameterization == "mixture":
            cross |= {"rank": config.rank, "experts": config.num_experts}
        return _cross_and_deep(features, config, cross)


def _cross_and_deep(features: FeatureSchema, config: Any, cross: dict[str, Any]) -> Architecture:
    target(features)
    nodes, flat = flat_nodes(features, config.embedding_dim, config.features)
    value = flat
    for layer in range(1, config.cross_num + 1):
        nodes.append(Node(f"cross_{layer}", "blocks/cross", (flat, value), cross))
        value = f"cross_{layer}"
    nodes.append(mlp("deep", flat, config.hidden_units, config.dropout_rates))
    return headed(features, nodes, (value, "deep"))


class Edcn(Ranker):
    """Cross layers and a network that meet after every layer, with gates before the next (after Chen et al. 2021, and our definition).

    Layer l: c = cross(x_0, a), h = ReLU(W b), then the bridge f = c + (c ⊙ P h), where P takes h to the width of c. `bridge_type` names
    what stands in the brackets; the c in front of them is the residual. The next layer reads f through gates of its order, a set a
    stream: a = f ⊙ 2σ(g), b = f ⊙ 2σ(g'). FGU is a field-wise gate, one scalar a field; BGU is a bit-wise gate, one a dimension.
    """

    class Config(ComponentConfig):
        """Options."""

        features: Columns = Field(None, description=_FEATURES)
        cross_num: Annotated[int, Int(2, 5)] = Field(
            3, ge=2, description="Layers of crosses, each with a layer of the network beside it; gates stand between two."
        )
        hidden_units: Units = Field(
            (256, 128, 64),
            min_length=1,
            description="Width of each layer of the network; the last repeats, further ones follow the crosses.",
        )
        gate_type: Annotated[Literal["FGU", "BGU"], Choice("FGU", "BGU")] = Field(
            "FGU", description="FGU: a field-wise gate, one scalar a field. BGU: a bit-wise gate, one a dimension."
        )
        dropout_rates: Rates = Field((), description="Share of units dropped after each layer; the last one repeats.")
        embedding_dim: Width = Field(16, description="Width of a field's embedding.")
        bridge_type: Annotated[Bridge, Choice("product", "add", "concat", "attention")] = Field(
            "add", description="How the two streams meet after a layer; add was as accurate as the others on MovieLens, and the steadiest."
        )

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph.

        Raises:
            ContractError: There is no label or no suitable feature.
        """
        target(features)
        config = self.config
        nodes, fields = field_nodes(features, config.embedding_dim, config.features)
        count = _count(nodes)
        units = (*config.hidden_units, *[config.hidden_units[-1]] * (config.cross_num - len(config.hidden_units)))
        rates = config.dropout_rates
        crossed = deep = fields
        for layer in range(config.cross_num):
            nodes += [
                Node(f"cross_{layer}", "blocks/cross", (fields, crossed), {"parameterization": "vector"}),
                mlp(f"deep_{layer}", deep, units[layer : layer + 1], rates[layer : layer + 1] or rates[-1:]),
                *_bridge(layer, config.bridge_type, count * config.embedding_dim),
            ]
            if layer + 1 < config.cross_num:
                gates = {"groups": count if config.gate_type == "FGU" else 0}
                crossed, deep = f"to_cross_{layer}", f"to_deep_{layer}"
                nodes += [Node(name, "blocks/feature-gate", (f"met_{layer}",), gates) for name in (crossed, deep)]
        last, rest = config.cross_num - 1, units[config.cross_num :]
        tower = mlp("tower", f"deep_{last}", rest, rates[config.cross_num :] or rates[-1:])
        return headed(features, [*nodes, *([tower] if rest else [])], (f"cross_{last}", "tower" if rest else f"deep_{last}", f"met_{last}"))


def _count(nodes: Sequence[Node]) -> int:
    """Return how many fields nodes of `field_nodes` yield: one a category, and one a group of numbers."""
    told = {"@fields": "columns", "blocks/numeric-fields": "groups"}
    return sum(len(node.config[told[node.block]]) for node in nodes if node.block in told)


def _bridge(layer: int, kind: str, width: int) -> list[Node]:
    """Return the nodes from `cross_l` and `deep_l` to `met_l`, all of the width of the crosses."""
    cross, deep = f"cross_{layer}", f"deep_{layer}"
    if kind == "add":
        return [Node(f"met_{layer}", "blocks/add", (cross, deep))]
    if kind == "concat":
        both = Node(f"both_{layer}", "blocks/concat", (cross, deep))
        met = [both, mlp(f"joint_{layer}", both.id, (width,))]
    else:
        wide = Node(f"wide_{layer}", "blocks/linear", (deep,), {"width": width, "bias": False})
        met = [wide, *_JOINTS[kind](f"joint_{layer}", cross, wide.id)]
    return [*met, Node(f"met_{layer}", "blocks/add", (cross, met[-1].id))]


def _product(name: str, cross: str, deep: str) -> list[Node]:
    return [Node(name, "blocks/product", (cross, deep))]


def _attention(name: str, cross: str, deep: str) -> list[Node]:
    both = Node(f"{name}_fields", "blocks/join-fields", (cross, deep))
    return [both, Node(name, "blocks/attention-pool", (both.id,))]


_JOINTS: dict[str, Callable[[str, str, str], list[Node]]] = {"product": _product, "attention": _attention}
