"""The supernet: weights that are learned once, by slices; candidates that are scored with them and not trained."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import autorec_kernel.data
from autorec_kernel.contracts.evaluator import PROVISIONAL, EvaluationContext, Rung
from autorec_kernel.errors import UsageError
from autorec_kernel.features import build_features
from autorec_kernel.kernel import Kernel
from autorec_kernel.models import Network
from autorec_kernel.models.batching import batches_for
from autorec_kernel.recipe import Recipe
from autorec_kernel.search.genes import decode
from autorec_kernel.space import Genotype
from autorec_kernel.stages.prepare import open_table, ops_of
from autorec_kernel.stages.search import space_of
from autorec_supernet.bank import Bank, places
from autorec_supernet.calibration import drawn
from autorec_supernet.delegate import fresh
from autorec_supernet.one_shot import OneShot
from autorec_supernet.options import OneShotOptions
from autorec_supernet.paths import PathSettings, trained_bank

FULL = Rung(0, 1.0)
NARROW, WIDE = {"zoo/deepfm.embedding_dim": 8}, {"zoo/deepfm.embedding_dim": 16}
SETTINGS = PathSettings(12, 1e-2, 0.0, 256, 0.1)
Context = Callable[..., EvaluationContext]
Point = Callable[..., Genotype]


def one_shot(**options: Any) -> OneShot:
    return OneShot(OneShotOptions(**{"candidates": 0, "steps": 12, "batch_size": 256, "full": {"epochs": 2, "batch_size": 256}, **options}))


@pytest.fixture
def given(context: Context) -> EvaluationContext:
    return context("supernet/one-shot")


@pytest.fixture
def prepared(given: EvaluationContext) -> EvaluationContext:
    return replace(given, artefacts=one_shot().prepare(given))


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count calls of the fit loop."""
    module = importlib.import_module("autorec_kernel.models.train")
    fit, calls = module.fit, list[int]()
    monkeypatch.setattr(module, "fit", lambda *args, **options: calls.append(1) or fit(*args, **options))
    return calls


def network_of(context: EvaluationContext, genotype: Genotype, seed: int) -> Network:
    return fresh(decode(genotype, context.features.schema, context.kernel), context, seed)


def values_of(network: Network) -> dict[str, torch.Tensor]:
    return {place.key: place.value.clone() for place in places(network)}


def test_a_narrower_candidate_has_the_leading_slices_of_a_wider_one(given: EvaluationContext, point: Point) -> None:
    assert given.space is not None
    wide, narrow = (network_of(given, point(given.space, "zoo/deepfm", **told), seed) for seed, told in enumerate((WIDE, NARROW)))
    bank = Bank()
    bank.lend(wide, grow=True)
    assert bank.lend(narrow) == 1.0
    large, small = values_of(wide), values_of(narrow)
    assert set(large) == set(small)
    for key, value in small.items():
        assert torch.equal(value, large[key][tuple(slice(0, size) for size in value.shape)])
    assert any(value.shape != large[key].shape for key, value in small.items())


def test_a_wider_candidate_keeps_what_narrower_ones_have_learned(given: EvaluationContext, point: Point) -> None:
    assert given.space is not None
    narrow, wide = (network_of(given, point(given.space, "zoo/deepfm", **told), seed) for seed, told in enumerate((NARROW, WIDE)))
    bank = Bank()
    bank.lend(narrow, grow=True)
    fresh_columns = values_of(wide)["table/item"][:, 8:]
    bank.lend(wide, grow=True)
    assert torch.equal(values_of(wide)["table/item"][:, :8], values_of(narrow)["table/item"])
    assert torch.equal(values_of(wide)["table/item"][:, 8:], fresh_columns)


def test_a_step_is_adamw_in_the_slice_of_the_candidate_alone(given: EvaluationContext, point: Point) -> None:
    assert given.space is not None
    wide, narrow = (network_of(given, point(given.space, "zoo/deepfm", **told), seed) for seed, told in enumerate((WIDE, NARROW)))
    bank = Bank()
    bank.lend(wide, grow=True)
    before, oracle = values_of(wide), None
    for _ in range(3):
        bank.lend(narrow)
        if oracle is None:
            weight = torch.nn.Parameter(values_of(narrow)["table/item"].clone())
            oracle = torch.optim.AdamW([weight], lr=0.01, weight_decay=0.1)
        narrow.zero_grad(set_to_none=True)
        narrow.embedding_stores()[0].weight.grad = torch.ones_like(narrow.embedding_stores()[0].weight) * 0.3
        for store in narrow.embedding_stores():
            store.weight.grad = torch.full_like(store.weight, 0.3)
        weight.grad = torch.full_like(weight, 0.3)
        bank.learn(narrow, 0.01, 0.1)
        oracle.step()
    table = bank.tensors()["table/item"]
    torch.testing.assert_close(table[:, :8], weight.detach(), rtol=1e-5, atol=1e-7)
    assert torch.equal(table[:, 8:], before["table/item"][:, 8:])
    untouched = next(key for key in before if key.startswith("blocks/mlp"))
    assert torch.equal(bank.tensors()[untouched], before[untouched])


def test_moments_that_a_forward_pass_remembers_are_shared(context: Context, point: Point) -> None:
    given = context("supernet/one-shot", wanted=("zoo/din",))
    assert given.space is not None
    genotype = point(given.space, "zoo/din", **{"zoo/din.activation": "dice"})
    network, bank = network_of(given, genotype, 1), Bank()
    bank.lend(network, grow=True)
    network.train()
    network.loss(next(iter(batches_for(network, given.features, 256).epoch(np.random.default_rng(0))))).backward()  # type: ignore[no-untyped-call]
    bank.learn(network, 0.01, 0.0)
    other = network_of(given, genotype, 2)
    untouched = {place.key: place.value.clone() for place in places(other) if not place.learns}
    bank.lend(other)
    moments, learned = ({place.key: place.value for place in places(one) if not place.learns} for one in (other, network))
    assert {key.rpartition("/")[2].split(".")[-2] for key in moments} == {"mean", "variance"}
    for key, value in moments.items():
        assert torch.equal(value, learned[key]) and not torch.equal(value, untouched[key])


def test_the_shared_weights_learn(given: EvaluationContext, point: Point) -> None:
    assert given.space is not None
    space = given.space.fix({"ranker": "zoo/deepfm"})
    losses = []
    for steps, rate in ((1, 1e-9), (80, 1e-2)):
        bank, taken = trained_bank(space, given, replace(SETTINGS, steps=steps, learning_rate=rate))
        network = network_of(given, point(space, "zoo/deepfm"), 9)
        bank.lend(network)
        batch = next(iter(batches_for(network, given.features, 10_000).epoch(np.random.default_rng(0))))
        losses.append(float(network.eval().loss(batch).detach()))
        assert taken == steps
    assert losses[1] < losses[0] - 0.05


def test_searches_cost_no_full_training(given: EvaluationContext, trainings: list[int]) -> None:
    """Once the weights are there, any number of candidates, and further searches with the same weights, train nothing."""
    assert given.space is not None
    made = one_shot().prepare(given)
    assert trainings == []
    rng, supernet = np.random.default_rng(4), str(given.folder / made["supernet"])
    for search in range(3):
        evaluator = one_shot(weights=supernet)
        again = evaluator.prepare(replace(given, seed=search, artefacts={}))
        assert again["supernet"] == made["supernet"]
        for trial in range(4):
            found = evaluator.evaluate(given.space.sample(rng), FULL, replace(given, trial=trial, artefacts=again))
            assert (found.status, found.details["judged"]["by"], found.details["epochs"]) == ("complete", "supernet/one-shot", 0)
            assert "weights" not in found.artefacts
    assert trainings == []


def test_weights_of_other_data_or_of_another_space_are_refused(context: Context, given: EvaluationContext, tmp_path: Path) -> None:
    assert given.space is not None
    supernet = str(given.folder / one_shot().prepare(given)["supernet"])
    narrower = replace(given, space=given.space.fix({"ranker": "zoo/deepfm"}))
    for other in (narrower, replace(given, features=replace(given.features, digest="0" * 16))):
        with pytest.raises(UsageError, match=r"were made for features \w+, space \w+; this search has"):
            one_shot(weights=supernet).prepare(other)
    bare = tmp_path / "bare.safetensors"
    save_file({"x": torch.zeros(1)}, bare)
    with pytest.raises(UsageError, match="made for nothing that it says"):
        one_shot(weights=str(bare)).prepare(given)
    with pytest.raises(UsageError, match="there is no file"):
        one_shot(weights=str(tmp_path / "none")).prepare(given)


def test_measuring_the_agreement_trains_as_many_as_it_says_and_once(given: EvaluationContext, trainings: list[int]) -> None:
    evaluator = one_shot(candidates=6)
    made = evaluator.prepare(given)
    assert len(trainings) == 6
    told = (given.folder / made["notes"]).read_text()
    assert told.startswith("supernet/one-shot: ") and "full" in told


def test_the_winner_is_trained_in_full_when_it_is_taken_up_and_refitted_for_as_many_epochs(
    prepared: EvaluationContext, point: Point, trainings: list[int]
) -> None:
    assert prepared.space is not None
    genotype = point(prepared.space, "zoo/deepfm")
    found = one_shot().evaluate(genotype, FULL, prepared)
    later = replace(prepared, artefacts={}, space=None)
    model = one_shot().restore(genotype, found.artefacts, later)
    assert model is not None and len(trainings) == 1
    whole = prepared.kernel.create("evaluator", "training/full", epochs=2, batch_size=256)
    metrics = whole.evaluate(genotype, FULL, replace(later, trial=3))
    assert whole._judge(model.module, later)[0] == metrics.metrics
    refitted = one_shot().refit(genotype, found.details, later)
    assert refitted.provenance["epochs"] == metrics.details["best_epoch"]


def test_a_scored_result_is_provisional_and_names_all_labels(context: Context, point: Point) -> None:
    given = context("supernet/one-shot", wanted=("zoo/mmoe",), further=True)
    assert given.space is not None
    given = replace(given, artefacts=one_shot().prepare(given))
    found = one_shot().evaluate(point(given.space, "zoo/mmoe"), FULL, given)
    assert (found.details["judged"]["by"], found.details[PROVISIONAL], len(found.details["tasks"])) == ("supernet/one-shot", True, 3)


BASE = "baselines/logistic-regression"


def test_a_baseline_is_trained_in_full_and_refitted_so(context: Context, point: Point, trainings: list[int]) -> None:
    given = context("supernet/one-shot", wanted=("zoo/deepfm", BASE))
    assert given.space is not None
    given = replace(given, artefacts=one_shot().prepare(given))
    found = one_shot().evaluate(point(given.space, BASE), FULL, given)
    assert found.details["judged"]["because"] == "a baseline is trained in full"
    assert (found.details["judged"]["by"], PROVISIONAL in found.details, len(trainings)) == ("training/full", False, 1)
    later = replace(given, artefacts={}, space=None)
    assert one_shot().restore(point(given.space, BASE), found.artefacts, later) is not None and len(trainings) == 1
    assert one_shot().refit(point(given.space, BASE), found.details, later).provenance["epochs"] == max(1, found.details["best_epoch"])


def test_no_baseline_is_among_what_is_judged_both_ways(context: Context) -> None:
    given = context("supernet/one-shot", wanted=("zoo/deepfm", BASE))
    assert given.space is not None
    found = drawn(given.space, given, 12)
    assert len(found) == 12 and {genotype["ranker"] for genotype in found} == {"zoo/deepfm"}


def test_a_candidate_that_climbs_is_trained_where_the_options_say_so(prepared: EvaluationContext, point: Point) -> None:
    assert prepared.space is not None
    genotype, evaluator = point(prepared.space, "zoo/deepfm"), one_shot(train_last=True)
    first, last = (evaluator.evaluate(genotype, rung, prepared) for rung in (Rung(0, 0.34), Rung(1, 1.0)))
    assert [one.details["judged"]["by"] for one in (first, last)] == ["supernet/one-shot", "training/full"]
    model = evaluator.restore(genotype, last.artefacts, prepared)
    assert model is not None


def test_preparing_and_scoring_are_the_same_in_every_process(prepared: EvaluationContext, point: Point) -> None:
    assert dict(one_shot().prepare(replace(prepared, artefacts={}))) == dict(prepared.artefacts)
    assert prepared.space is not None
    genotype = point(prepared.space, "zoo/dcn")
    first, second = (one_shot().evaluate(genotype, FULL, prepared) for _ in range(2))
    assert (first.metrics, first.details) == (second.metrics, second.details)


def test_features_that_come_and_go_are_no_part_of_what_it_judges(given: EvaluationContext) -> None:
    assert given.space is not None
    whole, part = given.space, one_shot().subspace(given.space)
    assert any(name.startswith("features.") and gene.domain.size > 1 for name, gene in whole.items())
    assert all(gene.domain.size == 1 for name, gene in part.items() if name.startswith("features."))
    whole.check(part.default())


@pytest.mark.parametrize("wanted", [("cells/free-ranker",), ("zoo/dcn", "zoo/din", "cells/free-ranker")])
def test_free_cells_and_blueprints_share(context: Context, wanted: tuple[str, ...]) -> None:
    given = context("supernet/one-shot", wanted=wanted)
    assert given.space is not None
    bank, steps = trained_bank(given.space, given, SETTINGS)
    assert steps == SETTINGS.steps and len(bank.entries) > 20


def test_retrievers_share_too(context: Context, point: Point) -> None:
    given = context("supernet/one-shot", "recommend", ("zoo/sasrec", "zoo/dssm", "zoo/mf"))
    given = replace(given, artefacts=one_shot().prepare(given))
    assert given.space is not None
    found = one_shot().evaluate(point(given.space, "zoo/sasrec"), FULL, given)
    assert (found.status, found.details["judged"]["by"]) == ("complete", "supernet/one-shot")
    assert found.details["shared"] > 0.3


@pytest.mark.slow
def test_two_hundred_free_rankers_are_judged_in_ten_minutes(tmp_path: Path) -> None:
    """On 100,004 ratings of MovieLens, shared weights included; by one process with one thread."""
    began, told = time.monotonic(), {"task": "click", "positive_threshold": 4.0, "search_space": "full", "features": "raw"}
    recipe = Recipe(evaluator="supernet/one-shot", blueprints=("cells/free-ranker",), **told)  # type: ignore[arg-type]
    able = Kernel.discover(blocked=("workers",))
    data = Path(autorec_kernel.data.__file__).parent / "movielens"
    table = open_table(data / "ratings.csv.gz", recipe, able, None, data / "items.csv.gz")
    features = build_features(table, ops_of(able, recipe), seed=0, history_length=20, task="click")
    space = space_of(able, recipe, features.schema)[1].fix({"ranker": "cells/free-ranker"})
    given = EvaluationContext(able, features, "click", "auc", 0, 0, tmp_path, space=space)
    evaluator = one_shot(steps=200, batch_size=1024)
    given = replace(given, artefacts=evaluator.prepare(given))
    rng = np.random.default_rng(1)
    found = [evaluator.evaluate(space.sample(rng), FULL, replace(given, trial=number)) for number in range(200)]
    assert {one.status for one in found} == {"complete"} and len({one.details["architecture_digest"] for one in found}) >= 190
    assert time.monotonic() - began < 600.0
