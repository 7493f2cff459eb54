"""The fit loop's options: sparse tables, schedules, progress that counts, batches built ahead."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from fit_kit import FAST, run, same, state

from autorec_kernel.models import NotFiniteError, build_network
from autorec_kernel.models.batching import batches_for
from autorec_kernel.models.optimisers import Optimiser, total_norm
from autorec_kernel.models.prefetch import delivered
from autorec_kernel.models.sparse import sparse_lookups, worthwhile
from autorec_kernel.records.architecture import Architecture, Node
from autorec_kernel.records.features import Feature, FeatureSchema

pytestmark = pytest.mark.plugins


def scripted(*values):
    script = iter(values)
    return lambda model: next(script)


def test_progress_that_is_too_small_does_not_count(fresh):
    network, features = fresh()
    told = scripted(1.0, 1.0009, 1.0015, 1.002, 1.0021, 1.0022)
    report = run(network, features, replace(FAST, epochs=6, patience=2, min_delta=1e-3), validate=told)
    assert (report.best_epoch, report.best_value, report.stopped_by, len(report.values)) == (5, 1.0021, "patience", 5)


def test_the_best_weights_come_back_however_small_the_progress(fresh):
    network, features = fresh()
    script, seen = scripted(0.5, 0.505, 0.509, 0.5095, 0.5099, 0.4), []

    def validate(model):
        seen.append(state(model))
        return script(model)

    report = run(network, features, replace(FAST, epochs=6, min_delta=0.01), validate=validate)
    assert (report.best_epoch, report.best_value) == (5, 0.5099)
    assert same(state(network), seen[4])
    assert not same(state(network), seen[3])


def test_without_validation_no_epoch_is_without_progress(fresh):
    settings = replace(FAST, epochs=4, patience=1, min_delta=5.0, schedule="plateau", plateau_patience=0)
    report = run(*fresh(), settings)
    assert (report.best_epoch, report.stopped_by, report.rates) == (4, "epochs", [FAST.learning_rate] * 4)


@pytest.mark.parametrize(
    ("options", "rates", "best"),
    [
        ({"patience": 3}, [1.0] * 8 + [0.5] * 3, 2),  # six bad epochs (3 to 8), then three at half the rate
        ({"patience": 9}, [1.0] * 8 + [0.5] * 6 + [0.25] * 3, 2),  # further reductions do not put off the end
        ({"patience": 1, "plateau_patience": 0}, [1.0] * 3 + [0.5], 2),
        ({"patience": 3, "epochs": 7}, [1.0] * 7, 2),
    ],
)
def test_a_plateau_is_met_with_a_lower_rate_before_training_stops(fresh, options, rates, best):
    settings = replace(FAST, learning_rate=1.0, optimiser="adagrad", clip_norm=1e-6, **{"epochs": 40, "schedule": "plateau", **options})
    report = run(*fresh(), settings, validate=scripted(0.5, 0.6, *[0.6] * 40))
    assert report.rates == rates
    assert report.factors == rates
    assert (report.best_epoch, report.stopped_by) == (best, "epochs" if "epochs" in options else "patience")


def test_progress_at_the_lower_rate_asks_for_a_further_reduction(fresh):
    settings = replace(FAST, learning_rate=1.0, epochs=40, patience=2, schedule="plateau", plateau_patience=1, clip_norm=1e-6)
    report = run(*fresh(), settings, validate=scripted(0.5, 0.5, 0.5, 0.6, *[0.6] * 30))
    assert report.rates == [1.0] * 3 + [0.5] * 3 + [0.25] * 2
    assert (report.best_epoch, report.stopped_by) == (4, "patience")


def test_a_plateau_halves_the_learning_rate_of_the_epochs_after_it(fresh):
    network, features = fresh()
    settings = replace(FAST, epochs=6, schedule="plateau", plateau_patience=1)
    report = run(network, features, settings, validate=scripted(0.5, 0.4, 0.4, 0.6, 0.1, 0.1))
    assert report.rates == [0.01, 0.01, 0.01, 0.005, 0.005, 0.005]
    assert report.factors == [1, 1, 1, 0.5, 0.5, 0.5]


def test_a_training_that_follows_the_factors_of_another_gives_the_same_weights(fresh):
    (network, features), (other, _) = fresh(), fresh()
    settings = replace(FAST, epochs=4, schedule="plateau", plateau_patience=0)
    report = run(network, features, settings, validate=scripted(0.1, 0.0, 0.2, 0.3))
    assert report.factors == [1, 1, 0.5, 0.5]
    run(other, features, replace(settings, factors=tuple(report.factors)))
    assert same(state(network), state(other))


def test_a_shorter_training_follows_the_schedule_of_the_longer_one(fresh):
    (network, features), (other, _) = fresh(), fresh()
    settings = replace(FAST, epochs=4, schedule="cosine", warmup=0.1)
    long = run(network, features, settings, validate=scripted(0.1, 0.9, 0.2, 0.3))
    short = run(other, features, replace(settings, epochs=2, horizon=4))
    assert short.rates == long.rates[:2]
    assert long.rates[3] < 0.1 * long.rates[0]
    assert same(state(network), state(other))


def test_the_rate_rises_over_the_warmup_of_a_training(fresh, monkeypatch):
    """A quarter of all steps; the rate of a step is the one that its weights move by."""
    moved, move = [], Optimiser.step
    monkeypatch.setattr(Optimiser, "step", lambda self, rate: moved.append(rate) or move(self, rate))
    report = run(*fresh(), replace(FAST, epochs=4, warmup=0.25))
    steps = len(moved) // 4
    assert steps > 1
    assert moved[:steps] == pytest.approx([FAST.learning_rate * (step + 1) / (steps + 1) for step in range(steps)])
    assert moved[steps:] == [FAST.learning_rate] * 3 * steps
    assert report.rates == [moved[steps - 1], *[FAST.learning_rate] * 3]


@pytest.mark.parametrize("optimiser", ["adamw", "adam", "adagrad"])
@pytest.mark.parametrize("sparse", ["on", "off"])
def test_every_optimiser_learns_with_and_without_sparse_tables(fresh, optimiser, sparse):
    network, features = fresh(dropout_rates=())
    report = run(network, features, replace(FAST, epochs=8, optimiser=optimiser, sparse=sparse, learning_rate=2e-2))
    assert report.losses[-1] < 0.8 * report.losses[0]
    assert (report.tables == ()) == (sparse == "off")
    assert not any(store.sparse for store in network.embedding_stores())


def test_sparse_training_is_bit_equal_from_seed_to_seed(fresh):
    found = []
    for seed in (1, 1, 2):
        network, features = fresh()
        run(network, features, replace(FAST, sparse="on", id_dropout=0.2, weight_decay=0.01), seed=seed)
        found.append(state(network))
    assert same(found[0], found[1])
    assert not same(found[0], found[2])


@pytest.mark.parametrize(("share", "met"), [(0.0, {"device"}), (0.3, {"device", "user", "item"})])
def test_sparse_gradients_tell_which_unknown_rows_were_met(fresh, share, met):
    network, features = fresh()
    run(network, features, replace(FAST, id_dropout=share, sparse="on"))
    assert network.stores["16"].met == met


@pytest.mark.parametrize("clip", [0.0, 1e-9])
def test_the_gradient_of_a_sparse_table_is_clipped_with_the_others(fresh, monkeypatch, clip):
    network, features = fresh(dropout_rates=())
    norms, step = [], Optimiser.step

    def spy(self, rate):
        assert self.sparse
        norms.append(float(total_norm(self.gather())))
        step(self, rate)

    monkeypatch.setattr(Optimiser, "step", spy)
    run(network, features, replace(FAST, epochs=1, clip_norm=clip, sparse="on"))
    assert (max(norms) <= 1.01e-9) == (clip > 0)


def test_a_sparse_gradient_that_is_not_finite_ends_the_training_before_the_step(fresh):
    network, features = fresh()
    before = state(network)
    network.stores["16"].weight.register_hook(lambda grad: grad * float("inf"))
    with pytest.raises(NotFiniteError, match="gradient"):
        run(network, features, replace(FAST, sparse="on"))
    assert same(state(network), before)


def _schema(rows):
    feature = Feature("user_id", "id", "user", vocabulary="user", size=rows)
    items = Feature("item_id", "id", "item", vocabulary="item", size=rows)
    sizes = {"users": rows, "items": rows, "tasks": {"rating": "logit"}, "label_range": {"rating": (0.0, 1.0, 0.5)}}
    return FeatureSchema((feature, items), user="user_id", item="item_id", **sizes)


@pytest.mark.parametrize(("rows", "size", "pays"), [(1000, 1024, False), (200_000, 256, True), (200_000, 65_536, False)])
def test_a_table_is_sparse_where_a_batch_reads_little_of_it(kernel, rows, size, pays):
    schema = _schema(rows)
    graph = kernel.create("blueprint", "zoo/deepfm").architecture(schema)
    network = build_network(graph, schema, kernel)
    assert worthwhile(network, network.stores["16"], size) == pays


def test_a_table_that_training_reads_whole_is_never_sparse(kernel):
    schema = _schema(1000)
    nodes = (
        Node("user", "@fields", config={"columns": ["user_id"], "width": 4}),
        Node("vector", "blocks/sum-fields", ("user",)),
        Node("items", "@table", config={"table": "item", "width": 4}),
        Node("target", "@target", config={"index": True}),
        Node("loss", "blocks/softmax-loss", ("vector", "items", "target")),
    )
    network = build_network(Architecture(nodes, {"user": "vector", "item": "items"}), schema, kernel)
    with sparse_lookups(network, 16, "on") as stores:
        assert stores == []


@pytest.mark.parametrize(
    ("task", "name", "config"),
    [("rate", "zoo/deepfm", {}), ("recommend", "zoo/bpr-mf", {}), ("recommend", "zoo/sasrec", {}), ("recommend", "zoo/gru4rec", {})],
)
def test_batches_built_ahead_are_the_same_in_the_same_order(fresh, task, name, config):
    network, features = fresh(task, name, **config)
    batches = batches_for(network, features, 64, "cpu", 0.3)
    found = []
    for workers in (0, 1, 2):
        rng = np.random.default_rng(7)
        found.append([batch for _ in range(2) for batch in delivered(batches, rng, "cpu", workers)])
    for other in found[1:]:
        assert len(other) == len(found[0]) > 1
        assert all(same(left, right) for left, right in zip(found[0], other, strict=True))


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_do_not_change_the_weights(fresh, workers):
    (network, features), (other, _) = fresh(), fresh()
    settings = replace(FAST, id_dropout=0.3, batch_size=64)
    run(network, features, settings)
    run(other, features, replace(settings, num_workers=workers))
    assert same(state(network), state(other))


def test_an_epoch_that_is_left_early_leaves_no_thread_behind(fresh):
    network, features = fresh()
    batches = delivered(batches_for(network, features, 16), np.random.default_rng(0), "cpu", 2)
    next(batches)
    batches.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]


def test_an_error_in_a_worker_reaches_the_training(fresh, monkeypatch):
    network, features = fresh()
    batches = batches_for(network, features, 64)
    monkeypatch.setattr(type(batches), "_built", lambda self, *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        list(delivered(batches, np.random.default_rng(0), "cpu", 2))


def test_every_row_is_seen_once_an_epoch_the_last_batch_included(fresh):
    network, features = fresh()
    count = len(features.rows("train"))
    assert count % 64
    found = [len(batch["@label:rating"]) for batch in batches_for(network, features, 64).epoch(np.random.default_rng(0))]
    assert (sum(found), found[-1]) == (count, count % 64)


def test_a_prediction_does_not_depend_on_the_rows_beside_it(fresh):
    from autorec_kernel.models import predict_rows

    for name in ("zoo/deepfm", "zoo/din", "zoo/dcnv2"):
        network, features = fresh("click", name)
        run(network, features)
        rows = features.rows("valid")[:20]
        together = predict_rows(network, features, rows, network.tasks[0])
        alone = np.concatenate([predict_rows(network, features, rows[at : at + 1], network.tasks[0]) for at in range(len(rows))])
        assert together == pytest.approx(alone, abs=1e-6)
        assert together.std() > 1e-3
        assert predict_rows(network, features, rows[::-1], network.tasks[0])[::-1] == pytest.approx(together, abs=1e-6)


def test_half_precision_is_for_devices_that_have_it(fresh):
    (network, features), (other, _) = fresh(), fresh()
    run(network, features, replace(FAST, precision="bfloat16"))
    run(other, features, replace(FAST, precision="float32"))
    assert same(state(network), state(other))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("options", [{"precision": "bfloat16"}, {"sparse": "on"}, {"num_workers": 2, "pin_memory": True}])
def test_options_work_on_cuda(fresh, options):
    network, features = fresh(dropout_rates=())
    report = run(network, features, replace(FAST, epochs=8, **options), device="cuda")
    assert report.losses[-1] < 0.8 * report.losses[0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_loss_that_is_not_finite_is_noticed_on_cuda(fresh):
    network, features = fresh()
    with torch.no_grad():
        next(network.parameters()).fill_(float("nan"))
    with pytest.raises(NotFiniteError):
        run(network, features, device="cuda")
