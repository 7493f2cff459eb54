"""Rankers whose network reads products of fields: PNN and NFM."""

from __future__ import annotations

from pydantic import Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.records.architecture import Architecture, Node
from autorec_kernel.records.features import FeatureSchema
from autorec_zoo.parts import Columns, Ranker, Rates, Units, Width, field_nodes, headed, linear_nodes, mlp, summed

__all__ = ["Nfm", "Pnn"]

_FEATURES = "Features that interact, numbers as fields of their own; None = all ids, bags and numbers."


class Pnn(Ranker):
    """The network reads the fields and the inner product of every pair (Qu et al. 2016, section III.C: the inner product form)."""

    class Config(ComponentConfig):
        """Options."""

        features: Columns = Field(None, description=_FEATURES)
        hidden_units: Units = Field((256, 128, 64), description="Width of each layer of the network.")
        dropout_rates: Rates = Field((0.2,), description="Share of units dropped after each layer; the last one repeats.")
        embedding_dim: Width = Field(16, description="Width of a field's embedding.")

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph.

        Raises:
            ContractError: There is no label, or there are fewer than two fields.
        """
        config = self.config
        nodes, fields = field_nodes(features, config.embedding_dim, config.features, least=2)
        nodes += [
            Node("products", "blocks/pairs", (fields,), {"inner": True}),
            Node("read", "blocks/concat", (fields, "products")),
            mlp("deep", "read", config.hidden_units, config.dropout_rates),
        ]
        return headed(features, nodes, ("deep",))


class Nfm(Ranker):
    """First-order terms, and a network over the pooled products of all field pairs (He and Chua 2017, equations 3 and 8)."""

    class Config(ComponentConfig):
        """Options."""

        features: Columns = Field(None, description=_FEATURES)
        hidden_units: Units = Field((128, 64), description="Width of each layer of the network.")
        dropout_rates: Rates = Field((0.2,), description="Share of units dropped after each layer; the last one repeats.")
        embedding_dim: Width = Field(16, description="Width of a field's embedding.")

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph.

        Raises:
            ContractError: There is no label, or there are fewer than two fields.
        """
        config = self.config
        nodes, fields = field_nodes(features, config.embedding_dim, config.features, least=2)
        linear, parts = linear_nodes(features, config.features, beside=nodes)
        nodes += [
            *linear,
            Node("pooled", "blocks/fm", (fields,), {"reduce": False}),
            mlp("deep", "pooled", config.hidden_units, config.dropout_rates),
            Node("network", "blocks/linear", ("deep",), {"width": 1, "bias": False}),
        ]
        return summed(features, nodes, (*parts, "network"))
