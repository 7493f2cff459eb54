"""What the constructor of each blueprint is called: its published spelling, else the name of its class."""

from __future__ import annotations

from functools import cache

from autorec_kernel.registry.spec import ComponentSpec

__all__ = ["constructor_names"]

_SPELLINGS = {
    "afm": "AFM",
    "bert4rec": "BERT4Rec",
    "biased-mf": "BiasedMF",
    "bpr-mf": "BPRMF",
    "bst": "BST",
    "dcn": "DCN",
    "dcnv2": "DCNv2",
    "deepfm": "DeepFM",
    "dien": "DIEN",
    "din": "DIN",
    "dssm": "DSSM",
    "edcn": "EDCN",
    "esmm": "ESMM",
    "facebook-dssm": "FaceBookDSSM",
    "fibinet": "FiBiNET",
    "finalmlp": "FinalMLP",
    "fm": "FM",
    "gru4rec": "GRU4Rec",
    "lightgcn": "LightGCN",
    "lr": "LR",
    "mf": "MF",
    "mind": "MIND",
    "mmoe": "MMoE",
    "multdae": "MultDAE",
    "multvae": "MultVAE",
    "narm": "NARM",
    "neumf": "NeuMF",
    "nfm": "NFM",
    "ngcf": "NGCF",
    "ple": "PLE",
    "pnn": "PNN",
    "sasrec": "SASRec",
    "shared-bottom": "SharedBottom",
    "stamp": "STAMP",
    "widedeep": "WideDeep",
    "xdeepfm": "XDeepFM",
    "youtube-dnn": "YouTubeDNN",
}


@cache
def constructor_names() -> dict[str, ComponentSpec]:
    """Return constructor name → declaration of its blueprint."""
    from autorec_zoo.plugin import autorec_blueprints

    return {_SPELLINGS.get(spec.name, spec.target.partition(":")[2]): spec for spec in autorec_blueprints()}
