"""The multinomial loss computes its own gradient, and bags skip padding: both against plain formulas."""

from __future__ import annotations

import pytest
import torch

from autorec_blocks.bag_entropy import bag_cross_entropy
from autorec_blocks.tables import rows_of
from autorec_blocks.variational import Bag
from autorec_kernel.records.architecture import TensorSpec
from autorec_kernel.testing.block_cases import build


def _bags(rows: int, items: int, width: int) -> tuple[torch.Tensor, ...]:
    draw = torch.Generator().manual_seed(2)
    counts = torch.randint(0, 4, (rows,), generator=draw)
    wanted = torch.randint(1, items, (int(counts.sum()),), generator=draw)
    vectors, table = (torch.randn(size, width, generator=draw, dtype=torch.float32) for size in (rows, items))
    return vectors.requires_grad_(), table.requires_grad_(), wanted, counts, torch.rand(rows, generator=draw)


@pytest.mark.parametrize("rows", [1, 5, 300, 512], ids=str)
def test_loss_and_gradients_are_those_of_the_plain_formula(rows: int) -> None:
    vectors, table, wanted, counts, shares = _bags(rows, 9, 20)
    own = torch.repeat_interleave(counts)
    logs = torch.log_softmax((vectors.double() @ table.double().T)[:, 1:], 1)
    plain = -(logs[own, wanted - 1] * shares[own]).sum()
    expected = torch.autograd.grad(plain, (vectors, table))
    loss = bag_cross_entropy(vectors, table, wanted, counts, shares)
    assert float(loss.detach()) == pytest.approx(float(plain.detach()), rel=1e-5, abs=1e-6)
    for found, right in zip(torch.autograd.grad(3 * loss, (vectors, table)), expected, strict=True):
        torch.testing.assert_close(found, 3 * right, rtol=1e-4, atol=1e-4)


def test_rows_without_items_cost_nothing() -> None:
    vectors, table, *_ = _bags(4, 9, 20)
    loss = bag_cross_entropy(vectors, table, torch.zeros(0, dtype=torch.int64), torch.zeros(4, dtype=torch.int64), torch.ones(4))
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert not vectors.grad.any()
    assert not table.grad.any()


def test_the_unknown_item_gets_no_gradient() -> None:
    vectors, table, wanted, counts, shares = _bags(30, 9, 20)
    bag_cross_entropy(vectors, table, wanted, counts, shares).backward()
    assert not table.grad[0].any()
    assert table.grad[1:].any(1).all()


@pytest.mark.parametrize("newest", [0, 2])
def test_a_bag_sums_real_steps_wherever_padding_lies(newest: int) -> None:
    ids = torch.tensor([[3, 3, 5, 0], [0, 0, 0, 0], [1, 0, 0, 0], [2, 4, 6, 1]])
    table = torch.randn(7, 3, generator=torch.Generator().manual_seed(1))
    specs = (TensorSpec("sequence", index=True, rows=7), TensorSpec("table", "item", rows=7, width=3))
    bag = build(Bag(Bag.Config(power=0.5, newest=newest)), specs).eval()
    found = bag((ids, ids != 0), table)
    for row, steps in enumerate(ids.tolist()):
        real = [step for step in steps if step][-newest:]
        expected = sum((table[step] for step in real), torch.zeros(3)) / max(1, len(real)) ** 0.5
        torch.testing.assert_close(found[row], expected)


def test_dropped_steps_leave_a_bag_the_same_on_average() -> None:
    ids, table = torch.tensor([[1, 2, 3, 0]]).repeat(4000, 1), torch.eye(4)
    specs = (TensorSpec("sequence", index=True, rows=4), TensorSpec("table", "item", rows=4, width=4))
    bag = build(Bag(Bag.Config(power=0.5, dropout=0.4)), specs).train()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        found = bag((ids, ids != 0), table)
    kept = 1 / (0.6 * 3**0.5)
    torch.testing.assert_close(found.unique(), torch.tensor([0.0, kept]))
    torch.testing.assert_close(found.mean(0), torch.tensor([0.0, 1, 1, 1]) / 3**0.5, atol=0.03, rtol=0)


def test_rows_of_a_table_have_the_gradient_of_every_time_they_are_read() -> None:
    table = torch.randn(5, 3, generator=torch.Generator().manual_seed(1), requires_grad=True)
    index = torch.tensor([[1, 4], [1, 0]])
    found = rows_of(table, index)
    torch.testing.assert_close(found, table.detach()[index])
    found.sum().backward()
    assert table.grad[:, 0].tolist() == [1.0, 2.0, 0.0, 0.0, 1.0]
