from __future__ import annotations

import copy
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from fit_kit import FAST, run, same, state

from autorec_kernel.models import NotFiniteError
from autorec_kernel.models.optimisers import Optimiser

pytestmark = pytest.mark.plugins


def test_the_best_weights_of_a_scripted_curve_come_back(fresh):
    network, features = fresh(dropout_rates=(0.0,))
    script, seen = iter([0.1, 0.5, 0.9, 0.8, 0.7, 0.6, 1.0]), []

    def validate(model):
        seen.append(state(model))
        return next(script)

    report = run(network, features, replace(FAST, epochs=7, patience=3), validate=validate)
    assert (report.best_epoch, report.best_value, report.stopped_by) == (3, 0.9, "patience")
    assert report.values == [0.1, 0.5, 0.9, 0.8, 0.7, 0.6]
    assert same(state(network), seen[2])
    assert not same(state(network), seen[3])


def test_without_patience_every_epoch_is_trained_and_the_best_is_kept(fresh):
    network, features = fresh()
    script = iter([0.3, 0.2, 0.1, 0.0, 0.0])
    report = run(network, features, replace(FAST, epochs=5), validate=lambda model: next(script))
    assert (report.best_epoch, len(report.losses), report.stopped_by) == (1, 5, "epochs")


def test_without_validation_the_last_weights_stay(fresh):
    (network, features), (other, _) = fresh(), fresh()
    script = iter([1.0, 2.0, 3.0])
    report = run(network, features)
    run(other, features, validate=lambda model: next(script))
    assert report.best_epoch == 3
    assert same(state(network), state(other))


def test_training_lowers_the_loss(fresh):
    report = run(*fresh(), replace(FAST, epochs=10))
    assert report.losses[-1] < 0.8 * report.losses[0]
    assert report.seconds > 0


def test_a_loss_that_is_not_finite_ends_the_training(fresh):
    network, features = fresh()
    with torch.no_grad():
        next(network.parameters()).fill_(float("nan"))
    with pytest.raises(NotFiniteError, match="loss became nan"):
        run(network, features)


def test_a_gradient_that_is_not_finite_ends_the_training_before_the_step(fresh):
    network, features = fresh()
    before = state(network)
    weight = next(network.parameters())
    weight.register_hook(lambda grad: grad * float("inf"))
    with pytest.raises(NotFiniteError, match="gradient"):
        run(network, features)
    assert same(state(network), before)


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(fresh):
    found = []
    for seed in (1, 1, 2):
        network, features = fresh(dropout_rates=(0.3,))
        run(network, features, replace(FAST, id_dropout=0.2), seed=seed)
        found.append(state(network))
    assert same(found[0], found[1])
    assert not same(found[0], found[2])


def test_the_processes_own_randomness_is_left_alone(fresh):
    network, features = fresh(dropout_rates=(0.3,))
    torch.manual_seed(1)
    np.random.seed(1)
    kept = torch.get_rng_state(), np.random.get_state()[1].copy()
    run(network, features, replace(FAST, id_dropout=0.2))
    assert torch.equal(torch.get_rng_state(), kept[0])
    assert (np.random.get_state()[1] == kept[1]).all()


def test_the_surroundings_do_not_change_the_result(fresh):
    found = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        network, features = fresh(dropout_rates=(0.3,))
        run(network, features)
        found.append(state(network))
    assert same(*found)


def test_the_deadline_ends_training_at_the_next_batch(fresh):
    network, features = fresh()
    report = run(network, features, replace(FAST, epochs=1000, batch_size=16), deadline=time.monotonic() - 1)
    assert report.stopped_by == "deadline"
    assert len(report.losses) == 1
    assert not network.training


def test_progress_is_told_every_epoch(fresh):
    told = []
    report = run(*fresh(), validate=lambda model: 0.5, progress=lambda so_far: told.append((len(so_far.losses), so_far.losses[-1])))
    assert told == list(enumerate(report.losses, 1))


@pytest.mark.parametrize("optimiser", ["adamw", "adagrad"])
@pytest.mark.parametrize("sparse", ["off", "on"])
def test_the_gradient_is_clipped_to_its_norm(fresh, optimiser, sparse, monkeypatch):
    norms, move = [], Optimiser.step

    def step(self, rate):
        gradients = [parameter.grad.to_dense() for parameter in self.learned if parameter.grad is not None]
        norms.append(float(torch.stack([gradient.norm() for gradient in gradients]).norm()))
        return move(self, rate)

    monkeypatch.setattr(Optimiser, "step", step)
    steps = {}
    for clip in (0.0, 1e-9):
        network, features = fresh(dropout_rates=(0.0,))
        norms.clear()
        run(network, features, replace(FAST, epochs=1, clip_norm=clip, optimiser=optimiser, sparse=sparse))
        steps[clip] = list(norms)
    assert min(steps[0.0]) > 1e-6
    assert max(steps[1e-9]) <= 1.01e-9


def test_weight_decay_shrinks_the_weights(fresh):
    sizes = []
    for decay in (0.0, 10.0):
        network, features = fresh()
        run(network, features, replace(FAST, weight_decay=decay))
        sizes.append(float(network.stores["16"].table("item")[1:].detach().norm()))
    assert sizes[1] < 0.7 * sizes[0]


@pytest.mark.parametrize(("share", "met"), [(0.0, {"device"}), (0.3, {"device", "user", "item"})])
def test_unknown_rows_that_training_reads_are_learned_and_the_others_are_means(fresh, share, met):
    network, features = fresh()
    run(network, features, replace(FAST, id_dropout=share))
    store = network.stores["16"]
    assert store.met == met
    assert len(store.ranges) > 3
    for name in store.ranges:
        mean = torch.allclose(store.table(name)[0], store.table(name)[1:].mean(0), atol=1e-6)
        assert mean == (name not in met), name


def test_validation_sees_a_network_that_serves(fresh):
    modes = []
    run(*fresh(dropout_rates=(0.5,)), validate=lambda model: modes.append((model.training, torch.is_grad_enabled())) or 0.0)
    assert modes == [(False, False)] * 3


@pytest.mark.parametrize(
    ("task", "name", "config"),
    [
        ("recommend", "zoo/mf", {"loss": "bpr"}),
        ("recommend", "zoo/mf", {"loss": "softmax"}),
        ("recommend", "zoo/sasrec", {"dropout_rate": 0.0}),
    ],
)
def test_retrievers_learn_what_their_users_chose(fresh, task, name, config):
    network, features = fresh(task, name, **config)
    report = run(network, features, replace(FAST, epochs=40, batch_size=64))
    assert report.losses[-1] < 0.7 * report.losses[0]


@pytest.mark.parametrize("task", ["rate", "click"])
@pytest.mark.parametrize("name", ["zoo/deepfm", "zoo/dcnv2", "zoo/din"])
def test_rankers_learn_sixty_four_rows_by_heart(fresh, task, name, monkeypatch):
    network, features = fresh(task, name, dropout_rates=(0.0,))
    rows = features.rows("train")[:64]
    monkeypatch.setattr(type(features), "rows", lambda self, split: rows)
    report = run(network, features, replace(FAST, epochs=120, batch_size=16, learning_rate=5e-3))
    spread = float(np.var(features.labels()[rows]))
    assert report.losses[-1] < 0.15 * spread


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_training_on_cuda_gives_a_network_on_the_cpu(fresh):
    for task, name in (("rate", "zoo/din"), ("recommend", "zoo/sasrec"), ("recommend", "zoo/mf")):
        network, features = fresh(task, name)
        state_before = torch.cuda.get_rng_state()
        report = run(network, features, device="cuda", validate=lambda model: float(next(model.parameters()).device.type == "cpu"))
        assert report.best_value == 1.0
        assert {p.device.type for p in network.parameters()} == {"cpu"}
        assert torch.equal(torch.cuda.get_rng_state(), state_before)


def test_a_copy_is_trained_apart_from_the_original(fresh):
    network, features = fresh()
    other = copy.deepcopy(network)
    before = state(network)
    run(other, features)
    assert same(state(network), before)
    assert not same(state(other), before)
