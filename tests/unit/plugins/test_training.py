from __future__ import annotations

import json
import sys
import time

import numpy as np
import pytest
import torch
from torch import nn

from autorec_kernel.contracts.evaluator import CONVERGED, EvaluationContext, Rung
from autorec_kernel.errors import UsageError
from autorec_kernel.models import NotFiniteError, fit
from autorec_kernel.records.trial import Evaluation
from autorec_kernel.search.genes import assemble_space, decode, offers
from autorec_kernel.space import Genotype
from autorec_training.full import FullTraining

FULL = Rung(0, 1.0)


@pytest.fixture
def context(kernel, features_of, tmp_path):
    def make(task="rate", metric=None, **options):
        metric = metric or {"recommend": "ndcg@10", "rate": "rmse", "click": "auc"}[task]
        folder = tmp_path / "artefacts"
        folder.mkdir(exist_ok=True)
        given = {"seed": 5, "trial": 3, "folder": folder, **options}
        return EvaluationContext(kernel, features_of(task), task, metric, **given)

    return make


def genotype(context, blueprint, **changes):
    """Return the default genotype of a blueprint, with some genes changed."""
    kernel, schema = context.kernel, context.features.schema
    space = assemble_space(kernel, offers(kernel, context.task, schema), schema, "training/full")
    role = kernel.load("blueprint", blueprint).role
    chosen = space.canonical(Genotype({**space.default(), "pipeline": role, role: blueprint}))
    return space.canonical(Genotype({**chosen, **{name.replace("__", "."): value for name, value in changes.items()}}))


def quick(**options):
    return FullTraining(FullTraining.Config(**{"epochs": 3, "batch_size": 256, **options}))


@pytest.mark.parametrize(
    ("task", "blueprint"),
    [("rate", "zoo/deepfm"), ("rate", "zoo/din"), ("click", "zoo/dcnv2"), ("recommend", "zoo/sasrec"), ("recommend", "zoo/mf")],
)
def test_a_trained_model_comes_back_from_its_artefacts(context, task, blueprint):
    given = context(task)
    chosen = genotype(given, blueprint)
    found = quick().evaluate(chosen, FULL, given)
    assert (found.status, found.error) == ("complete", "")
    assert json.loads(json.dumps(found.to_json())) == Evaluation.from_json(found.to_json()).to_json()
    model = quick().restore(chosen, found.artefacts, given)
    metrics, values = quick()._judge(model.module, given)
    assert metrics == found.metrics
    assert np.array_equal(values, np.load(given.folder / found.artefacts["values"]), equal_nan=True)


@pytest.mark.parametrize("blueprint", ["baselines/ease", "baselines/popularity"])
def test_a_closed_form_is_measured_and_solved_again(context, blueprint):
    given = context("recommend")
    found = quick().evaluate(genotype(given, blueprint), FULL, given)
    assert set(found.artefacts) == {"values"}
    model = quick().restore(genotype(given, blueprint), found.artefacts, given)
    assert quick()._judge(model.module, given)[0] == found.metrics


def test_trials_that_need_the_same_closed_form_share_it(context, monkeypatch):
    from autorec_blocks.ease import Ease

    solve, calls = Ease.solve, []
    monkeypatch.setattr(Ease, "solve", lambda self, *args: calls.append(1) or solve(self, *args))
    for trial, blueprint, changes in (
        (1, "ease", {}),
        (2, "recency-ease", {}),
        (3, "recency-ease", {"baselines/recency-ease__decay": 0.5}),
    ):
        given = context("recommend", trial=trial)
        assert quick().evaluate(genotype(given, f"baselines/{blueprint}", **changes), FULL, given).status == "complete"
    assert len(calls) == 1


def test_two_evaluations_of_one_trial_are_bit_equal_and_another_trial_differs(context):
    given, stored = context(), []
    for trial in (3, 3, 4):
        again = context(trial=trial)
        found = quick().evaluate(genotype(given, "zoo/deepfm"), FULL, again)
        stored.append((found.metrics, (given.folder / found.artefacts["weights"]).read_bytes()))
    assert stored[0] == stored[1]
    assert stored[0][1] != stored[2][1]


@pytest.mark.parametrize(("limit", "value"), [("max_params", 100), ("max_bytes", 100), ("max_latency_ms", 1e-6)])
def test_a_candidate_over_a_limit_is_infeasible_and_never_trained(context, monkeypatch, limit, value):
    monkeypatch.setattr("autorec_training.full.train", lambda *args, **options: pytest.fail("trained"))
    given = context(limits={limit: value})
    found = quick().evaluate(genotype(given, "zoo/deepfm"), FULL, given)
    assert found.status == "infeasible"
    assert limit in found.error
    assert found.cost.parameters > 100
    assert not list(given.folder.iterdir())


def test_the_time_limit_is_for_closed_forms_which_cannot_stop_half_way(context):
    given = context("recommend", limits={"max_seconds": 1e-9})
    assert quick().evaluate(genotype(given, "baselines/ease"), FULL, given).status == "infeasible"
    assert quick(epochs=1).evaluate(genotype(given, "zoo/mf"), FULL, given).status == "complete"


def test_limits_of_zero_are_no_limits(context):
    given = context(limits={"max_params": 0, "max_bytes": 10**9})
    assert quick().evaluate(genotype(given, "zoo/deepfm"), FULL, given).status == "complete"


def test_a_rung_trains_its_share_of_the_epochs(context):
    given = context()
    found = [quick(epochs=8, patience=0).evaluate(genotype(given, "zoo/deepfm"), Rung(0, share), given) for share in (0.25, 1.0)]
    assert [evaluation.details["epochs"] for evaluation in found] == [2, 8]


@pytest.mark.parametrize(("task", "metric"), [("recommend", "ndcg@5"), ("recommend", "recall@20"), ("rate", "mae"), ("click", "log_loss")])
def test_any_metric_can_be_the_one_that_is_asked_for(context, task, metric):
    given = context(task, metric)
    found = quick(epochs=1).evaluate(genotype(given, "zoo/mf" if task == "recommend" else "zoo/deepfm"), FULL, given)
    assert metric in found.metrics
    assert np.isfinite(found.metrics[metric])


def test_the_metric_of_a_lower_is_better_task_is_minimised(context, monkeypatch):
    given, script = context(), iter([1.5, 1.0, 1.2, 1.3])
    monkeypatch.setattr(FullTraining, "_judge", lambda self, network, context: ({"rmse": next(script)}, np.zeros(1)))
    found = quick(epochs=3).evaluate(genotype(given, "zoo/deepfm"), FULL, given)
    assert found.details["best_epoch"] == 2
    assert found.details["values"] == [-1.5, -1.0, -1.2]


def test_training_genes_reach_the_fit(context, monkeypatch):
    seen = []

    def spy(architecture, features, schema, kernel, settings, **options):
        seen.append(settings)
        raise NotFiniteError("stop")

    monkeypatch.setattr("autorec_training.full.train", spy)
    given = context()
    changes = {"ranker__training__learning_rate": 0.01, "ranker__training__weight_decay": 0.05, "ranker__training__batch_size": 512}
    with pytest.raises(NotFiniteError):
        quick().evaluate(genotype(given, "zoo/deepfm", **changes), FULL, given)
    assert (seen[0].learning_rate, seen[0].weight_decay, seen[0].batch_size, seen[0].epochs) == (0.01, 0.05, 512, 3)


def test_a_deadline_that_has_passed_gives_a_measured_model_soon(context):
    given = context(deadline=time.monotonic())
    found = quick(epochs=10_000, patience=0).evaluate(genotype(given, "zoo/deepfm"), FULL, given)
    assert found.status == "complete"
    assert found.details["epochs"] == 1


def test_an_artefact_that_is_gone_or_of_another_network_restores_nothing(context):
    given = context()
    chosen = genotype(given, "zoo/deepfm")
    found = quick().evaluate(chosen, FULL, given)
    other = genotype(given, "zoo/dcnv2")
    assert quick().restore(other, found.artefacts, given) is None
    (given.folder / found.artefacts["weights"]).unlink()
    assert quick().restore(chosen, found.artefacts, given) is None


def test_state_that_is_no_parameter_is_stored_too(context, monkeypatch):
    from autorec_blocks.dense import Mlp

    build = Mlp.build
    monkeypatch.setattr(Mlp, "build", lambda self, specs, arrays: nn.Sequential(build(self, specs, arrays), nn.BatchNorm1d(64)))
    given = context()
    chosen = genotype(given, "zoo/deepfm")
    found = quick(epochs=2).evaluate(chosen, FULL, given)
    assert quick()._judge(quick().restore(chosen, found.artefacts, given).module, given)[0] == found.metrics


def test_a_refit_takes_the_epochs_of_the_best_one_and_does_not_validate(context, monkeypatch):
    calls = []
    module = sys.modules["autorec_kernel.models.train"]
    monkeypatch.setattr(module, "fit", lambda *args, **options: calls.append((args[2], options)) or fit(*args, **options))
    given = context()
    model = quick(epochs=40).refit(genotype(given, "zoo/deepfm"), {"best_epoch": 2}, given)
    assert (calls[0][0].epochs, calls[0][0].patience, calls[0][1]["validate"]) == (2, 0, None)
    assert model.provenance["epochs"] == 2
    assert not model.module.training


def test_an_evaluation_leaves_the_process_as_it_was(context):
    torch.manual_seed(3)
    kept, threads = torch.get_rng_state(), torch.get_num_threads()
    given = context("recommend")
    quick(epochs=1).evaluate(genotype(given, "zoo/sasrec"), FULL, given)
    assert torch.equal(torch.get_rng_state(), kept)
    assert torch.get_num_threads() == threads


def test_decoded_features_are_those_the_genes_leave(context):
    given = context()
    names = {name for name in genotype(given, "zoo/deepfm") if name.startswith("features.")}
    chosen = genotype(given, "zoo/deepfm", **{name.replace(".", "__"): False for name in names})
    schema = decode(chosen, given.features.schema, given.kernel).features
    assert names
    assert not {f"features.{feature.family}" for feature in schema.features} & names
    assert quick(epochs=1).evaluate(chosen, FULL, given).status == "complete"


def scripted(monkeypatch, rows):
    """Let validation find these metrics, one row a judgement; after the last one, that again."""
    script, seen = list(rows), []

    def judge(self, network, context):
        seen.append({name: value.clone() for name, value in network.state_dict().items()})
        return dict(script.pop(0) if len(script) > 1 else script[0]), np.zeros(1)

    monkeypatch.setattr(FullTraining, "_judge", judge)
    return seen


def curves(given, found):
    return [json.loads(line) for line in (given.folder / found.artefacts["curves"]).read_text().splitlines()]


def test_training_stops_on_the_metric_it_is_told_to_and_watches_the_others(context, monkeypatch):
    """The mean absolute error last gains min_delta at epoch 2 and is best at epoch 5; the squared one falls all the time."""
    maes = [0.9, 0.8, 0.7995, 0.85, 0.7991, 0.8001, 0.81, 0.1]
    given = context("rate")
    seen = scripted(monkeypatch, [{"rmse": 1.2 - 0.01 * n, "mae": mae} for n, mae in enumerate(maes)])
    options = quick(epochs=20, stop_on="mae", min_delta=1e-3, patience=5)
    chosen = genotype(given, "zoo/deepfm")
    found = options.evaluate(chosen, FULL, given)
    told = curves(given, found)
    assert (found.details["best_epoch"], found.details["epochs"]) == (5, 7)
    assert [row["mae"] for row in told] == maes[:7] and found.metrics["mae"] == 0.7991
    assert [row["mse"] for row in told] == pytest.approx([row["rmse"] ** 2 for row in told])
    assert [row["loss"] for row in told] == pytest.approx(found.details["losses"])
    restored = options.restore(chosen, found.artefacts, given).module.state_dict()
    assert all(torch.equal(value, seen[4][name]) for name, value in restored.items() if "stores" not in name)


@pytest.mark.parametrize(
    ("options", "converged"),
    [({}, True), ({"patience": 0}, False), ({"epochs": 2}, False), ({"schedule": "cosine"}, False), ({"warmup": 0.1}, False)],
)
def test_a_training_says_when_more_epochs_would_change_nothing(context, monkeypatch, options, converged):
    """It is best after its first epoch; a schedule or a warm-up is another one where there are more epochs."""
    given = context("rate")
    scripted(monkeypatch, [{"rmse": 1.0}, {"rmse": 2.0}])
    found = quick(**{"epochs": 8, "patience": 2, **options}).evaluate(genotype(given, "zoo/fm"), FULL, given)
    assert found.details.get(CONVERGED, False) is converged


def test_a_training_that_its_deadline_cut_is_not_trained_again_in_the_same_time(context):
    given = context("rate", deadline=time.monotonic())
    found = quick(epochs=8, schedule="cosine").evaluate(genotype(given, "zoo/fm"), FULL, given)
    assert found.details["stopped_by"] == "deadline" and found.details[CONVERGED] is True


def test_curves_hold_every_epoch_its_rate_its_loss_and_all_metrics(context):
    given = context("rate")
    found = quick(epochs=3, patience=0, schedule="linear").evaluate(genotype(given, "zoo/deepfm"), FULL, given)
    told = curves(given, found)
    assert [row["epoch"] for row in told] == [1, 2, 3]
    assert {"rate", "loss", "rmse", "mse", "mae"} <= set(told[0])
    assert told[0]["rate"] > told[1]["rate"] > told[2]["rate"]
    assert min(row["rmse"] for row in told) == pytest.approx(found.metrics["rmse"])


def test_a_second_evaluation_writes_the_same_curves_anew(context):
    given, chosen = context("rate"), genotype(context("rate"), "zoo/deepfm")
    texts = [(given.folder / quick().evaluate(chosen, FULL, given).artefacts["curves"]).read_text() for _ in range(2)]
    assert texts[0] == texts[1]
    assert texts[0].count("\n") == 3


def test_a_metric_of_another_task_cannot_stop_a_training(context):
    given = context("rate")
    with pytest.raises(UsageError, match="stop_on 'auc' does not judge the task 'rate'"):
        quick(stop_on="auc").evaluate(genotype(given, "zoo/deepfm"), FULL, given)


def test_options_reach_the_fit(context, monkeypatch):
    seen = []

    def spy(architecture, features, schema, kernel, settings, **options):
        seen.append(settings)
        raise NotFiniteError("seen")

    monkeypatch.setattr("autorec_training.full.train", spy)
    options = {"clip_norm": 1.0, "schedule": "cosine", "warmup": 0.1, "sparse": "on", "num_workers": 2}
    with pytest.raises(NotFiniteError):
        quick(**options).evaluate(genotype(context(), "zoo/deepfm"), FULL, context())
    assert {name: getattr(seen[0], name) for name in options} == options


def test_the_optimiser_is_the_genotypes(context, monkeypatch):
    seen = []

    def spy(architecture, features, schema, kernel, settings, **options):
        seen.append(settings)
        raise NotFiniteError("seen")

    monkeypatch.setattr("autorec_training.full.train", spy)
    point = {**genotype(context(), "zoo/deepfm"), "ranker.training.optimiser": "adagrad"}
    with pytest.raises(NotFiniteError):
        quick(optimiser="adam").evaluate(Genotype(point), FULL, context())
    assert seen[0].optimiser == "adagrad"


def test_a_refit_follows_the_plateaus_of_its_trial(context, monkeypatch):
    given = context("rate")
    scripted(monkeypatch, [{"rmse": value, "mae": value} for value in (1.0, 1.1, 0.9, 1.2, 1.3)])
    options = quick(epochs=5, patience=0, schedule="plateau", plateau_patience=0)
    found = options.evaluate(genotype(given, "zoo/deepfm"), FULL, given)
    assert found.details["factors"] == [1.0, 1.0, 0.5, 0.5, 0.25]
    seen = []
    module = sys.modules["autorec_kernel.models.train"]
    monkeypatch.setattr(module, "fit", lambda *args, **rest: seen.append(fit(*args, **rest)) or seen[-1])
    options.refit(genotype(given, "zoo/deepfm"), json.loads(json.dumps(found.details)), given)
    assert seen[0].rates == pytest.approx([0.002, 0.002, 0.001])


@pytest.mark.parametrize("preset", [True, False], ids=["deepfm-rec", "schedule = plateau"])
def test_the_rate_is_lowered_before_training_stops(context, monkeypatch, preset):
    """Best at epoch 2, a plateau of six epochs, one reduction, and then the patience (5 and 3): by the preset and by the defaults."""
    given = context("rate")
    scripted(monkeypatch, [{"rmse": value, "mae": value} for value in (1.0, 0.9, 0.9)])
    stated = given.kernel.load("preset", "zoo/deepfm-rec")()["evaluator_options"] if preset else {"schedule": "plateau"}
    evaluator = FullTraining(FullTraining.Config(**{"batch_size": 128, **stated}))
    chosen, patience = genotype(given, "zoo/deepfm"), 5 if preset else 3
    found = evaluator.evaluate(chosen, FULL, given)
    rates = [row["rate"] for row in curves(given, found)]
    assert rates == pytest.approx([rates[0]] * 8 + [rates[0] / 2] * patience)
    assert found.details["factors"] == [1.0] * 8 + [0.5] * patience
    assert (found.details["best_epoch"], found.details["horizon"], found.details["epochs"]) == (2, 40, 8 + patience)


def test_the_space_of_training_has_its_five_genes(context):
    given = context("rate")
    space = assemble_space(given.kernel, offers(given.kernel, "rate", given.features.schema), given.features.schema, "training/full")
    names = {name.rpartition(".")[2] for name in space.default() if name.startswith("ranker.training.")}
    assert names == {"learning_rate", "weight_decay", "batch_size", "id_dropout", "optimiser"}
