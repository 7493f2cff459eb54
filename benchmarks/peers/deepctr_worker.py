"""deepctr-torch: `model.fit` of one epoch a call, Adam, its L2 penalties set to zero, no metrics while it trains."""

from __future__ import annotations

import os
import sys

sys.path.insert(0, os.path.dirname(__file__))

import numpy as np
import torch
from deepctr_torch import models
from deepctr_torch.inputs import SparseFeat, VarLenSparseFeat, get_feature_names
from worker import Options, Session, columns, serve, split

_PLAIN = {"l2_reg_linear": 0, "l2_reg_embedding": 0, "device": "cpu", "task": "binary"}


def model(given: Options):
    """Return the module and its feature columns."""
    names, sizes, item = columns(given)
    fields = [SparseFeat(name, vocabulary_size=sizes[name], embedding_dim=given.width) for name in names]
    deep = {"dnn_hidden_units": given.hidden, "dnn_dropout": given.dropout, "seed": given.seed}
    if given.model == "DIN":
        past = SparseFeat(f"hist_{item}", vocabulary_size=sizes[item], embedding_dim=given.width, embedding_name=item)
        fields = [*fields, VarLenSparseFeat(past, maxlen=20, length_name="hist_length")]
        options = {"att_hidden_size": given.attention, "att_activation": "relu", "l2_reg_embedding": 0, "device": "cpu"}
        return models.DIN(fields, [item], **deep, **options), fields
    built = {
        "PNN": lambda: models.PNN(fields, **deep, l2_reg_embedding=0, device="cpu"),
        "NFM": lambda: models.NFM(fields, fields, **deep, **_PLAIN),
        "xDeepFM": lambda: models.xDeepFM(fields, fields, cin_layer_size=(64, 64), cin_split_half=False, **deep, **_PLAIN),
        "WideDeep": lambda: models.WDL(fields, fields, **deep, **_PLAIN),
        "DeepFM": lambda: models.DeepFM(fields, fields, **deep, **_PLAIN),
        "DCN": lambda: models.DCN(fields, fields, cross_num=3, cross_parameterization="vector", l2_reg_cross=0, **deep, **_PLAIN),
        "DCNv2": lambda: models.DCN(fields, fields, cross_num=3, cross_parameterization="matrix", l2_reg_cross=0, **deep, **_PLAIN),
        "AFM": lambda: models.AFM(fields, fields, attention_factor=given.attention[0], l2_reg_att=0, seed=given.seed, **_PLAIN),
        "FiBiNET": lambda: models.FiBiNET(fields, fields, bilinear_type="interaction", reduction_ratio=3, **deep, **_PLAIN),
        "AutoInt": lambda: models.AutoInt(fields, fields, att_layer_num=3, att_head_num=2, **deep, l2_reg_embedding=0, device="cpu"),
    }[given.model]()
    return built, fields


def inputs(given: Options, part: dict[str, np.ndarray], fields: list) -> dict[str, np.ndarray]:
    """Return the named inputs of a split."""
    part = {**part, f"hist_{columns(given)[2]}": part["history"], "hist_length": (part["history"] != 0).sum(1)}
    return {name: part[name] for name in get_feature_names(fields)}


def build(given: Options) -> Session:
    """Return the session."""
    network, fields = model(given)
    train, asked = split(given, "train"), {part: inputs(given, split(given, part), fields) for part in ("valid", "test")}
    x, y = inputs(given, train, fields), train["label"]
    network.compile(torch.optim.Adam(network.parameters(), lr=given.rate), "binary_crossentropy", metrics=[])
    facts = {"rows": len(y), "parameters": sum(p.numel() for p in network.parameters())}

    def scores(part: str = "test") -> np.ndarray:
        return network.predict(asked[part], given.batch)

    return Session(lambda: network.fit(x, y, batch_size=given.batch, epochs=1, verbose=0), scores, facts)


if __name__ == "__main__":
    serve(build, deepctr_torch="0.3.0")
