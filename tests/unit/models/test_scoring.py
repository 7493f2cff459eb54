from __future__ import annotations

import numpy as np
import pytest
import torch

from autorec_kernel.models import build_network, evaluate_ranking, predict_rows, predict_tasks, row_metrics, solve_blocks, task_metrics
from autorec_kernel.models.scoring import rank_block
from autorec_kernel.serving.foldin import FoldIn
from autorec_kernel.testing.model_cases import features_for

pytestmark = pytest.mark.plugins


@pytest.fixture
def built(kernel, features_of):
    def build(task, name):
        features = features_of(task)
        graph = kernel.create("blueprint", name).architecture(features.schema)
        arrays = solve_blocks(graph, features, kernel, seed=np.random.SeedSequence(0))
        return build_network(graph, features.schema, kernel, arrays).eval(), features

    return build


def lists(*histories):
    offsets = np.cumsum([0, *map(len, histories)]).astype(np.int64)
    return offsets, np.array([item for history in histories for item in history], np.int64)


def test_a_factorised_network_scores_by_the_product_of_its_vectors(built):
    network, features = built("recommend", "zoo/mf")
    vectors = network.item_vectors().numpy()
    found = rank_block(network, features.state(), np.array([3, 5]), lists([1], []), vectors)
    assert np.allclose(found, network.stores["64"].table("user").detach().numpy()[[3, 5]] @ vectors.T, atol=1e-6)


def test_a_user_id_that_training_never_saw_is_folded_in_from_the_history(built):
    network, features = built("recommend", "zoo/mf")
    vectors = network.item_vectors().numpy()
    found = rank_block(network, features.state(), np.array([0]), lists([4, 7]), vectors)
    assert np.allclose(found, FoldIn(vectors).users([np.array([4, 7])]) @ vectors.T, atol=1e-6)


def test_a_history_reader_answers_strangers_like_anyone(built):
    network, features = built("recommend", "zoo/sasrec")
    vectors = network.item_vectors().numpy()
    stranger, known = (rank_block(network, features.state(), np.array([user]), lists([4, 7]), vectors) for user in (0, 3))
    assert np.array_equal(stranger, known)


@pytest.mark.parametrize("name", ["zoo/mf", "zoo/sasrec", "baselines/ease"])
def test_the_ranking_does_not_depend_on_how_users_are_cut_into_blocks(built, monkeypatch, name):
    network, features = built("recommend", name)
    evaluation = features.evaluation("valid")
    whole = evaluate_ranking(network, features, evaluation, ("ndcg@10",)).mean()
    monkeypatch.setattr("autorec_kernel.models.scoring._CELLS", 3 * features.schema.items)
    assert evaluate_ranking(network, features, evaluation, ("ndcg@10",)).mean() == pytest.approx(whole)


def test_what_was_seen_is_left_out_unless_asked_for(built):
    network, features = built("recommend", "baselines/popularity")
    evaluation = features.evaluation("valid")
    without, along = (evaluate_ranking(network, features, evaluation, ("hr@10",), exclude_seen=flag).mean() for flag in (True, False))
    assert without["hr@10"] > along["hr@10"]


def test_predictions_keep_their_rows_across_blocks_and_stay_in_the_labels_range(built, monkeypatch):
    network, features = built("rate", "zoo/deepfm")
    with torch.no_grad():
        for store in network.stores.values():
            store.weight.mul_(100)
    rows = features.rows("valid")
    whole = predict_rows(network, features, rows, "rating")
    monkeypatch.setattr("autorec_kernel.models.scoring._ROWS", 7)
    assert np.allclose(predict_rows(network, features, rows, "rating"), whole, atol=1e-3)
    assert (whole.min(), whole.max()) == (1.0, 5.0)
    assert predict_rows(network, features, rows[:0], "rating").shape == (0,)


def test_row_metrics_compare_predictions_with_labels(built):
    network, features = built("rate", "zoo/deepfm")
    result, predictions = row_metrics(network, features, "valid", "rating", ("rmse",))
    labels = features.labels()[features.rows("valid")]
    assert result.values["rmse"] == pytest.approx(float(np.sqrt(np.mean((labels - predictions) ** 2))), rel=1e-5)


def test_every_task_is_judged_on_the_rows_whose_label_is_known_or_ruled_out(kernel):
    features = features_for(kernel, "click", further=True)
    graph = kernel.create("blueprint", "zoo/shared-bottom").architecture(features.schema)
    network = build_network(graph, features.schema, kernel, seed=1).eval()
    rows = features.rows("valid")
    predictions = predict_tasks(network, features, rows)
    found = task_metrics(network, features, "valid")
    assert set(found) == {"auc:rating", "log_loss:rating", "auc:like", "log_loss:like", "rmse:minutes", "mae:minutes"}
    assert features.schema.implies["like"] == ("rating",)
    likes = np.where(np.isnan(features.labels("like")[rows]) & (features.labels("rating")[rows] == 0), 0, features.labels("like")[rows])
    known = ~np.isnan(likes)
    assert (~np.isnan(features.labels("like")[rows])).sum() < known.sum() < len(rows)
    labels, scores = likes[known], predictions["like"][known]
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[labels == 1] for b in scores[labels == 0]]
    assert found["auc:like"] == pytest.approx(np.mean(pairs))
    errors = predictions["minutes"].astype(float) - features.labels("minutes")[rows]
    assert found["rmse:minutes"] == pytest.approx(np.sqrt((errors**2).mean()))
    assert np.array_equal(predict_rows(network, features, rows, "like"), predictions["like"])


def test_the_one_task_of_one_label_has_its_plain_metrics_only(built):
    network, features = built("click", "zoo/deepfm")
    assert task_metrics(network, features, "valid") == {}
