"""Declares the model zoo; nothing heavy is imported until a blueprint is used."""

from __future__ import annotations

from autorec_kernel.markers import hookimpl
from autorec_kernel.registry.spec import ComponentSpec

__all__ = ["autorec_blueprints", "autorec_presets"]

_RANKING = ("ranking",)
_RECALL = ("recall",)


@hookimpl
def autorec_blueprints() -> tuple[ComponentSpec, ...]:
    """Return the blueprints of this package."""
    return (
        ComponentSpec("dssm", "autorec_zoo.towers:Dssm", "Two towers and their inner product (Huang et al. 2013)."),
        ComponentSpec("facebook-dssm", "autorec_zoo.towers:FaceBookDssm", "Two towers that learn labels beside recall."),
        ComponentSpec("youtube-dnn", "autorec_zoo.towers:YouTubeDnn", "Mean of a history through a network (Covington et al. 2016)."),
        ComponentSpec("mf", "autorec_zoo.factorisation:MatrixFactorization", "Factors of users and items, for ranking a catalogue."),
        ComponentSpec("bpr-mf", "autorec_zoo.factorisation:BprMf", "Matrix factorisation trained on pairs (Rendle et al. 2009)."),
        ComponentSpec("biased-mf", "autorec_zoo.factorisation:BiasedMf", "Biases and factors that predict a label (Koren 2009)."),
        ComponentSpec("neumf", "autorec_zoo.factorisation:NeuMf", "Product and network of factors (He et al. 2017)."),
        ComponentSpec("lightgcn", "autorec_zoo.graph:LightGcn", "Factors smoothed over the interaction graph (He et al. 2020)."),
        ComponentSpec("autorec-item", "autorec_zoo.autoencoders:ItemAutoRec", "Autoencoder on the ratings of an item (Sedhain 2015)."),
        ComponentSpec("autorec-user", "autorec_zoo.autoencoders:UserAutoRec", "Autoencoder on the ratings of a user (Sedhain 2015)."),
        ComponentSpec("multvae", "autorec_zoo.autoencoders:MultVae", "Variational autoencoder on a history (Liang et al. 2018)."),
        ComponentSpec(
            "sasrec", "autorec_zoo.sequential.attention:SasRec", "Self-attention over a history (Kang and McAuley 2018).", tags=_RECALL
        ),
        ComponentSpec(
            "gru4rec", "autorec_zoo.sequential.recurrent:Gru4Rec", "Recurrent unit over sessions (Hidasi et al. 2016).", tags=_RECALL
        ),
        ComponentSpec(
            "narm", "autorec_zoo.sequential.recurrent:Narm", "Recurrent unit with attention to its states (Li et al. 2017).", tags=_RECALL
        ),
        ComponentSpec(
            "mind", "autorec_zoo.sequential.interests:Mind", "Several interests by capsule routing (Li et al. 2019).", tags=_RECALL
        ),
        ComponentSpec(
            "transformer", "autorec_zoo.sequential.attention:Transformer", "Causal transformer that sees distances.", tags=_RECALL
        ),
        ComponentSpec("bert4rec", "autorec_zoo.sequential.cloze:Bert4Rec", "Hidden steps are found (Sun et al. 2019).", tags=_RECALL),
        ComponentSpec("nextitnet", "autorec_zoo.sequential.convolution:NextItNet", "Dilated convolution (Yuan et al. 2019).", tags=_RECALL),
        ComponentSpec("lr", "autorec_zoo.ranking.linear:LogisticRegression", "A weight for every category and number.", tags=_RANKING),
        ComponentSpec(
            "fm", "autorec_zoo.ranking.factorised:FactorizationMachine", "Products of all field pairs (Rendle 2010).", tags=_RANKING
        ),
        ComponentSpec("widedeep", "autorec_zoo.ranking.linear:WideDeep", "Crosses beside a network (Cheng et al. 2016).", tags=_RANKING),
        ComponentSpec(
            "deepfm", "autorec_zoo.ranking.factorised:DeepFm", "FM and network on shared embeddings (Guo et al. 2017).", tags=_RANKING
        ),
        ComponentSpec("dcn", "autorec_zoo.ranking.crossed:Dcn", "Deep and cross network (Wang et al. 2017).", tags=_RANKING),
        ComponentSpec("dcnv2", "autorec_zoo.ranking.crossed:Dcnv2", "Deep and cross network, version 2 (Wang et al. 2021).", tags=_RANKING),
        ComponentSpec("afm", "autorec_zoo.ranking.factorised:Afm", "Field pairs pooled by attention (Xiao et al. 2017).", tags=_RANKING),
        ComponentSpec(
            "fibinet", "autorec_zoo.ranking.factorised:FiBiNet", "Reweighed fields, bilinear pairs (Huang et al. 2019).", tags=_RANKING
        ),
        ComponentSpec(
            "edcn", "autorec_zoo.ranking.crossed:Edcn", "Crosses and network bridged in each layer (Chen et al. 2021).", tags=_RANKING
        ),
        ComponentSpec("autoint", "autorec_zoo.ranking.attentive:AutoInt", "Self-attention among fields (Song et al. 2019).", tags=_RANKING),
        ComponentSpec(
            "xdeepfm", "autorec_zoo.ranking.attentive:XDeepFm", "Compressed interaction network (Lian et al. 2018).", tags=_RANKING
        ),
        ComponentSpec(
            "finalmlp", "autorec_zoo.ranking.attentive:FinalMlp", "Two gated networks, bilinear fusion (Mao et al. 2023).", tags=_RANKING
        ),
        ComponentSpec("din", "autorec_zoo.behaviour:Din", "History weighed by the candidate (Zhou et al. 2018).", tags=_RANKING),
        ComponentSpec("dien", "autorec_zoo.behaviour:Dien", "Interests that evolve towards the candidate (Zhou 2019).", tags=_RANKING),
        ComponentSpec("bst", "autorec_zoo.behaviour:Bst", "The candidate joins a transformer (Chen et al. 2019).", tags=_RANKING),
        ComponentSpec(
            "shared-bottom", "autorec_zoo.multitask:SharedBottom", "One network for all tasks, a tower each.", tags=("multi-task",)
        ),
        ComponentSpec("esmm", "autorec_zoo.multitask:Esmm", "Clicks and conversions over all impressions (Ma 2018).", tags=("multi-task",)),
        ComponentSpec("mmoe", "autorec_zoo.multitask:Mmoe", "Experts mixed by a gate a task (Ma et al. 2018).", tags=("multi-task",)),
        ComponentSpec("ple", "autorec_zoo.multitask:Ple", "Layers of own and shared experts (Tang et al. 2020).", tags=("multi-task",)),
    )


@hookimpl
def autorec_presets() -> tuple[ComponentSpec, ...]:
    """Return the presets of this package."""
    return (ComponentSpec("deepfm-rec", "autorec_zoo.presets:deepfm_rec", "DeepFM on ratings with the settings of DeepFM-Rec."),)
