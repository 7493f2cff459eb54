"""Which retriever is compared with which models of the peers, with what options; each side's learning rate is chosen on validation rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["PAIRS", "PEERS", "Ours", "Peer"]

RATES = (0.001, 0.003, 0.01)


@dataclass(frozen=True, slots=True)
class Ours:
    """One of our models: blueprint, peers, options, batch (a session counts as eight rows), and the option chosen on validation."""

    blueprint: str
    peers: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    batch: int = 1024
    option: str = "learning_rate"
    choices: tuple[float, ...] = RATES


@dataclass(frozen=True, slots=True)
class Peer:
    """One model of a peer; `parts` = judgements in one pass over its rows."""

    config: Mapping[str, Any] = field(default_factory=dict)
    batch: int = 1024
    sequential: bool = False
    parts: int = 1
    option: str = "learning_rate"
    choices: tuple[float, ...] = RATES


_WIDTH = {"embedding_size": 64}
_ATTENTION = {"hidden_size": 64, "hidden_dropout_prob": 0.2, "attn_dropout_prob": 0.2}
_VAE = {"mlp_hidden_size": [600], "latent_dimension": 400, "dropout_prob": 0.5, "train_neg_sample_args": None}
PEERS = {
    "recbole-Pop": Peer(choices=(0.001,)),
    "recbole-EASE": Peer(option="reg_weight", choices=(100.0, 250.0, 700.0)),
    "recbole-SLIMElastic": Peer({"l1_ratio": 0.02}, option="alpha", choices=(0.01, 0.02, 0.05, 0.1)),
    "recbole-BPR": Peer(_WIDTH),
    "recbole-LightGCN": Peer({**_WIDTH, "n_layers": 3}, batch=2048),
    "recbole-MultiVAE": Peer(_VAE, batch=128),
    "recbole-SASRec": Peer(_ATTENTION, 256, True, 32),
    "recbole-BERT4Rec": Peer(_ATTENTION, 256, True, 32),
    "recbole-GRU4Rec": Peer({**_WIDTH, "hidden_size": 128, "dropout_prob": 0.2}, 256, True, 32),
    "recbole-NARM": Peer({**_WIDTH, "hidden_size": 128, "dropout_probs": [0.25, 0.5]}, 256, True, 32),
    "recbole-NextItNet": Peer({**_WIDTH, "block_num": 2}, 256, True, 32),
    "rechub-NARM": Peer(batch=256, parts=16),
    "rechub-DSSM": Peer({"negatives": 3}, parts=8),
    "rechub-FaceBookDSSM": Peer({"negatives": 1}, batch=256, parts=4),
    "rechub-YoutubeDNN": Peer({"negatives": 3}, batch=256, parts=4),
    "rechub-YoutubeDNN-50": Peer({"negatives": 50, "uniform": True}, batch=256, parts=4),
    "rechub-MIND": Peer({"negatives": 3}, batch=256, parts=4),
    "rechub-MIND-50": Peer({"negatives": 50, "uniform": True}, batch=256, parts=4),
}
PAIRS = {
    "popularity": Ours("baselines/popularity", ("recbole-Pop",), option="none", choices=(0.0,)),
    "ease": Ours("baselines/ease", ("recbole-EASE",), option="regularisation", choices=(100.0, 250.0, 700.0)),
    "slim": Ours("baselines/slim", ("recbole-SLIMElastic",), option="l2", choices=(50.0, 100.0, 200.0)),
    "bpr-mf": Ours("zoo/bpr-mf", ("recbole-BPR",)),
    "mf": Ours("zoo/mf", ("recbole-BPR",)),
    "lightgcn": Ours("zoo/lightgcn", ("recbole-LightGCN",), batch=2048),
    "multvae": Ours("zoo/multvae", ("recbole-MultiVAE",), batch=128),
    "sasrec": Ours("zoo/sasrec", ("recbole-SASRec",), batch=256),
    "transformer": Ours("zoo/transformer", ("recbole-SASRec",), batch=256),
    "bert4rec": Ours("zoo/bert4rec", ("recbole-BERT4Rec",), batch=256),
    "gru4rec": Ours("zoo/gru4rec", ("recbole-GRU4Rec",), {"hidden_size": 128}, batch=256),
    "narm": Ours("zoo/narm", ("recbole-NARM", "rechub-NARM"), {"hidden_size": 128}, batch=256),
    "nextitnet": Ours("zoo/nextitnet", ("recbole-NextItNet",), batch=256),
    "dssm": Ours("zoo/dssm", ("rechub-DSSM",)),
    "facebook-dssm": Ours("zoo/facebook-dssm", ("rechub-FaceBookDSSM",), {"pairwise": True, "num_tasks": 0}),
    "youtube-dnn": Ours("zoo/youtube-dnn", ("rechub-YoutubeDNN", "rechub-YoutubeDNN-50"), batch=256),
    "mind": Ours("zoo/mind", ("rechub-MIND", "rechub-MIND-50"), batch=256),
}
