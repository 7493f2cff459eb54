"""FuxiCTR: its feature processor, loaders and `fit` of one epoch a call; `model_zoo` comes from a checkout named in PYTHONPATH."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, os.path.dirname(__file__))

import fuxictr
import numpy as np
import pandas as pd
from fuxictr.features import FeatureMap
from fuxictr.preprocess import FeatureProcessor, build_dataset
from fuxictr.pytorch.dataloaders import RankDataLoader
from fuxictr.pytorch.torch_utils import seed_everything
from worker import Options, Session, columns, serve, split


def extra(given: Options) -> dict:
    """Return the options of the model."""
    hidden, (names, _, item) = list(given.hidden), columns(given)
    sides = {"fs1_context": [name for name in names if name.startswith("user")], "fs2_context": [n for n in names if n.startswith("item")]}
    din = {"attention_hidden_units": list(given.attention), "attention_hidden_activations": "ReLU"}
    return {
        "LR": {},
        "FM": {},
        "PNN": {"hidden_units": hidden},
        "NFM": {"hidden_units": hidden},
        "xDeepFM": {"dnn_hidden_units": hidden, "cin_hidden_units": [64, 64]},
        "FinalMLP": {"mlp1_hidden_units": hidden, "mlp2_hidden_units": hidden, "fs_hidden_units": [64], "num_heads": 2, **sides},
        "WideDeep": {"hidden_units": hidden},
        "DeepFM": {"hidden_units": hidden},
        "DCN": {"dnn_hidden_units": hidden, "num_cross_layers": 3},
        "DCNv2": {"model_structure": "parallel", "parallel_dnn_hidden_units": hidden, "num_cross_layers": 3},
        "AFM": {"attention_dim": given.attention[0], "attention_dropout": [0, 0]},
        "FiBiNET": {"hidden_units": hidden, "reduction_ratio": 3, "bilinear_type": "field_interaction"},
        "AutoInt": {"dnn_hidden_units": hidden, "attention_layers": 3, "num_heads": 2, "attention_dim": 16},
        "DIN": {"dnn_hidden_units": hidden, "din_target_field": item, "din_sequence_field": "history", **din},
    }[given.model]


def write(given: Options, folder: Path, names: list[str]) -> list[str]:
    """Write the parts as CSV and return their paths."""
    paths = []
    for part in ("train", "valid", "test"):
        values = split(given, part)
        frame = pd.DataFrame({"label": values["label"].astype(int), **{name: values[name] for name in names}})
        if given.model == "DIN":
            frame["history"] = ["^".join(str(v) for v in row if v) for row in values["history"].tolist()]
        paths.append(str(folder / f"{part}.csv"))
        frame.to_csv(paths[-1], index=False)
    return paths


def transform(processor, frame, split: str = "train", block_size: int = 0) -> None:
    """Encode a part and keep it for the memory loader; the library's own version starts a Ray cluster to do so."""
    table = frame.collect()
    values = processor.transform({name: table[name].to_numpy() for name in table.columns})
    np.savez(Path(processor.data_dir) / f"{split}.npz", **{name: np.stack(list(value)) for name, value in values.items()})


def build(given: Options) -> Session:
    """Return the session."""
    logging.disable(logging.INFO)
    folder = Path(tempfile.mkdtemp(dir=given.work))
    names, _, item = columns(given)
    csv = write(given, folder, names)
    fields = [{"name": names, "active": True, "dtype": "str", "type": "categorical"}]
    if given.model == "DIN":
        past = {"name": "history", "active": True, "dtype": "str", "type": "sequence", "splitter": "^", "max_len": 20, "padding": "pre"}
        fields.append({**past, "share_embedding": item, "feature_encoder": None})
    label = {"name": "label", "dtype": "float"}
    options = {
        "dataset_id": "clicks", "data_root": str(folder), "data_format": "npz", "feature_cols": fields, "label_col": label,
        "embedding_dim": given.width, "batch_size": given.batch, "learning_rate": given.rate, "net_dropout": given.dropout,
        "batch_norm": False, "embedding_regularizer": 0, "net_regularizer": 0, "optimizer": "adam", "loss": "binary_crossentropy",
        "task": "binary_classification", "metrics": ["AUC"], "monitor": "AUC", "monitor_mode": "max", "early_stop_patience": 9,
        "save_best_only": True, "eval_steps": None, "verbose": 0, "model_root": str(folder / "ck"), "num_workers": 0,
        "use_features": None, "feature_specs": None, "gpu": -1, "seed": given.seed,
    }  # fmt: skip
    seed_everything(given.seed)
    (folder / "ck" / "clicks").mkdir(parents=True)
    processor = FeatureProcessor(feature_cols=fields, label_col=label, dataset_id="clicks", data_root=str(folder))
    sys.modules["fuxictr.preprocess.build_dataset"].transform = transform
    build_dataset(processor, train_data=csv[0], valid_data=csv[1], test_data=csv[2], data_format="csv")
    files = [str(folder / "clicks" / f"{part}.npz") for part in ("train", "valid", "test")]
    mapping = FeatureMap("clicks", str(folder / "clicks"))
    mapping.load(str(folder / "clicks" / "feature_map.json"), options)
    loading = {"batch_size": given.batch, "data_format": "npz", "num_workers": 0}  # its loader without Ray: the faster one here
    train, valid = RankDataLoader(mapping, stage="train", train_data=files[0], valid_data=files[1], shuffle=True, **loading)
    test = RankDataLoader(mapping, stage="test", test_data=files[2], shuffle=False, **loading)
    place = f"{given.model}.{given.model}_torch" if given.model in ("DeepFM", "WideDeep", "DCN") else given.model
    if given.model in ("FM", "LR"):  # they name their penalty `regularizer`, None unless given
        options = {name: value for name, value in options.items() if not name.endswith("_regularizer")}
    network = getattr(importlib.import_module(f"model_zoo.{place}.src"), given.model)(mapping, given.model, **{**options, **extra(given)})
    network.eval_step = network.load_weights = lambda *_, **__: None  # `fit` cannot do without validation data: it is not evaluated
    facts = {"rows": len(split(given, "train")["label"]), "parameters": sum(p.numel() for p in network.parameters())}

    def scores(part: str = "test") -> np.ndarray:
        return np.asarray(network.predict({"valid": valid, "test": test}[part]))

    return Session(lambda: network.fit(train, validation_data=valid, epochs=1), scores, facts)


if __name__ == "__main__":
    serve(build, fuxictr=getattr(fuxictr, "__version__", "2.3.10"))
