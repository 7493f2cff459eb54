from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from autorec_kernel.contracts.evaluator import EvaluationContext, Rung
from autorec_kernel.data import open_dataset
from autorec_kernel.deploy.export import export_onnx, parity
from autorec_kernel.errors import ContractError
from autorec_kernel.features import build_features
from autorec_kernel.kernel import Kernel
from autorec_kernel.models import Entities, FitSettings, evaluate_ranking, train
from autorec_kernel.models.batching import batches_for
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.search.genes import assemble_space, offers
from autorec_kernel.serving.wire import check_graph
from autorec_kernel.space import Genotype
from autorec_training.full import FullTraining

HISTORY = torch.tensor([[3, 1, 2, 0], [5, 0, 0, 0], [7, 8, 9, 10]])
NAME = "cascade/reranked"


@pytest.fixture(scope="module")
def features(features_of):
    return features_of("recommend")


@pytest.fixture
def cascade(built, features):
    return lambda **config: built(NAME, features, **config).attach(Entities(features))


def served(network, history: torch.Tensor, features) -> dict[str, Any]:
    state = features.state().inputs(network.inputs, users=np.zeros(len(history), np.int64))
    batch = {name: torch.as_tensor(value) for name, value in state.items()} | {"history": history}
    network.store()
    with torch.no_grad():
        return network.run(network.reach.serving, batch, {name: network._stored(name) for name in network.reach.border})


@pytest.mark.parametrize("seen", [False, True])
def test_the_answer_is_the_shortlist_reranked_and_then_the_first_stage(cascade, features, seen):
    network = cascade(count=5, seen=seen)
    values = served(network, HISTORY, features)
    first, score, given = (values[name].numpy() for name in ("first", "score", "reranked"))
    for row, history in enumerate(HISTORY.tolist()):
        items = range(1, features.schema.items)
        best = sorted(items, key=lambda item: (not seen and item in history, -first[row, item], item))
        assert sorted(values["shortlist"][row].tolist()) == sorted(best[:5])
        listed = [int(values["shortlist"][row][place]) for place in np.argsort(-given[row])]
        order = sorted(items, key=lambda item: -score[row, item])
        assert order[:5] == listed
        rest = order[5:]
        assert np.all(np.diff(first[row, rest]) <= 1e-6)


def test_the_loss_reaches_every_weight_and_no_closed_form(cascade, features):
    network = cascade().train()
    learned = dict(network.named_parameters())
    assert not any(name.startswith(network.solved) for name in learned)
    for batch in batches_for(network, features, 16).epoch(np.random.default_rng(0)):
        network.loss(batch).backward()
    assert [name for name, weight in learned.items() if weight.grad is None or not weight.grad.any()] == []


def test_gradient_steps_read_the_fit_part_and_answers_read_all(cascade, features):
    network = cascade()
    weights = network.architecture["first_weights"]
    whole = network.value(weights, {}, {})
    fitted = network.train().value(weights, {}, {})
    assert not torch.equal(whole, fitted)
    assert torch.equal(network.eval().value(weights, {}, {}), whole)


@pytest.mark.parametrize(
    "config",
    [
        {},
        pytest.param({"first": "neighbours", "second": "none", "count": 5}, marks=pytest.mark.slow),
        pytest.param({"first": "ease", "second": "neighbours", "seen": True}, marks=pytest.mark.slow),
        pytest.param({"first": "factors", "second": "ease"}, marks=pytest.mark.slow),
    ],
)
def test_an_exported_cascade_answers_as_the_network_does(cascade, features, config):
    network = cascade(**config)
    sample = features.state().inputs(network.inputs, users=np.arange(16))
    graph = export_onnx(network, sample)
    check_graph(graph, "cascade")
    assert parity(network, graph, sample) <= 1e-5
    for history in ([[0, 0, 0], [1, 2, 3]], [[4], [9]], [list(range(1, 8))] * 2):
        rows = {name: value[:2] for name, value in sample.items()} | {"history": np.array(history)}
        assert parity(network, graph, rows) <= 1e-5


def test_more_padding_changes_no_answer(cascade, features):
    network = cascade(count=5)
    longer = torch.cat([HISTORY, torch.zeros(3, 5, dtype=torch.int64)], 1)
    assert torch.allclose(served(network, HISTORY, features)["score"], served(network, longer, features)["score"], atol=1e-5)


def test_closed_forms_are_the_baselines_own_so_that_a_run_solves_them_once(kernel, features):
    def solved(name: str, node: str) -> tuple[str, dict]:
        found = kernel.create("blueprint", name).architecture(features.schema)[node]
        return found.block, dict(found.config)

    assert solved(NAME, "first_weights") == solved("baselines/directed", "weights")
    assert solved(NAME, "second_items") == solved("baselines/ials", "items")


def test_data_that_do_not_suit_are_refused_with_the_reason(kernel, features):
    bare = replace(features.schema, ordered=False)
    graph = kernel.create("blueprint", NAME).architecture(bare)
    assert graph["first_weights"].block == "blocks/ease"
    assert graph["reranked"].config["ordered"] is False
    with pytest.raises(ContractError, match="ordered"):
        kernel.create("blueprint", NAME, first="directed").architecture(bare)
    with pytest.raises(ContractError, match="history"):
        kernel.create("blueprint", NAME).architecture(FeatureSchema())


def test_it_is_a_point_of_the_wide_space_with_a_dozen_genes_and_of_no_narrow_one(kernel, features):
    names = {
        preset: {one.id for one in offers(kernel, "recommend", features.schema, preset=preset)} for preset in ("narrow", "wide", "full")
    }
    assert [NAME in names[preset] for preset in ("narrow", "wide", "full")] == [False, True, True]
    space = assemble_space(kernel, offers(kernel, "recommend", features.schema), features.schema, "training/full")
    assert 8 <= sum(gene.name.startswith(f"{NAME}.") for gene in space.genes) <= 12


@pytest.fixture
def context(kernel, features, tmp_path):
    tmp_path.joinpath("artefacts").mkdir()
    return EvaluationContext(kernel, features, "recommend", "ndcg@10", seed=5, trial=3, folder=tmp_path / "artefacts")


def chosen(context) -> Genotype:
    schema = context.features.schema
    space = assemble_space(context.kernel, offers(context.kernel, "recommend", schema), schema, "training/full")
    return space.canonical(Genotype({**space.default(), "pipeline": "retriever", "retriever": NAME}))


def quick() -> FullTraining:
    return FullTraining(FullTraining.Config(epochs=3, batch_size=160))


def test_a_trial_comes_back_as_it_was_judged_and_repeats_bit_by_bit(context):
    first, second = (quick().evaluate(chosen(context), Rung(0, 1.0), context) for _ in range(2))
    assert (first.status, first.error) == ("complete", "")
    assert first.details["weights"] == second.details["weights"]
    assert first.metrics == second.metrics
    assert first.metrics["ndcg@10"] == pytest.approx(max(first.details["values"]), abs=1e-8)  # epochs are judged as the trial is
    model = quick().restore(chosen(context), first.artefacts, context)
    metrics, _ = quick()._judge(model.module, context)
    assert metrics == first.metrics


def test_a_refit_cuts_its_own_rows_and_learns(context):
    model = quick().refit(chosen(context), {"best_epoch": 2}, context)
    assert model.provenance["epochs"] == 2
    assert set(model.module.earlier)


GENRES, FILMS = 3, 12


def planted() -> pd.DataFrame:
    """Return choices of users who each like one genre, and are each time told by a sign which film of a genre is on.

    The whole history tells the genre, and so which films come into question; which of them is chosen, the newest step says. A closed form
    that reads a history as a bag finds the first and not the second.
    """
    rng = np.random.default_rng(0)
    rows = []
    for user in range(300):
        genre, films = user % GENRES, rng.permutation(FILMS)[:7]
        steps = [step for film in films for step in (f"sign {film}", f"film {genre} {film}")]
        seen = [f"sign {film}" for film in rng.permutation(FILMS)]
        rows += [(f"u{user}", step, place) for place, step in enumerate([*seen, *steps, "sign 0"])]
    return pd.DataFrame(rows, columns=["user_id", "item_id", "position"])


def columns(events: pd.DataFrame) -> pd.DataFrame:
    """Return what is known of items: whether they are a sign or a film, and the number."""
    ids = sorted(set(events["item_id"]))
    return pd.DataFrame({"item_id": ids, "kind": [one.split()[0] for one in ids], "number": [f"n{one.split()[-1]}" for one in ids]})


@pytest.mark.parametrize("described", [False, True])
def test_the_right_candidates_in_the_wrong_order_are_put_in_the_right_one(described: bool) -> None:
    kernel, events = Kernel.discover(), planted()
    sides = {"items": columns(events)} if described else {}
    features = build_features(open_dataset(events, protocol="leave-one-out", **sides), kernel)
    form = {"regularisation": 5.0, "decay": 0.98}
    ranker = {"first": "ease", "second": "none", "count": 50, "seen": True, "width": 16, "hidden": 32, "dropout": 0.0, "length": 10}
    settings = FitSettings(epochs=20, batch_size=640, learning_rate=0.01, weight_decay=0.0)

    def found(name: str, **options: Any) -> float:
        graph = kernel.create("blueprint", name, **options).architecture(features.schema)
        network, _ = train(graph, features, features.schema, kernel, settings, seed=0, trial=0)
        return evaluate_ranking(network, features, features.evaluation("valid"), ("ndcg@10",)).mean()["ndcg@10"]

    graph = kernel.create("blueprint", NAME, **form, **ranker).architecture(features.schema)
    assert ("items.number" in str(graph.to_json())) is described
    assert found("baselines/recency-ease", **form) < 0.65
    assert found(NAME, **form, **ranker) > 0.85
