"""Declares the model zoo; nothing heavy is imported until a blueprint is used."""

from __future__ import annotations

from autorec_kernel.markers import hookimpl
from autorec_kernel.registry.spec import ComponentSpec

__all__ = ["autorec_blueprints"]


@hookimpl
def autorec_blueprints() -> tuple[ComponentSpec, ...]:
    """Return the blueprints of this package."""
    return (
        ComponentSpec("mf", "autorec_zoo.factorisation:MatrixFactorization", "Factors of users and items, for ranking a catalogue."),
        ComponentSpec("bpr-mf", "autorec_zoo.factorisation:BprMf", "Matrix factorisation trained on pairs (Rendle et al. 2009)."),
        ComponentSpec("biased-mf", "autorec_zoo.factorisation:BiasedMf", "Biases and factors that predict a label (Koren 2009)."),
        ComponentSpec("neumf", "autorec_zoo.factorisation:NeuMf", "Product and network of factors (He et al. 2017)."),
        ComponentSpec("lightgcn", "autorec_zoo.graph:LightGcn", "Factors smoothed over the interaction graph (He et al. 2020)."),
        ComponentSpec("autorec-item", "autorec_zoo.autoencoders:ItemAutoRec", "Autoencoder on the ratings of an item (Sedhain 2015)."),
        ComponentSpec("autorec-user", "autorec_zoo.autoencoders:UserAutoRec", "Autoencoder on the ratings of a user (Sedhain 2015)."),
        ComponentSpec("multvae", "autorec_zoo.autoencoders:MultVae", "Variational autoencoder on a history (Liang et al. 2018)."),
        ComponentSpec("sasrec", "autorec_zoo.sequential.attention:SasRec", "Self-attention over a history (Kang and McAuley 2018)."),
        ComponentSpec("deepfm", "autorec_zoo.ranking:DeepFm", "Factorization machine and network on shared embeddings (Guo et al. 2017)."),
        ComponentSpec("dcnv2", "autorec_zoo.ranking:Dcnv2", "Deep and cross network, version 2 (Wang et al. 2021)."),
        ComponentSpec("din", "autorec_zoo.behaviour:Din", "Deep interest network: history weighed by the candidate (Zhou et al. 2018)."),
    )
