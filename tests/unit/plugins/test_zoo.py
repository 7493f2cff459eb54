from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from autorec_kernel.deploy.export import export_onnx, parity
from autorec_kernel.errors import ContractError
from autorec_kernel.models import predict_rows
from autorec_kernel.records.features import FeatureSchema

RANKERS = ("zoo/deepfm", "zoo/dcnv2", "zoo/din", "baselines/logistic-regression")
RETRIEVERS = ("zoo/mf", "zoo/sasrec", "baselines/popularity", "baselines/item-knn", "baselines/ease", "baselines/recency-ease")
SLOW = ("zoo/deepfm", "zoo/din", "zoo/sasrec")
ALL = [*((name, "rate") for name in (*RANKERS, "baselines/bias")), *((name, "recommend") for name in RETRIEVERS)]


def test_history_and_candidate_of_din_share_the_item_table_with_the_fields(built, features_of):
    network = built("zoo/din", features_of("click"))
    stores = {network.parts[f"n_{name}"].store for name in ("history", "candidate", "fields")}
    assert len(stores) == 1
    assert network.parts["n_history"].keys == network.parts["n_candidate"].keys == ("item",)


def test_sasrec_scores_with_the_embeddings_it_reads(built, features_of):
    network = built("zoo/sasrec", features_of("recommend"))
    assert network.parts["n_history"].store is network.parts["n_items"].store
    assert torch.equal(network.item_vectors(), network.parts["n_items"].store.table("item"))


@pytest.mark.parametrize(("name", "task"), [(name, task) for name in RANKERS for task in ("rate", "click")])
def test_a_ranker_answers_a_row_alike_alone_and_in_any_batch(built, features_of, name, task):
    features = features_of(task)
    network = built(name, features)
    rows = features.rows("valid")[:17]
    together = predict_rows(network, features, rows, "rating")
    alone = np.concatenate([predict_rows(network, features, rows[i : i + 1], "rating") for i in range(17)])
    assert np.allclose(together, alone, atol=1e-5)
    low, high, _ = features.schema.label_range["rating"]
    assert together.min() >= low
    assert together.max() <= high


@pytest.mark.parametrize(("name", "task"), [pytest.param(*case, marks=[pytest.mark.slow] * (case[0] in SLOW)) for case in ALL])
def test_the_exported_graph_answers_as_the_network_does(built, features_of, name, task):
    features = features_of(task)
    network = built(name, features)
    sample = features.row_inputs(network.inputs, features.rows("valid")[:17])
    assert parity(network, export_onnx(network, sample), sample) < 1e-5


@pytest.mark.parametrize("name", [name for name in (*RANKERS, *RETRIEVERS)])
def test_a_blueprint_refuses_data_without_ids_and_labels(kernel, name):
    with pytest.raises(ContractError):
        kernel.create("blueprint", name).architecture(FeatureSchema())


def test_sasrec_needs_an_order(kernel, features_of):
    with pytest.raises(ContractError, match="ordered"):
        kernel.create("blueprint", "sasrec").architecture(replace(features_of("recommend").schema, ordered=False))
