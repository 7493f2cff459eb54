from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from autorec_kernel.models import optimisers
from autorec_kernel.models.optimisers import Optimiser, RowAdagrad, RowAdam, coalesced, scale_to, total_norm

ROWS, WIDTH = 12, 3


def sparse(rows, values):
    found = torch.tensor(values, dtype=torch.float32).view(-1, WIDTH)
    return torch.sparse_coo_tensor(torch.tensor([rows], dtype=torch.int64), found, (ROWS, WIDTH), check_invariants=True)


def table(seed=0):
    return nn.Parameter(torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(seed)))


def gradients(count, seed=1):
    """Return dense float64 gradients [ROWS, WIDTH], most rows of which are zero."""
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(ROWS, WIDTH)) * (rng.random((ROWS, 1)) < 0.3) for _ in range(count)]


def as_sparse(gradient):
    rows = np.flatnonzero(gradient.any(1))
    return coalesced(sparse(rows.tolist(), gradient[rows].astype(np.float32).tolist()))


def test_a_sparse_gradient_is_summed_row_by_row():
    found = coalesced(sparse([5, 2, 5, 2, 7], [[1.0, 0, 0], [0, 2.0, 0], [0, 0, 4.0], [0, 8.0, 0], [16.0, 0, 0]]))
    assert found.is_coalesced()
    assert found.indices().tolist() == [[2, 5, 7]]
    assert found.values().tolist() == [[0, 10, 0], [1, 0, 4], [16, 0, 0]]


def test_lookups_of_one_table_add_up_to_the_dense_gradient():
    weight, ids = table(), torch.tensor([3, 0, 3, 11])

    def gradient(mode):
        weight.grad = None
        first, second = (functional.embedding(part, weight, sparse=mode) for part in (ids, ids[:2]))
        (first.square().sum() + second.sum()).backward()
        return weight.grad

    assert torch.allclose(coalesced(gradient(True)).to_dense(), gradient(False), atol=1e-6)


def test_row_adam_is_adam_without_momentum_whose_second_moment_is_a_rows_mean():
    rate, beta, steps = 0.05, 0.999, 200  # more than the 64 steps between two visits of the whole table
    weight = table()
    expected, power = weight.detach().double().numpy().copy(), np.zeros(ROWS)
    rule = RowAdam(weight, 0.0, beta=beta)
    for number, gradient in enumerate(gradients(steps), 1):
        weight.grad = as_sparse(gradient)
        rule.step(rate)
        power = beta * power + (1 - beta) * (gradient**2).mean(1)  # every row, read or not
        expected -= rate * gradient / (np.sqrt(power / (1 - beta**number)) + 1e-8)[:, None]
    assert np.allclose(weight.detach().numpy(), expected, atol=2e-4)


def test_the_weight_decay_of_row_adam_is_due_on_all_rows_alike():
    weight = table()
    before, rule = weight.detach().clone(), RowAdam(weight, 0.5)
    rule.weight.grad = as_sparse(gradients(1)[0] * 0)
    for _ in range(10):
        rule.step(0.01)
    rule.settle()
    assert torch.allclose(weight.detach(), before * 0.995**10)
    rule.settle()
    assert torch.allclose(weight.detach(), before * 0.995**10)


def test_coupled_decay_reaches_the_rows_that_are_read():
    weight = table()
    before = weight.detach().clone()
    weight.grad = as_sparse(np.where(np.arange(ROWS)[:, None] == 4, 1.0, np.zeros((ROWS, WIDTH))))
    RowAdam(weight, 100.0, coupled=True).step(0.01)
    assert torch.equal(weight.detach()[:4], before[:4])
    assert not torch.equal(weight.detach()[4], before[4])
    assert torch.equal(torch.sign(before[4] - weight.detach()[4]), torch.sign(1 + 100 * before[4]))


@pytest.mark.parametrize("dense", [True, False])
def test_row_adagrad_divides_by_the_root_of_a_rows_summed_mean_square(dense):
    weight = table()
    expected, total = weight.detach().double().numpy().copy(), np.zeros(ROWS)
    rule = RowAdagrad(weight, 0.0)
    for gradient in gradients(80):
        weight.grad = torch.tensor(gradient, dtype=torch.float32) if dense else as_sparse(gradient)
        rule.step(0.1)
        total += (gradient**2).mean(1)
        expected -= 0.1 * gradient / (np.sqrt(total) + 1e-8)[:, None]
    assert np.allclose(weight.detach().numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("kind", ["adamw", "adam", "adagrad"])
def test_dense_parameters_move_as_torchs_own_rule_moves_them(kind):
    rules = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "adagrad": torch.optim.Adagrad}
    ours, theirs = table(3), table(3)
    mine = Optimiser([ours], [], [], kind=kind, rate=0.02, decay=0.01)
    other = rules[kind]([theirs], lr=0.02, weight_decay=0.01, eps=1e-8)
    for gradient in gradients(5):
        for parameter in (ours, theirs):
            parameter.grad = torch.tensor(gradient, dtype=torch.float32)
        mine.step(0.02)
        other.step()
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_the_rate_of_a_step_is_the_one_that_is_given():
    parameter = table()
    before = parameter.detach().clone()
    optimiser = Optimiser([parameter], [], [], rate=1.0)
    parameter.grad = torch.ones_like(parameter)
    optimiser.step(0.001)
    assert torch.allclose(before - parameter.detach(), torch.full_like(before, 0.001), atol=1e-5)


def test_adagrad_moves_every_table_row_by_row():
    weight, other = table(), table(4)
    optimiser = Optimiser([weight, other], [weight], [], kind="adagrad", rate=0.1)
    for parameter in (weight, other):
        parameter.grad = torch.tensor([[3.0, 4.0, 0.0]]).repeat(ROWS, 1)
    before = weight.detach().clone()
    optimiser.step(0.1)
    assert torch.allclose(before - weight.detach(), 0.1 * weight.grad / (25 / 3) ** 0.5, atol=1e-6)
    assert torch.allclose(table(4).detach() - other.detach(), 0.1 * (other.grad > 0), atol=1e-6)


def test_clipping_counts_a_sparse_gradient_like_the_dense_one():
    weight, other = table(), table(5)
    optimiser = Optimiser([weight, other], [weight], [weight])
    weight.grad = sparse([5, 2, 5], [[3.0, 0, 0], [0, 0, 12.0], [1.0, 0, 0]])  # row 5: 4, row 2: 12
    other.grad = torch.zeros_like(other)
    other.grad[0, 0] = 3.0
    found = optimiser.gather()
    assert float(total_norm(found)) == pytest.approx(13.0)
    scale_to(found, total_norm(found), 1.3)
    assert torch.allclose(weight.grad.to_dense()[[2, 5]], torch.tensor([[0, 0, 1.2], [0.4, 0, 0]]), atol=1e-6)
    assert float(other.grad[0, 0]) == pytest.approx(0.3)


def test_a_gradient_within_its_limit_is_left_alone():
    parameter = table()
    parameter.grad = torch.ones_like(parameter)
    scale_to([parameter.grad], torch.tensor(6.0), 6.0)
    assert torch.equal(parameter.grad, torch.ones_like(parameter))


@pytest.mark.parametrize("kind", ["adamw", "adam"])
@pytest.mark.parametrize("offered", [True, False])
def test_a_parameter_without_a_gradient_waits(kind, offered, monkeypatch):
    monkeypatch.setattr(optimisers, "offered", lambda _: offered)
    rules = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}
    ours, theirs = [table(3), table(4)], [table(3), table(4)]
    mine, other = Optimiser(ours, [], [], kind=kind, decay=0.1), rules[kind](theirs, lr=0.02, weight_decay=0.1)
    mine.step(0.02)  # nothing has a gradient yet
    for number, gradient in enumerate(gradients(6)):
        for first, second in (ours, theirs):
            first.grad = torch.tensor(gradient, dtype=torch.float32)
            second.grad = torch.tensor(-gradient, dtype=torch.float32) if number % 3 else None
        mine.step(0.02)
        other.step()
    for one, same in zip(ours, theirs, strict=True):
        assert torch.allclose(one, same, atol=1e-6)
