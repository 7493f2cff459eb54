"""torch-rechub: its own models through its own `CTRTrainer.train_one_epoch`, Adam without weight decay."""

from __future__ import annotations

import os
import sys

sys.path.insert(0, os.path.dirname(__file__))

import torch_rechub
from torch_rechub.basic.features import SequenceFeature, SparseFeature
from torch_rechub.models import ranking
from torch_rechub.trainers import CTRTrainer
from torch_rechub.utils.data import DataGenerator
from worker import Options, Session, columns, serve, split


def model(given: Options):
    """Return the module."""
    names, sizes, item = columns(given)
    fields = [SparseFeature(name, vocab_size=sizes[name], embed_dim=given.width) for name in names]
    deep = {"dims": list(given.hidden), "dropout": given.dropout, "activation": "relu"}
    if given.model == "DIN":
        past = SequenceFeature("history", vocab_size=sizes[item], embed_dim=given.width, pooling="concat", shared_with=item)
        target, others = [f for f in fields if f.name == item], [f for f in fields if f.name != item]
        towers = {
            "mlp_params": {"dims": list(given.hidden), "dropout": given.dropout},
            "attention_mlp_params": {"dims": list(given.attention), "activation": "relu"},
        }
        return ranking.DIN(features=others, history_features=[past], target_features=target, **towers)
    return {
        "WideDeep": lambda: ranking.WideDeep(fields, fields, deep),
        "DeepFM": lambda: ranking.DeepFM(fields, fields, deep),
        "DCN": lambda: ranking.DCN(fields, 3, deep),
        "DCNv2": lambda: ranking.DCNv2(fields, 3, deep, use_low_rank_mixture=False),
        "AFM": lambda: ranking.AFM(fields, given.width, t=given.attention[0]),
        "FiBiNET": lambda: ranking.FiBiNet(fields, deep, reduction_ratio=3),
        "AutoInt": lambda: ranking.AutoInt(fields, [], num_layers=3, num_heads=2, dropout=given.dropout, mlp_params=deep),
    }[given.model]()


def build(given: Options) -> Session:
    """Return the session."""
    names = columns(given)[0] + (["history"] if given.model == "DIN" else [])
    parts = [split(given, name) for name in ("train", "valid", "test")]
    inputs = [{name: part[name] for name in names} for part in parts]
    (x, vx, tx), (y, vy, ty) = inputs, [part["label"] for part in parts]
    train, valid, test = DataGenerator(x, y).generate_dataloader(x_val=vx, y_val=vy, x_test=tx, y_test=ty, batch_size=given.batch)
    network = model(given)
    trainer = CTRTrainer(network, optimizer_params={"lr": given.rate, "weight_decay": 0.0}, model_path=given.work)
    count = sum(p.numel() for p in network.parameters())

    def scores(part: str = "test") -> list:
        return trainer.predict(network, {"valid": valid, "test": test}[part])

    return Session(lambda: trainer.train_one_epoch(train), scores, {"rows": len(y), "parameters": count})


if __name__ == "__main__":
    serve(build, torch_rechub=getattr(torch_rechub, "__version__", "0.9.0"))
