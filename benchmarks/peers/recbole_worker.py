"""RecBole: its own data pipeline and `Trainer._train_epoch`; the split is handed over as benchmark files, so the rows are identical."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, os.path.dirname(__file__))
os.environ.setdefault("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")

import numpy as np
import recbole
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, get_trainer, init_seed
from worker import Options, Session, columns, serve, split

_NAMES = {"DCNv2": "DCNV2"}


def write(given: Options, folder: Path) -> None:
    """Write the three parts as atomic files."""
    (folder / "clicks").mkdir(parents=True, exist_ok=True)
    names = columns(given)[0]
    head = "\t".join([*(f"{name}:token" for name in names), "label:float"])
    for part in ("train", "valid", "test"):
        values = split(given, part)
        table = np.column_stack([*(values[name] for name in names), values["label"].astype(np.int64)])
        np.savetxt(folder / "clicks" / f"clicks.{part}.inter", table, fmt="%d", delimiter="\t", header=head, comments="")


def settings(given: Options, folder: Path) -> dict:
    """Return the configuration: penalties zero, equal layers; DCN-V2 in its parallel form."""
    names, _, item = columns(given)
    user = next(name for name in names if name == "user_id")
    return {
        "data_path": str(folder), "benchmark_filename": ["train", "valid", "test"], "load_col": {"inter": [*names, "label"]},
        "USER_ID_FIELD": user, "ITEM_ID_FIELD": item, "LABEL_FIELD": "label", "embedding_size": given.width,
        "mlp_hidden_size": list(given.hidden), "dropout_prob": given.dropout, "dropout_probs": [given.dropout] * 3, "reg_weight": 0,
        "attention_size": 16 if given.model == "AutoInt" else given.attention[0], "n_layers": 3, "num_heads": 2,
        "cin_layer_size": [64, 64], "direct": True,
        "cross_layer_num": 3, "structure": "parallel", "mixed": False, "train_batch_size": given.batch, "eval_batch_size": given.batch,
        "learning_rate": given.rate, "weight_decay": 0.0, "train_neg_sample_args": None, "metrics": ["AUC"], "valid_metric": "AUC",
        "eval_args": {"mode": "labeled", "order": "RO", "group_by": None, "split": {"RS": [0.8, 0.1, 0.1]}},
        "use_gpu": False, "show_progress": False, "state": "ERROR", "seed": given.seed, "checkpoint_dir": str(folder / "saved"),
    }  # fmt: skip


def build(given: Options) -> Session:
    """Return the session."""
    import torch

    folder = Path(tempfile.mkdtemp(dir=given.work))
    write(given, folder)
    sys.argv = sys.argv[:1]
    config = Config(model=_NAMES.get(given.model, given.model), dataset="clicks", config_dict=settings(given, folder))
    logging.disable(logging.INFO)
    init_seed(config["seed"], True)
    train, valid, test = data_preparation(config, create_dataset(config))
    network = get_model(config["model"])(config, train._dataset)
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, network)
    done = iter(range(10_000))

    def scores(part: str = "test") -> np.ndarray:
        network.eval()
        batches = {"valid": valid, "test": test}[part]
        with torch.no_grad():
            return torch.cat([network.predict(batch[0] if isinstance(batch, tuple) else batch) for batch in batches]).numpy()

    facts = {"rows": len(train._dataset.inter_feat), "parameters": sum(p.numel() for p in network.parameters())}
    return Session(lambda: trainer._train_epoch(train, next(done), show_progress=False), scores, facts)


if __name__ == "__main__":
    serve(build, recbole=recbole.__version__)
