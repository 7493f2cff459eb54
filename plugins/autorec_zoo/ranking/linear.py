"""Rankers with a weight for every category: logistic regression, and the wide part of wide and deep."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.records.architecture import Architecture, Node
from autorec_kernel.records.features import Feature, FeatureSchema
from autorec_kernel.space import Choice
from autorec_zoo.parts import Columns, Ranker, Rates, Units, Width, chosen, flat_nodes, linear_nodes, mlp, summed, target

__all__ = ["LogisticRegression", "WideDeep"]


class LogisticRegression(Ranker):
    """A weight for every category and every number, and for hashed crosses of ids if wanted (linear regression for a value)."""

    class Config(ComponentConfig):
        """Options."""

        features: Columns = Field(None, description="Features that are weighed; None = all ids, bags and numbers.")
        cross_buckets: Annotated[int, Choice(0, 4_096, 32_768)] = Field(
            0, ge=0, description="Weights that all crossed pairs of ids share by hashing; 0 = no crosses."
        )

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph.

        Raises:
            ContractError: There is no label or no suitable feature.
        """
        target(features)
        nodes, parts = linear_nodes(features, self.config.features)
        crosses = _crosses(chosen(features, self.config.features), self.config.cross_buckets)
        return summed(features, [*nodes, *crosses], (*parts, *(["crosses"] if crosses else [])))


class WideDeep(Ranker):
    """A linear model with crosses of categories beside a network on embeddings, trained together (Cheng et al. 2016, equation 3)."""

    class Config(ComponentConfig):
        """Options."""

        wide_features: Columns = Field(None, description="Features of the linear part, whose ids are crossed in pairs; None = all.")
        deep_features: Columns = Field(None, description="Features of the network; None = all.")
        hidden_units: Units = Field((256, 128, 64), description="Width of each layer of the network.")
        dropout_rates: Rates = Field((), description="Share of units dropped after each layer; the last one repeats.")
        embedding_dim: Width = Field(16, description="Width of a field's embedding.")
        cross_buckets: Annotated[int, Choice(0, 4_096, 32_768)] = Field(
            32_768, ge=0, description="Weights that all crossed pairs share by hashing; 0 = no crosses."
        )

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph.

        Raises:
            ContractError: There is no label or no suitable feature.
        """
        target(features)
        config = self.config
        nodes, flat = flat_nodes(features, config.embedding_dim, config.deep_features, option="deep_features")
        linear, parts = linear_nodes(features, config.wide_features, beside=nodes, option="wide_features")
        crosses = _crosses(chosen(features, config.wide_features, option="wide_features"), config.cross_buckets)
        linear, parts = [*linear, *crosses], (*parts, *(["crosses"] if crosses else []))
        nodes += [
            *linear,
            mlp("deep", flat, config.hidden_units, config.dropout_rates),
            Node("network", "blocks/linear", ("deep",), {"width": 1, "bias": False}),
        ]
        return summed(features, nodes, (*parts, "network"))


def _crosses(picked: list[Feature], buckets: int) -> list[Node]:
    """Return the nodes of one hashed weight a pair of ids; none without buckets or without a pair."""
    crossed = [feature.name for feature in picked if feature.kind == "id"]
    if not buckets or len(crossed) < 2:
        return []
    return [
        Node("rows", "@fields", config={"columns": crossed, "index": True}),
        Node("crosses", "blocks/hash-crosses", ("rows",), {"buckets": buckets}),
    ]
