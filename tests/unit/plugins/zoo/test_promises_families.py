"""What is registered, and what a family of blueprints brings with it: a role, what it learns from, what judges it, and on which rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from autorec_kernel.data import open_dataset
from autorec_kernel.evaluation import METRICS, default_metric
from autorec_kernel.models.batching import batches_for
from autorec_kernel.testing.network_cases import network_for

FAMILIES = {"recall", "ranking", "multi-task"}
ROLES = {"recall": "retriever", "ranking": "ranker", "multi-task": "ranker"}
TASKS = {"recall": {"recommend"}, "ranking": {"click", "rate"}, "multi-task": {"click", "rate"}}
OF_REFERENCE = {
    "recall": "dssm facebook-dssm youtube-dnn gru4rec narm sasrec mind",
    "ranking": "widedeep deepfm dcn dcnv2 afm fibinet din dien bst edcn",
    "multi-task": "shared-bottom esmm mmoe ple",
}


@pytest.fixture(scope="module")
def zoo(kernel):
    return {row.id: row for row in kernel.components("blueprint") if row.id.startswith("zoo/")}


def family_of(row):
    (family,) = FAMILIES & set(row.tags)
    return family


@pytest.mark.parametrize("name", ["mf", "lightgcn", "sasrec", "transformer"])
def test_a_base_model_is_registered_and_usable(zoo, name):
    assert zoo[f"zoo/{name}"].usable
    assert family_of(zoo[f"zoo/{name}"]) == "recall"


def test_every_blueprint_is_of_one_family_and_has_its_role(kernel, zoo):
    assert {family_of(row) for row in zoo.values()} == FAMILIES
    for name, row in zoo.items():
        kind = kernel.load("blueprint", name)
        assert kind.role == ROLES[family_of(row)], name
        assert set(kind.tasks) <= TASKS[family_of(row)], name


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_the_models_of_the_reference_are_in_their_family(zoo, family):
    assert {family_of(zoo[f"zoo/{name}"]) for name in OF_REFERENCE[family].split()} == {family}


# --- losses -------------------------------------------------------------------------------------------------------------------------


def learned(kernel, suits, name, **config):
    blueprint = kernel.create("blueprint", name, **config)
    network = network_for(blueprint, suits(blueprint), kernel).eval()  # no dropout, so that a loss can be computed again
    return network, next(batches_for(network, suits(blueprint), 32).epoch(np.random.default_rng(0)))


def test_recall_learns_by_comparing_items_and_never_reads_a_label(kernel, zoo, suits):
    for name, row in zoo.items():
        if family_of(row) == "recall":
            network, batch = learned(kernel, suits, name)
            assert network.tasks == (), name
            assert network.loss_nodes, name
            if name != "zoo/facebook-dssm":  # it learns labels beside recall
                assert not [key for key in batch if key.startswith("@label:")], name


@pytest.mark.parametrize(("task", "error"), [("click", "cross-entropy"), ("rate", "square")])
def test_ranking_learns_the_label_of_a_row(built, features_of, task, error):
    features = features_of(task)
    network = built("zoo/fm", features)
    batch = next(batches_for(network, features, 32).epoch(np.random.default_rng(0)))
    with torch.no_grad():
        found, raw = float(network.loss(batch)), network(batch)["score"][:, 0].double().numpy()
    labels = batch["@label:rating"].double().numpy()
    chance = 1 / (1 + np.exp(-raw))
    each = (raw - labels) ** 2 if error == "square" else -labels * np.log(chance) - (1 - labels) * np.log(1 - chance)
    assert found == pytest.approx(each.mean(), rel=1e-4)


def test_several_tasks_learn_from_every_label(kernel, suits):
    for name in OF_REFERENCE["multi-task"].split():
        network, batch = learned(kernel, suits, f"zoo/{name}")
        labels = [key for key in batch if key.startswith("@label:")]
        assert len(labels) == len(network.tasks) >= 2, name
        whole = float(network.loss(batch).detach())
        for key in labels:
            known = torch.where(torch.isnan(batch[key]), batch[key], 1 - batch[key])
            assert float(network.loss({**batch, key: known}).detach()) != pytest.approx(whole, rel=1e-6), (name, key)


# --- metrics and splits -------------------------------------------------------------------------------------------------------------


def test_each_family_is_judged_by_a_metric_of_its_kind():
    kinds = {family: {METRICS[default_metric(task).partition("@")[0]].reads for task in tasks} for family, tasks in TASKS.items()}
    assert kinds == {"recall": {"lists"}, "ranking": {"rows"}, "multi-task": {"rows"}}
    assert [default_metric(task) for task in ("recommend", "click", "rate")] == ["ndcg@10", "auc", "rmse"]


def test_recall_is_judged_on_first_meetings_from_the_cut_and_ranking_on_every_row_as_it_comes():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"user": rng.integers(0, 30, 900), "item": rng.integers(0, 20, 900), "label": rng.integers(0, 2, 900)})
    frame["timestamp"] = 1_600_000_000 + np.arange(900) * 60
    found = {task: open_dataset(frame, task=task, roles={"label": "label"}) for task in ("recommend", "click")}
    assert {task: data.protocol.state for task, data in found.items()} == {"recommend": "cut", "click": "rolling"}
    assert found["recommend"].protocol.id != found["click"].protocol.id
    rows = {task: data.train.rows + data.valid.rows + data.test.rows for task, data in found.items()}
    assert rows["click"] == 900
    assert rows["recommend"] < 900  # a pair that repeats is no discovery
