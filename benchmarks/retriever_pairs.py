"""Which retriever is compared with which model of RecBole, with what options; each side's learning rate is chosen on validation rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["PAIRS", "PEERS", "Ours", "Peer"]

RATES = (0.001, 0.003, 0.01)


@dataclass(frozen=True, slots=True)
class Ours:
    """One of our models: blueprint, options, batch, the compared peer, and the option that is chosen on validation."""

    blueprint: str
    peer: str
    config: Mapping[str, Any] = field(default_factory=dict)
    batch: int = 1024
    option: str = "learning_rate"
    choices: tuple[float, ...] = RATES


@dataclass(frozen=True, slots=True)
class Peer:
    """One of RecBole's models; `parts` = judgements in one pass over its rows."""

    config: Mapping[str, Any] = field(default_factory=dict)
    batch: int = 1024
    sequential: bool = False
    parts: int = 1
    option: str = "learning_rate"
    choices: tuple[float, ...] = RATES


_WIDTH = {"embedding_size": 64}
PEERS = {
    "Pop": Peer(option="learning_rate", choices=(0.001,)),
    "BPR": Peer(_WIDTH),
    "LightGCN": Peer({**_WIDTH, "n_layers": 3}, batch=2048),
    "MultiVAE": Peer({"mlp_hidden_size": [600], "latent_dimension": 400, "dropout_prob": 0.5, "train_neg_sample_args": None}, batch=128),
    "SASRec": Peer({"hidden_size": 64, "hidden_dropout_prob": 0.2, "attn_dropout_prob": 0.2}, 256, True, 64),
    "GRU4Rec": Peer({**_WIDTH, "hidden_size": 128, "dropout_prob": 0.2}, 256, True, 64),
    "NARM": Peer({**_WIDTH, "hidden_size": 128, "dropout_probs": [0.25, 0.5]}, 256, True, 64),
    "EASE": Peer(option="reg_weight", choices=(100.0, 250.0, 700.0)),
    "SLIMElastic": Peer({"l1_ratio": 0.02}, option="alpha", choices=(0.05, 0.1, 0.2)),
}
PAIRS = {
    "popularity": Ours("baselines/popularity", "Pop", option="none", choices=(0.0,)),
    "ease": Ours("baselines/ease", "EASE", option="regularisation", choices=(100.0, 250.0, 700.0)),
    "slim": Ours("baselines/slim", "SLIMElastic", option="l2", choices=(50.0, 100.0, 200.0)),
    "bpr-mf": Ours("zoo/bpr-mf", "BPR"),
    "mf": Ours("zoo/mf", "BPR"),
    "lightgcn": Ours("zoo/lightgcn", "LightGCN", batch=2048),
    "multvae": Ours("zoo/multvae", "MultiVAE", batch=128),
    "sasrec": Ours("zoo/sasrec", "SASRec", batch=256),
    "transformer": Ours("zoo/transformer", "SASRec", batch=256),
    "gru4rec": Ours("zoo/gru4rec", "GRU4Rec", {"hidden_size": 128}, batch=256),
    "narm": Ours("zoo/narm", "NARM", {"hidden_size": 128}, batch=256),
    "dssm": Ours("zoo/dssm", "Pop"),
    "youtube-dnn": Ours("zoo/youtube-dnn", "Pop"),
}
