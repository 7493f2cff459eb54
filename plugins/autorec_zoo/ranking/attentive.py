"""Rankers that learn which fields belong together: AutoInt, xDeepFM and FinalMLP."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.records.architecture import Architecture, Node
from autorec_kernel.records.features import Depends, FeatureSchema
from autorec_kernel.space import Choice, Int, Ints
from autorec_zoo.parts import Columns, Ranker, Rates, Units, Width, field_nodes, flat_nodes, linear_nodes, mlp, named, summed, target

__all__ = ["AutoInt", "FinalMlp", "XDeepFm"]

_FEATURES = "Features that interact, numbers as fields of their own; None = all ids, bags and numbers."


class AutoInt(Ranker):
    """Layers of self-attention among the fields, beside first-order terms and a network (AutoInt+, Song et al. 2019, section 5.5)."""

    class Config(ComponentConfig):
        """Options."""

        features: Columns = Field(None, description=_FEATURES)
        num_layers: Annotated[int, Int(1, 4)] = Field(2, ge=1, description="Attention layers.")
        num_heads: Annotated[int, Int(1, 4)] = Field(2, ge=1, description="Attention heads.")
        head_dim: Annotated[int, Choice(4, 8, 16, 32)] = Field(8, ge=1, description="Width of a head.")
        hidden_units: Units = Field((256, 128, 64), description="Layers of the network beside the attention; empty = none (plain AutoInt).")
        dropout_rates: Rates = Field((), description="Share of units dropped after each layer; the last one repeats.")
        embedding_dim: Width = Field(16, description="Width of a field's embedding.")

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph.

        Raises:
            ContractError: There is no label, or there are fewer than two fields.
        """
        target(features)
        config = self.config
        nodes, fields = field_nodes(features, config.embedding_dim, config.features, least=2)
        linear, parts = linear_nodes(features, config.features, beside=nodes)
        nodes += linear
        value, attention = fields, {"heads": config.num_heads, "head_width": config.head_dim}
        for layer in range(1, config.num_layers + 1):
            nodes.append(Node(f"attention_{layer}", "blocks/field-attention", (value,), attention))
            value = f"attention_{layer}"
        nodes.append(Node("related", "blocks/linear", (value,), {"width": 1, "bias": False}))
        deep = _network(fields, config.hidden_units, config.dropout_rates)
        return summed(features, [*nodes, *deep], (*parts, "related", *(node.id for node in deep[-1:])))


class XDeepFm(Ranker):
    """First-order terms + compressed interaction network + network (Lian et al. 2018, equation 9)."""

    class Config(ComponentConfig):
        """Options."""

        features: Columns = Field(None, description=_FEATURES)
        cin_units: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Ints(Int(8, 128, log=True), length=Int(1, 3))] = Field(
            (64, 64), min_length=1, description="Feature maps of each layer of the interaction network."
        )
        hidden_units: Units = Field((256, 128, 64), description="Width of each layer of the network.")
        dropout_rates: Rates = Field((), description="Share of units dropped after each layer; the last one repeats.")
        embedding_dim: Width = Field(16, description="Width of a field's embedding.")

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph.

        Raises:
            ContractError: There is no label or no suitable feature.
        """
        target(features)
        config = self.config
        nodes, fields = field_nodes(features, config.embedding_dim, config.features)
        linear, parts = linear_nodes(features, config.features, beside=nodes)
        nodes += [
            *linear,
            Node("maps", "blocks/cin", (fields,), {"layer_units": list(config.cin_units)}),
            Node("explicit", "blocks/linear", ("maps",), {"width": 1, "bias": False}),
            *_network(fields, config.hidden_units, config.dropout_rates),
        ]
        return summed(features, nodes, (*parts, "explicit", "network"))


class FinalMlp(Ranker):
    """Two networks on differently gated features, joined by a bilinear product over chunks of their outputs (Mao et al. 2023).

    The gates of one network see the user's features, those of the other the item's, unless told otherwise; a context of no features makes
    gates that are the same for every row.
    """

    class Config(ComponentConfig):
        """Options."""

        features: Columns = Field(None, description="Features of both networks; None = all ids, bags and numbers.")
        first_context: Columns = Field(None, description="Features that open the first network's gates; None = the user's ids and bags.")
        second_context: Columns = Field(None, description="Features that open the second network's gates; None = the item's ids and bags.")
        hidden_units: Units = Field((256, 128, 64), min_length=1, description="Layers of the first network.")
        second_units: Units = Field((256, 128, 64), min_length=1, description="Layers of the second network.")
        gate_units: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Ints(Int(8, 256, log=True), length=Int(0, 2))] = Field(
            (64,), description="Layers of the networks that open the gates."
        )
        num_heads: Annotated[int, Int(1, 8)] = Field(2, ge=1, description="Chunks of the outputs that are multiplied.")
        dropout_rates: Rates = Field((), description="Share of units dropped after each layer; the last one repeats.")
        embedding_dim: Width = Field(16, description="Width of a field's embedding.")

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph.

        Raises:
            ContractError: There is no label or no suitable feature.
        """
        target(features)
        config = self.config
        nodes, flat = flat_nodes(features, config.embedding_dim, config.features)
        streams: tuple[tuple[str, Depends, Columns, tuple[int, ...]], ...] = (
            ("first", "user", config.first_context, config.hidden_units),
            ("second", "item", config.second_context, config.second_units),
        )
        parts: list[str] = []
        for name, side, given, units in streams:
            context = [f.name for f in features.of("id", "bag", depends=(side,))] if given is None else _context(features, given, name)
            if context:
                nodes.append(Node(f"{name}_context", "@fields", config={"columns": context, "width": config.embedding_dim}))
            gate = {"hidden_dims": list(config.gate_units) if context else []}
            nodes += [
                Node(f"{name}_gated", "blocks/feature-gate", (flat, *([f"{name}_context"] if context else [])), gate),
                mlp(f"{name}_deep", f"{name}_gated", units, config.dropout_rates),
                Node(f"{name}_score", "blocks/linear", (f"{name}_deep",), {"width": 1, "bias": False}),
            ]
            parts.append(f"{name}_score")
        nodes.append(Node("joint", "blocks/bilinear", ("first_deep", "second_deep"), {"heads": config.num_heads}))
        return summed(features, nodes, (*parts, "joint"))


def _context(features: FeatureSchema, names: tuple[str, ...], stream: str) -> list[str]:
    """Return the names of a context; none is one too."""
    return [feature.name for feature in named(features, names, f"{stream}_context")] if names else []


def _network(source: str, units: tuple[int, ...], rates: tuple[float, ...]) -> list[Node]:
    if not units:
        return []
    return [mlp("deep", source, units, rates), Node("network", "blocks/linear", ("deep",), {"width": 1, "bias": False})]
