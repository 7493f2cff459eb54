from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from autorec_blocks import cross_entropy
from autorec_blocks.retrieval_losses import RankingMaxLoss, SampledBceLoss
from autorec_blocks.sampling import PopularItems
from autorec_blocks.softmax_losses import InBatchSoftmaxLoss, MultinomialLoss, SampledSoftmaxLoss, SoftmaxLoss
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import TensorSpec
from autorec_kernel.testing.block_cases import build, example_interactions

GENERATOR = torch.Generator().manual_seed(0)
STATES, ITEMS = torch.randn(3, 4, 4, generator=GENERATOR), torch.randn(7, 4, generator=GENERATOR)
WANTED = torch.tensor([[1, 6, 3, 2], [5, 4, 0, 0], [2, 0, 0, 0]])
MASK = WANTED != 0
REAL = [(STATES[row, step], int(WANTED[row, step])) for row in range(3) for step in range(4) if MASK[row, step]]
DRAWN = torch.tensor([2, 5, 3, 2, 6])
SEQUENCE, TARGETS = TensorSpec("sequence", width=4), TensorSpec("sequence", index=True, rows=7)
TABLE, SAMPLE = TensorSpec("table", "item", rows=7, width=4), TensorSpec("table", "item", rows=5, index=True)
COUNTS = torch.log1p(torch.tensor([0.0, 4.0, 9.0, 1.0, 2.0, 7.0, 3.0]))[:, None]


def sigmoid(value):
    return 1 / (1 + math.exp(-value))


def shared(block, **config):
    module = build(block(block.Config(**config)), (SEQUENCE, TARGETS, TABLE, SAMPLE))
    return float(module((STATES, MASK), (WANTED, MASK), ITEMS, DRAWN))


def rivals(wanted):
    """Yield the scores' drawn items, but for the wanted one."""
    return [item for item in DRAWN.tolist() if item != wanted]


def test_bpr_max_weighs_what_beats_a_negative_by_the_negatives_softmax():
    total = 0.0
    for state, item in REAL:
        own, others = float(state @ ITEMS[item]), [float(state @ ITEMS[other]) for other in rivals(item)]
        share = [math.exp(other) / sum(math.exp(each) for each in others) for other in others]
        won = sum(s * sigmoid(own - other) for s, other in zip(share, others, strict=True))
        total += -math.log(won) + 0.3 * sum(s * other**2 for s, other in zip(share, others, strict=True))
    assert shared(RankingMaxLoss, kind="bpr-max", regularisation=0.3) == pytest.approx(total / len(REAL), rel=1e-4)


def test_top1_max_adds_the_squashed_squares_of_the_negatives():
    total = 0.0
    for state, item in REAL:
        own, others = float(state @ ITEMS[item]), [float(state @ ITEMS[other]) for other in rivals(item)]
        share = [math.exp(other) / sum(math.exp(each) for each in others) for other in others]
        total += sum(s * (sigmoid(other - own) + sigmoid(other**2)) for s, other in zip(share, others, strict=True))
    assert shared(RankingMaxLoss, kind="top1-max") == pytest.approx(total / len(REAL), rel=1e-4)


@pytest.mark.parametrize("calibration", [0.0, 0.75, 1.0])
def test_gbce_raises_the_chosen_items_probability_to_beta(calibration):
    rate = len(DRAWN) / 5  # six items, one of them the chosen one
    beta = rate * (calibration * (1 - 1 / rate) + 1 / rate)
    total = 0.0
    for state, item in REAL:
        lost = sum(math.log(1 - sigmoid(float(state @ ITEMS[other]))) for other in rivals(item))
        total -= beta * math.log(sigmoid(float(state @ ITEMS[item]))) + lost
    assert shared(SampledBceLoss, calibration=calibration) == pytest.approx(total / len(REAL) / 6, rel=1e-4)


def test_gbce_without_calibration_is_the_plain_cross_entropy_and_with_it_has_the_sampling_rate_for_power():
    few = torch.tensor([2])
    spec = TensorSpec("table", "item", rows=1, index=True)
    one = (torch.tensor([[[1.0, 0, 0, 0]]]), torch.tensor([[True]]))
    target = (torch.tensor([[1]]), torch.tensor([[True]]))
    items = torch.zeros(7, 4)
    plain, full = (build(SampledBceLoss(SampledBceLoss.Config(calibration=t)), (SEQUENCE, TARGETS, TABLE, spec)) for t in (0.0, 1.0))
    assert float(plain(one, target, items, few)) == pytest.approx(math.log(2))
    assert float(full(one, target, items, few)) == pytest.approx((1 / 5 + 1) * math.log(2) / 2)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("cells", [1, 7 * 3, 1 << 19])
def test_the_full_softmax_and_its_gradient_are_those_of_torch_in_blocks_of_any_size(monkeypatch, cells, smoothing):
    monkeypatch.setattr(cross_entropy, "_CELLS", cells)
    states, items = STATES.clone().requires_grad_(), ITEMS.clone().requires_grad_()
    block = SoftmaxLoss(SoftmaxLoss.Config(smoothing=smoothing, temperature=0.5))
    found = build(block, (SEQUENCE, TABLE, TARGETS))((states, MASK), items, (WANTED, MASK))
    scores = states[MASK] @ items[1:].T / 0.5
    expected = functional.cross_entropy(scores, WANTED[MASK] - 1, label_smoothing=smoothing)
    assert torch.allclose(found, expected, atol=1e-5)
    for mine, theirs in zip(
        torch.autograd.grad(3 * found, (states, items)), torch.autograd.grad(3 * expected, (states, items)), strict=True
    ):
        assert torch.allclose(mine, theirs, atol=1e-5)


@pytest.mark.parametrize("cells", [1, 1 << 19])
def test_the_gradient_of_a_sampled_softmax_is_that_of_its_formula(monkeypatch, cells):
    monkeypatch.setattr(cross_entropy, "_CELLS", cells)
    states, items = STATES.clone().requires_grad_(), ITEMS.clone().requires_grad_()
    found = build(SampledSoftmaxLoss(SampledSoftmaxLoss.Config()), (SEQUENCE, TARGETS, TABLE, SAMPLE))(
        (states, MASK), (WANTED, MASK), items, DRAWN
    )
    losses = []
    for row, step in MASK.nonzero().tolist():
        state, item = states[row, step], int(WANTED[row, step])
        others = torch.stack([state @ items[other] + math.log(6 / 5) for other in rivals(item)])
        losses.append(torch.logsumexp(torch.cat([(state @ items[item])[None], others]), 0) - state @ items[item])
    expected = torch.stack(losses).mean()
    assert torch.allclose(found, expected, atol=1e-5)
    for mine, theirs in zip(torch.autograd.grad(found, (states, items)), torch.autograd.grad(expected, (states, items)), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-5)


def test_negatives_drawn_by_popularity_are_lowered_by_their_expected_number():
    specs = (SEQUENCE, TARGETS, TABLE, SAMPLE, TensorSpec("table", "item", rows=7, width=1))
    module = build(SampledSoftmaxLoss(SampledSoftmaxLoss.Config(power=0.5)), specs)
    powers = torch.tensor([4.0, 9, 1, 2, 7, 3]) ** 0.5
    share, total = dict(enumerate((powers / powers.sum()).tolist(), 1)), 0.0
    for state, item in REAL:
        own = float(state @ ITEMS[item])
        rest = sum(math.exp(float(state @ ITEMS[other])) / (5 * share[other]) for other in rivals(item))
        total += math.log(math.exp(own) + rest) - own
    assert float(module((STATES, MASK), (WANTED, MASK), ITEMS, DRAWN, COUNTS)) == pytest.approx(total / len(REAL), rel=1e-4)


def test_a_sampled_softmax_by_popularity_estimates_the_full_one():
    drawn = PopularItems(PopularItems.Config(count=40_000, power=0.5))
    counts = np.array([4, 9, 1, 2, 7, 3])
    sums = np.cumsum(counts**0.5) / np.sum(counts**0.5)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        negatives = drawn.build((), {"sums": sums}).train()()
    specs = (SEQUENCE, TARGETS, TABLE, TensorSpec("table", "item", rows=40_000, index=True), TensorSpec("table", "item", rows=7, width=1))
    found = build(SampledSoftmaxLoss(SampledSoftmaxLoss.Config(power=0.5)), specs)((STATES, MASK), (WANTED, MASK), ITEMS, negatives, COUNTS)
    full = build(SoftmaxLoss(SoftmaxLoss.Config()), (SEQUENCE, TABLE, TARGETS))((STATES, MASK), ITEMS, (WANTED, MASK))
    assert float(found) == pytest.approx(float(full), rel=0.02)


def test_popular_items_are_drawn_as_often_as_the_power_of_their_counts_says():
    block = PopularItems(PopularItems.Config(count=200_000, power=0.5))
    history = example_interactions()
    arrays = block.solve((), {"interactions": history}, np.random.default_rng(0))
    module = block.build((), arrays)
    expected = np.maximum(np.bincount(history.items, minlength=history.item_count)[1:], 1) ** 0.5
    with torch.random.fork_rng():
        torch.manual_seed(2)
        drawn = module.train()()
    for rows in (drawn, module.eval()()):
        shares = np.bincount(rows.numpy(), minlength=history.item_count)[1:] / 200_000
        assert np.allclose(shares, expected / expected.sum(), atol=0.005)


@pytest.mark.parametrize("correct", [True, False])
def test_in_batch_softmax_compares_with_the_other_rows_items(correct):
    users, items, rows = STATES[:, 0].repeat(2, 1), STATES[:, 1].repeat(2, 1) + 0.1, torch.tensor([2, 5, 3, 2, 0, 6])
    specs = (TensorSpec("vector", width=4),) * 2 + (TensorSpec("vector", index=True, rows=7), TensorSpec("table", "item", rows=7, width=1))
    found = build(InBatchSoftmaxLoss(InBatchSoftmaxLoss.Config(temperature=0.5, correct=correct)), specs)(users, items, rows, COUNTS)
    counts = [max(1.0, count) for count in (0, 4, 9, 1, 2, 7, 3)]
    losses = []
    for a in range(6):
        if rows[a] == 0:
            continue
        scores = {}
        for b in range(6):
            if a == b or (rows[b] != rows[a] and rows[b] != 0):
                lowered = math.log(counts[rows[b]] / sum(counts)) if correct else 0.0
                scores[b] = float(users[a] @ items[b]) / 0.5 - lowered
        losses.append(math.log(sum(math.exp(score) for score in scores.values())) - scores[a])
    assert float(found) == pytest.approx(sum(losses) / 5, rel=1e-4)


@pytest.mark.parametrize("mean", [False, True])
def test_the_multinomial_loss_sums_over_the_chosen_items_of_a_row(mean):
    specs = (TensorSpec("vector", width=4), TABLE, TARGETS)
    found = build(MultinomialLoss(MultinomialLoss.Config(mean=mean)), specs)(STATES[:, 0], ITEMS, (WANTED, MASK))
    expected = []
    for row in range(3):
        logs = torch.log_softmax(STATES[row, 0] @ ITEMS[1:].T, 0)
        lost = [-float(logs[item - 1]) for item in WANTED[row].tolist() if item]
        expected.append(sum(lost) / (len(lost) if mean else 1))
    assert float(found) == pytest.approx(sum(expected) / 3, rel=1e-5)


@pytest.mark.parametrize("block", [RankingMaxLoss, SampledBceLoss, SampledSoftmaxLoss])
def test_a_batch_without_a_target_costs_nothing_and_is_finite(block):
    states, none = STATES.clone().requires_grad_(), torch.zeros_like(MASK)
    value = build(block(block.Config()), (SEQUENCE, TARGETS, TABLE, SAMPLE))((states, MASK), (WANTED * 0, none), ITEMS, DRAWN)
    value.backward()
    assert float(value.detach()) == 0.0
    assert not states.grad.any()


@pytest.mark.parametrize(
    ("block", "specs"),
    [
        (RankingMaxLoss, (SEQUENCE, TARGETS, TABLE, TABLE)),
        (SampledBceLoss, (SEQUENCE, SEQUENCE, TABLE, SAMPLE)),
        (SampledSoftmaxLoss, (SEQUENCE, TARGETS, TABLE, SAMPLE, TABLE, TABLE)),
        (SampledSoftmaxLoss, (SEQUENCE, TARGETS, TABLE, SAMPLE, SAMPLE)),
        (MultinomialLoss, (TensorSpec("vector", width=5), TABLE, TARGETS)),
        (InBatchSoftmaxLoss, (TensorSpec("vector", width=4), TensorSpec("vector", width=4), TensorSpec("vector", width=1), TABLE)),
    ],
)
def test_a_loss_refuses_what_it_cannot_compare(block, specs):
    with pytest.raises(ContractError):
        block(block.Config()).output(specs)
