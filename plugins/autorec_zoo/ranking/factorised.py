"""Rankers built on products of field pairs: FM, DeepFM, AFM and FiBiNET."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.records.architecture import Architecture, Node
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.space import Choice, Int, Ints
from autorec_zoo.parts import Columns, Ranker, Rate, Rates, Units, Width, field_nodes, linear_nodes, mlp, summed

__all__ = ["Afm", "DeepFm", "FactorizationMachine", "FiBiNet"]

_FEATURES = "Features that interact, numbers as fields of their own; None = all ids, bags and numbers."
Kind = Literal["field_all", "field_each", "field_interaction"]


class FactorizationMachine(Ranker):
    """First-order terms and the inner products of all field pairs (Rendle 2010, equation 1)."""

    class Config(ComponentConfig):
        """Options."""

        features: Columns = Field(None, description=_FEATURES)
        embedding_dim: Width = Field(16, description="Width of a field's embedding.")

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph.

        Raises:
            ContractError: There is no label, or there are fewer than two fields.
        """
        nodes, fields = field_nodes(features, self.config.embedding_dim, self.config.features, least=2)
        linear, parts = linear_nodes(features, self.config.features, beside=nodes)
        nodes += [*linear, Node("pairs", "blocks/fm", (fields,))]
        return summed(features, nodes, (*parts, "pairs"))


class DeepFm(Ranker):
    """First-order terms + factorization machine + network; machine and network read the same fields, looked up once (Guo et al. 2017)."""

    class Config(ComponentConfig):
        """Options."""

        features: Columns = Field(None, description=_FEATURES)
        hidden_units: Units = Field((256, 128, 64), description="Width of each layer of the network.")
        dropout_rates: Rates = Field((0.2,), description="Share of units dropped after each layer; the last one repeats.")
        embedding_dim: Width = Field(16, description="Width of a field's embedding.")

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph.

        Raises:
            ContractError: There is no label or no suitable feature.
        """
        config = self.config
        nodes, fields = field_nodes(features, config.embedding_dim, config.features)
        linear, parts = linear_nodes(features, config.features, beside=nodes)
        nodes += [
            *linear,
            Node("pairs", "blocks/fm", (fields,)),
            mlp("deep", fields, config.hidden_units, config.dropout_rates),
            Node("network", "blocks/linear", ("deep",), {"width": 1, "bias": False}),
        ]
        return summed(features, nodes, (*parts, "pairs", "network"))


class Afm(Ranker):
    """First-order terms and field pairs pooled by attention: pairs that matter more weigh more (Xiao et al. 2017, equation 6)."""

    class Config(ComponentConfig):
        """Options."""

        features: Columns = Field(None, description=_FEATURES)
        attention_units: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Ints(Int(4, 64, log=True), length=Int(1, 2))] = Field(
            (16,), min_length=1, description="Hidden widths of the attention network."
        )
        embedding_dim: Width = Field(16, description="Width of a field's embedding.")
        dropout_rate: Rate = Field(0.0, ge=0.0, lt=1.0, description="Share of the attention network's units dropped while training.")

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph.

        Raises:
            ContractError: There is no label, or there are fewer than two fields.
        """
        config = self.config
        nodes, fields = field_nodes(features, config.embedding_dim, config.features, least=2)
        linear, parts = linear_nodes(features, config.features, beside=nodes)
        attention = {"attention_dims": list(config.attention_units), "dropout": config.dropout_rate}
        nodes += [
            *linear,
            Node("pairs", "blocks/pairs", (fields,)),
            Node("pooled", "blocks/attention-pool", ("pairs",), attention),
            Node("second", "blocks/linear", ("pooled",), {"width": 1, "bias": False}),
        ]
        return summed(features, nodes, (*parts, "second"))


class FiBiNet(Ranker):
    """Bilinear pairs of the fields and of their reweighed twins (SENET), then a network, beside first-order terms (Huang et al. 2019).

    Both sets of pairs use the same matrices.
    """

    class Config(ComponentConfig):
        """Options."""

        features: Columns = Field(None, description=_FEATURES)
        bilinear_type: Annotated[Kind, Choice("field_all", "field_each", "field_interaction")] = Field(
            "field_interaction", description="Which pairs share a matrix: all, those of one leading field, none."
        )
        hidden_units: Units = Field((256, 128, 64), description="Width of each layer of the network.")
        reduction_ratio: Annotated[int, Int(1, 8)] = Field(3, ge=1, description="Fields over hidden units of the reweighing.")
        dropout_rates: Rates = Field((), description="Share of units dropped after each layer; the last one repeats.")
        embedding_dim: Width = Field(16, description="Width of a field's embedding.")

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph.

        Raises:
            ContractError: There is no label, or there are fewer than two fields.
        """
        config = self.config
        nodes, fields = field_nodes(features, config.embedding_dim, config.features, least=2)
        linear, parts = linear_nodes(features, config.features, beside=nodes)
        bilinear = {"kind": config.bilinear_type}
        nodes += [
            *linear,
            Node("reweighed", "blocks/senet", (fields,), {"reduction_ratio": config.reduction_ratio}),
            Node("plain_pairs", "blocks/bilinear-pairs", (fields,), bilinear),
            Node("reweighed_pairs", "blocks/bilinear-pairs", ("reweighed",), bilinear, shares="plain_pairs"),
            Node("all_pairs", "blocks/concat", ("plain_pairs", "reweighed_pairs")),
            mlp("deep", "all_pairs", config.hidden_units, config.dropout_rates),
            Node("network", "blocks/linear", ("deep",), {"width": 1, "bias": False}),
        ]
        return summed(features, nodes, (*parts, "network"))
