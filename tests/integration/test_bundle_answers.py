"""Every first-party blueprint goes the whole way: trained, exported, bundled, and the bundle answers as the network does."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autorec_kernel.contracts import CompressionContext, PlanRequest, Target
from autorec_kernel.deploy.bundle import BundleFacts, served_model, write_bundle
from autorec_kernel.deploy.export import export_onnx, parity
from autorec_kernel.deploy.plan import FineTuner, apply_step, exported, measured, serving_sample
from autorec_kernel.deploy.quality import validation_quality
from autorec_kernel.evaluation import top_k
from autorec_kernel.kernel import Kernel
from autorec_kernel.models import FitSettings, predict_rows, train
from autorec_kernel.models.scoring import rank_block
from autorec_kernel.records.model import TrainedModel
from autorec_kernel.serving import Recommender
from autorec_kernel.serving.requests import concat
from autorec_kernel.testing.model_cases import features_for


@pytest.fixture(scope="module")
def kernel() -> Kernel:
    return Kernel.discover()


def trained(kernel: Kernel, blueprint: str, task: str) -> tuple[Any, Any, Any]:
    features = features_for(kernel, task)
    schema = replace(features.schema, ordered=True)
    architecture = kernel.create("blueprint", blueprint).architecture(schema)
    network, _ = train(architecture, features, schema, kernel, FitSettings(epochs=1), seed=0, trial=0)
    return network, features, TrainedModel(architecture, network, schema)


def bundled(network: Any, features: Any, folder: Path, task: str) -> Recommender:
    sample = serving_sample(network, features)
    graph = export_onnx(network, sample)
    assert parity(network, graph, sample) <= 1e-5
    state = features.state()
    return Recommender(
        write_bundle(folder, model=served_model(network, graph), state=state, sample=sample, facts=BundleFacts(task, "given"))
    )


RETRIEVERS = (
    *("baselines/popularity", "baselines/item-knn", "baselines/ease", "baselines/recency-ease"),
    *("zoo/mf", "zoo/sasrec", "zoo/mind", pytest.param("zoo/gru4rec", marks=pytest.mark.slow)),
)
RANKERS = ("baselines/logistic-regression", "zoo/deepfm", "zoo/dcnv2", "zoo/din")


@pytest.mark.parametrize("blueprint", RETRIEVERS)
def test_a_retriever_recommends_what_its_network_ranks_first(kernel: Kernel, tmp_path: Path, blueprint: str) -> None:
    network, features, _ = trained(kernel, blueprint, "recommend")
    recommender = bundled(network, features, tmp_path / "bundle", "recommend")
    state, users = features.state(), np.arange(1, features.schema.users)
    vectors = network.item_vectors().numpy() if network.serving_outputs == ("user",) else None
    scores = rank_block(network, state, users, concat([state.history_of(user) for user in users]), vectors)
    lists = top_k(scores, 5, concat([np.unique(state.seen_by(user)) for user in users]))
    answers = recommender.recommend(state.users.ids_of(users), k=5)
    expected = [tuple(state.items.ids_of(row[row >= 0])) for row in lists]
    close = [np.allclose(answer.scores, scores[place, lists[place]], atol=1e-5) for place, answer in enumerate(answers)]
    assert all(close)
    assert np.mean([answer.items == wanted for answer, wanted in zip(answers, expected, strict=True)]) > 0.9
    stranger = recommender.recommend(["nobody"], [list(answers[0].items)], k=3)[0]
    assert len(stranger.items) == 3
    assert not stranger.known


@pytest.mark.parametrize("task", ["click", "rate"])
@pytest.mark.parametrize("blueprint", RANKERS)
def test_a_ranker_predicts_what_its_network_predicts(kernel: Kernel, tmp_path: Path, blueprint: str, task: str) -> None:
    network, features, _ = trained(kernel, blueprint, task)
    recommender = bundled(network, features, tmp_path / "bundle", task)
    state = features.state()
    pairs = [(user, item) for user in (1, 2, 3) for item in (1, 5, 9)]
    users, items = state.users.ids_of([user for user, _ in pairs]), state.items.ids_of([item for _, item in pairs])
    found = recommender.predict([*users, "nobody"], [*items, "nothing"])
    low, high, _ = features.schema.label_range[network.tasks[0]]
    assert np.isfinite(found.values).all()
    assert found.values.min() >= low
    assert found.values.max() <= high
    assert len(np.unique(found.values)) > 3
    answer = recommender.recommend(users[:1], k=4)[0]
    np.testing.assert_allclose(recommender.score(users[0], answer.items), answer.scores, atol=1e-6)
    assert len(predict_rows(network, features, features.rows("valid"), network.tasks[0])) == len(features.rows("valid"))


@pytest.mark.slow
def test_a_plan_made_by_the_first_party_compressors_keeps_its_promises(kernel: Kernel) -> None:
    network, features, model = trained(kernel, "zoo/deepfm", "click")
    before = {name: value.clone() for name, value in network.state_dict().items()}

    def measure(served: Any) -> Any:
        return validation_quality(served, features, "click", "auc")

    target, sample = Target("wide", max_drop=0.9, max_doubt=1.0), serving_sample(network, features)
    context = CompressionContext(target, features, sample, FineTuner(features, 0, judge=measure), np.random.default_rng(0))
    start = exported(model, sample)
    start = replace(start, quality=measured(start, measure))
    apply = partial(apply_step, kernel, context, 0)
    request = PlanRequest(start, target, kernel, context, apply, lambda one: measured(one, measure))
    planner = kernel.create("planner", "additive")
    found, again = planner.plan(request), planner.plan(request)
    assert {step.component for step in found.steps} == {row.id for row in kernel.components("compressor")}
    assert all(step.reason for step in found.steps)
    taken, current = [step for step in found.steps if step.taken], start
    for step in taken:
        current = apply(current, step.component, step.config)
        assert current.bytes == step.after["bytes"]
    assert taken and current.bytes < 0.5 * start.bytes
    assert again.steps == found.steps
    after = network.state_dict()
    assert all(bool((after[name] == before[name]).all()) for name in before)
