from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from autorec_kernel.errors import ContractError
from autorec_kernel.models import evaluate_ranking, predict_rows
from autorec_kernel.models.scoring import rank_block
from autorec_kernel.records.features import FeatureSchema

RETRIEVERS = ("popularity", "recent-popularity", "item-knn", "ease", "recency-ease", "directed", "slim", "ials")


def scores(network, features, users):
    histories = features.interactions.take(users)
    vectors = network.item_vectors().numpy() if network.serving_outputs == ("user",) else None
    return rank_block(network, features.state(), users, histories, vectors)


def test_popularity_ranks_items_by_their_positive_events(built, features_of):
    features = features_of("recommend")
    counts = np.bincount(features.interactions.items, minlength=features.schema.items)
    found = scores(built("baselines/popularity", features), features, np.array([1, 2]))
    assert np.allclose(found, np.log1p(counts)[None])


def test_a_stranger_without_a_history_gets_what_is_popular(built, features_of):
    features = features_of("recommend")
    empty = np.zeros(2, np.int64), np.zeros(0, np.int64)
    for name in (*(f"baselines/{name}" for name in RETRIEVERS), "zoo/mf", "zoo/sasrec"):
        network = built(name, features)
        vectors = network.item_vectors().numpy() if network.serving_outputs == ("user",) else None
        found = rank_block(network, features.state(), np.array([0]), empty, vectors)
        assert np.array_equal(found[0], features.state().popularity), name


def test_ease_scores_are_the_history_times_the_matrix_and_recency_fades(built, features_of):
    features = features_of("recommend")
    history = features.interactions
    users = np.arange(1, history.users)
    matrix = np.zeros((history.users, history.item_count))
    matrix[np.repeat(np.arange(history.users), np.diff(history.offsets)), history.items] = 1.0
    inverse = np.linalg.inv(matrix.T @ matrix + 30.0 * np.eye(history.item_count))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    length = features.schema.of("history")[0]
    plain = scores(built("baselines/ease", features, regularisation=30.0), features, users)
    faded = scores(built("baselines/recency-ease", features, regularisation=30.0, decay=0.7), features, users)
    assert length.dynamic
    for place, user in enumerate(users):
        items = history.of(user)[-8:]  # the feature set keeps eight steps
        assert np.allclose(plain[place], weights[items].sum(0), atol=1e-5)
        assert np.allclose(faded[place], (0.7 ** np.arange(len(items))[::-1, None] * weights[items]).sum(0), atol=1e-5)


@pytest.mark.parametrize("name", RETRIEVERS)
def test_baselines_beat_chance_on_planted_data(built, features_of, name):
    features = features_of("recommend")
    result = evaluate_ranking(built(f"baselines/{name}", features), features, features.evaluation("valid"), ("ndcg@10",))
    assert result.mean()["ndcg@10"] > (0.15 if "popularity" in name else 0.25)


def test_the_bias_model_predicts_mean_plus_deviations(built, features_of):
    features = features_of("rate")
    network = built("baselines/bias", features)
    rows = features.rows("valid")
    history = features.interactions
    owners = np.repeat(np.arange(history.users), np.diff(history.offsets))
    mean = history.values.astype(float).mean()
    item, user = np.zeros(history.item_count), np.zeros(history.users)
    for _ in range(5):
        for index, table, rest in ((history.items, item, user[owners]), (owners, user, None)):
            left = history.values - mean - (item[history.items] if rest is None else rest)
            table[:] = [left[index == row].sum() / ((index == row).sum() + 5.0) for row in range(len(table))]
    expected = np.clip(mean + user[features.user_rows[rows]] + item[features.item_rows[rows]], *features.schema.label_range["rating"][:2])
    assert np.allclose(predict_rows(network, features, rows, "rating"), expected, atol=1e-4)


def test_every_rating_teaches_the_bias_model(features_of):
    features = features_of("rate")
    assert len(features.interactions.items) == len(features.rows("train"))


@pytest.mark.parametrize("task", ["click", "rate"])
def test_the_linear_model_starts_at_the_mean_label(built, features_of, task):
    features = features_of(task)
    network = built("baselines/logistic-regression", features)
    with torch.no_grad():
        for parameter in network.stores.parameters():
            parameter.zero_()
    mean = features.schema.label_range["rating"][2]
    assert np.allclose(predict_rows(network, features, features.rows("valid")[:5], "rating"), mean, atol=1e-5)


def test_a_large_catalogue_is_solved_on_its_frequent_items_and_the_graph_says_so(kernel, features_of):
    schema = features_of("recommend").schema

    def config(users, items):
        graph = kernel.create("blueprint", "baselines/ease").architecture(replace(schema, users=users, items=items))
        return graph["weights"].config.get("frequent")

    assert config(30_000, 25_000) == 12_000
    assert config(19_000, 40_000) == 12_000  # the smaller side times the items would not fit either
    assert config(1_000_000, 20_000) is None
    assert config(1_000, 100_000) is None


@pytest.mark.parametrize("name", [*RETRIEVERS, "bias", "logistic-regression"])
def test_a_baseline_refuses_data_that_it_cannot_read(kernel, name):
    with pytest.raises(ContractError):
        kernel.create("blueprint", f"baselines/{name}").architecture(FeatureSchema())


def test_the_directed_form_solves_a_large_catalogue_on_its_frequent_items(kernel, features_of):
    schema = features_of("recommend").schema
    graph = kernel.create("blueprint", "baselines/directed", decay=0.7)

    def config(items):
        return graph.architecture(replace(schema, items=items))["weights"].config

    assert "frequent" not in config(3_500)
    assert config(9_000)["frequent"] == 3_000
    assert graph.architecture(schema)["scores"].config["decay"] == config(9_000)["decay"] == 0.7


@pytest.mark.parametrize("name", ["slim", "ials"])
def test_without_an_order_nothing_fades(kernel, features_of, name):
    schema = features_of("recommend").schema
    faded, level = (kernel.create("blueprint", name).architecture(replace(schema, ordered=ordered)) for ordered in (True, False))
    assert [graph.nodes[-1].config["decay"] for graph in (faded, level)] == [0.9, 1.0]


@pytest.mark.parametrize("name", ["recency-ease", "directed", "recent-popularity"])
def test_recency_needs_an_order(kernel, features_of, name):
    with pytest.raises(ContractError, match=r"order|age"):
        kernel.create("blueprint", name).architecture(replace(features_of("recommend").schema, ordered=False))
