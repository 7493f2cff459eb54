"""Declares the model zoo; nothing heavy is imported until a blueprint is used."""

from __future__ import annotations

from autorec_kernel.markers import hookimpl
from autorec_kernel.registry.spec import ComponentSpec

__all__ = ["autorec_blueprints", "autorec_presets"]


_FIRST = ("sasrec", "mf", "deepfm", "dcnv2", "din")  # among the first candidates of every run
_RECALL = (
    ("dssm", "towers:Dssm", "Two towers and their inner product (Huang et al. 2013)."),
    ("facebook-dssm", "towers:FaceBookDssm", "Two towers that learn labels beside recall."),
    ("youtube-dnn", "towers:YouTubeDnn", "Mean of a history through a network (Covington et al. 2016)."),
    ("mf", "factorisation:MatrixFactorization", "Factors of users and items, for ranking a catalogue."),
    ("bpr-mf", "factorisation:BprMf", "Matrix factorisation trained on pairs (Rendle et al. 2009)."),
    ("lightgcn", "graph:LightGcn", "Factors smoothed over the interaction graph (He et al. 2020)."),
    ("ngcf", "ngcf:Ngcf", "Factors transformed along the interaction graph (Wang et al. 2019)."),
    ("multdae", "autoencoders:MultDae", "Denoising autoencoder on a history (Liang et al. 2018)."),
    ("multvae", "autoencoders:MultVae", "Variational autoencoder on a history (Liang et al. 2018)."),
    ("sasrec", "sequential.attention:SasRec", "Self-attention over a history (Kang and McAuley 2018)."),
    ("gru4rec", "sequential.recurrent:Gru4Rec", "Recurrent unit over sessions (Hidasi et al. 2016)."),
    ("narm", "sequential.recurrent:Narm", "Recurrent unit with attention to its states (Li et al. 2017)."),
    ("stamp", "sequential.memory:Stamp", "General and current interest of a session (Liu et al. 2018)."),
    ("mind", "sequential.interests:Mind", "Several interests by capsule routing (Li et al. 2019)."),
    ("comirec", "sequential.interests:ComiRec", "Several interests, trained one at a time (Cen et al. 2020)."),
    ("transformer", "sequential.attention:Transformer", "Causal transformer that sees distances."),
    ("bert4rec", "sequential.cloze:Bert4Rec", "Hidden steps are found (Sun et al. 2019)."),
    ("nextitnet", "sequential.convolution:NextItNet", "Dilated convolution (Yuan et al. 2019)."),
)
_RANKING = (
    ("biased-mf", "factorisation:BiasedMf", "Biases and factors that predict a label (Koren 2009)."),
    ("neumf", "factorisation:NeuMf", "Product and network of factors (He et al. 2017)."),
    ("autorec-item", "autoencoders:ItemAutoRec", "Autoencoder on the ratings of an item (Sedhain 2015)."),
    ("autorec-user", "autoencoders:UserAutoRec", "Autoencoder on the ratings of a user (Sedhain 2015)."),
    ("lr", "ranking.linear:LogisticRegression", "A weight for every category and number."),
    ("fm", "ranking.factorised:FactorizationMachine", "Products of all field pairs (Rendle 2010)."),
    ("widedeep", "ranking.linear:WideDeep", "Crosses beside a network (Cheng et al. 2016)."),
    ("deepfm", "ranking.factorised:DeepFm", "FM and network on shared embeddings (Guo et al. 2017)."),
    ("dcn", "ranking.crossed:Dcn", "Deep and cross network (Wang et al. 2017)."),
    ("dcnv2", "ranking.crossed:Dcnv2", "Deep and cross network, version 2 (Wang et al. 2021)."),
    ("afm", "ranking.factorised:Afm", "Field pairs pooled by attention (Xiao et al. 2017)."),
    ("fibinet", "ranking.factorised:FiBiNet", "Reweighed fields, bilinear pairs (Huang et al. 2019)."),
    ("edcn", "ranking.crossed:Edcn", "Crosses and network bridged in each layer (Chen et al. 2021)."),
    ("autoint", "ranking.attentive:AutoInt", "Self-attention among fields (Song et al. 2019)."),
    ("xdeepfm", "ranking.attentive:XDeepFm", "Compressed interaction network (Lian et al. 2018)."),
    ("pnn", "ranking.products:Pnn", "Network on products of field pairs (Qu et al. 2016)."),
    ("nfm", "ranking.products:Nfm", "Network on pooled field pairs (He and Chua 2017)."),
    ("finalmlp", "ranking.attentive:FinalMlp", "Two gated networks, bilinear fusion (Mao et al. 2023)."),
    ("din", "behaviour:Din", "History weighed by the candidate (Zhou et al. 2018)."),
    ("dien", "behaviour:Dien", "Interests that evolve towards the candidate (Zhou 2019)."),
    ("bst", "behaviour:Bst", "The candidate joins a transformer (Chen et al. 2019)."),
)
_MULTI_TASK = (
    ("shared-bottom", "multitask:SharedBottom", "One network for all tasks, a tower each."),
    ("esmm", "multitask:Esmm", "Clicks and conversions over all impressions (Ma 2018)."),
    ("mmoe", "multitask:Mmoe", "Experts mixed by a gate a task (Ma et al. 2018)."),
    ("ple", "multitask:Ple", "Layers of own and shared experts (Tang et al. 2020)."),
)
_FAMILIES = {"recall": _RECALL, "ranking": _RANKING, "multi-task": _MULTI_TASK}


@hookimpl
def autorec_blueprints() -> tuple[ComponentSpec, ...]:
    """Return the blueprints of this package, tagged with their family."""
    return tuple(
        ComponentSpec(name, f"autorec_zoo.{target}", summary, tags=(family,) if name in _FIRST else (family, "later"))
        for family, rows in _FAMILIES.items()
        for name, target, summary in rows
    )


@hookimpl
def autorec_presets() -> tuple[ComponentSpec, ...]:
    """Return the presets of this package."""
    return (ComponentSpec("deepfm-rec", "autorec_zoo.presets:deepfm_rec", "DeepFM on ratings with the settings of DeepFM-Rec."),)
