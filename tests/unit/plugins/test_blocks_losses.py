from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from autorec_blocks.losses import KlLoss, MaskedMseLoss, PointwiseLoss
from autorec_blocks.retrieval_losses import BprLoss
from autorec_blocks.softmax_losses import SampledSoftmaxLoss, SoftmaxLoss
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import TensorSpec
from autorec_kernel.testing.block_cases import build

SEQUENCE, TARGETS = TensorSpec("sequence", width=4), TensorSpec("sequence", index=True, rows=7)
TABLE, DRAWN = TensorSpec("table", "item", rows=7, width=4), TensorSpec("table", "item", rows=5, index=True)
GENERATOR = torch.Generator().manual_seed(0)
STATES, ITEMS = torch.randn(3, 4, 4, generator=GENERATOR), torch.randn(7, 4, generator=GENERATOR)
WANTED = torch.tensor([[1, 6, 3, 2], [5, 4, 0, 0], [2, 0, 0, 0]])
MASK = WANTED != 0
REAL = [(STATES[row, step], int(WANTED[row, step])) for row in range(3) for step in range(4) if MASK[row, step]]


def softmax(temperature=1.0):
    return build(SoftmaxLoss(SoftmaxLoss.Config(temperature=temperature)), (SEQUENCE, TABLE, TARGETS))


def sampled(count, **config):
    spec = TensorSpec("table", "item", rows=count, index=True)
    return build(SampledSoftmaxLoss(SampledSoftmaxLoss.Config(**config)), (SEQUENCE, TARGETS, TABLE, spec))


def test_bpr_is_the_mean_of_minus_log_sigma_of_each_margin():
    users, items, negatives = STATES[:, 0], STATES[:, 1], STATES[:, 2:]
    specs = (TensorSpec("vector", width=4), TensorSpec("vector", width=4), TensorSpec("fields", fields=2, width=4))
    terms = [-math.log(1 / (1 + math.exp(-float(users[a] @ items[a] - users[a] @ negatives[a, k])))) for a in range(3) for k in range(2)]
    assert float(build(BprLoss(BprLoss.Config()), specs)(users, items, negatives)) == pytest.approx(sum(terms) / 6, rel=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 0.1])
def test_the_softmax_is_a_cross_entropy_over_the_catalogue_without_the_unknown_row(temperature):
    scores = torch.stack([state @ ITEMS[1:].T for state, _ in REAL]) / temperature
    expected = functional.cross_entropy(scores, torch.tensor([item - 1 for _, item in REAL]))
    assert torch.allclose(softmax(temperature)((STATES, MASK), ITEMS, (WANTED, MASK)), expected, atol=1e-5)


def test_a_sampled_softmax_over_the_whole_catalogue_is_the_full_one():
    full = softmax()((STATES, MASK), ITEMS, (WANTED, MASK))
    all_items = torch.arange(1, 7)
    assert torch.allclose(sampled(6)((STATES, MASK), (WANTED, MASK), ITEMS, all_items), full, atol=1e-5)


def test_a_sampled_softmax_approaches_the_full_one_as_it_draws_more():
    full = float(softmax()((STATES, MASK), ITEMS, (WANTED, MASK)))
    gaps = []
    for count in (6, 20_000):
        drawn = torch.randint(1, 7, (count,), generator=torch.Generator().manual_seed(1))
        gaps.append(abs(float(sampled(count)((STATES, MASK), (WANTED, MASK), ITEMS, drawn)) - full))
    assert gaps[1] < 0.02 * full
    assert gaps[1] < gaps[0]


def test_without_the_correction_few_negatives_count_as_few():
    drawn = torch.tensor([1, 1])
    corrected, plain = (sampled(2, correct=flag)((STATES, MASK), (WANTED, MASK), ITEMS, drawn) for flag in (True, False))
    assert corrected > plain


def test_a_negative_that_was_chosen_does_not_count_against_itself():
    one = (torch.randn(1, 1, 4, generator=GENERATOR), torch.tensor([[True]]))
    target = (torch.tensor([[3]]), torch.tensor([[True]]))
    assert float(sampled(3)(one, target, ITEMS, torch.tensor([3, 3, 3]))) == pytest.approx(0.0, abs=1e-6)


def test_steps_without_a_target_teach_nothing():
    states = STATES.clone().requires_grad_()
    softmax()((states, MASK), ITEMS, (WANTED, MASK)).backward()
    assert not states.grad[~MASK].any()
    assert states.grad[MASK].any(1).all()


def test_the_pointwise_loss_compares_by_the_link_of_the_scores_and_weighs():
    scores, labels = torch.tensor([[0.2, 1.0], [3.0, -1.0]]), torch.tensor([[1.0, 0.0], [float("nan"), 1.0]])
    for link in ("logit", "value"):
        spec = TensorSpec("scores", tasks=("a", "b"), width=2, link=link)
        found = build(PointwiseLoss(PointwiseLoss.Config(weight=3.0)), (spec, TensorSpec("vector", width=2)))(scores, labels)
        kept, wanted = scores.flatten()[[0, 1, 3]], torch.tensor([1.0, 0.0, 1.0])
        expected = functional.mse_loss(kept, wanted) if link == "value" else functional.binary_cross_entropy_with_logits(kept, wanted)
        assert torch.allclose(found, 3 * expected)


def test_the_divergence_is_that_of_two_normal_distributions():
    means, logs = STATES[:, 0], STATES[:, 1]
    spec = TensorSpec("vector", width=4)
    pairs = torch.distributions.kl_divergence(torch.distributions.Normal(means, (logs / 2).exp()), torch.distributions.Normal(0.0, 1.0))
    found = build(KlLoss(KlLoss.Config(weight=0.3)), (spec, spec))(means, logs)
    assert torch.allclose(found, 0.3 * pairs.sum(1).mean(), atol=1e-5)


@pytest.mark.parametrize(("mean_over", "divisor"), [("entries", 4), ("rows", 2)])
def test_squared_errors_count_where_something_was_observed(mean_over, divisor):
    observed = torch.tensor([[5.0, 0.0, 3.0], [0.0, 1.0, 2.0]])
    predictions = torch.tensor([[4.0, 9.0, 3.5], [-7.0, 3.0, 2.0]], requires_grad=True)
    spec = TensorSpec("vector", width=3)
    found = build(MaskedMseLoss(MaskedMseLoss.Config(mean_over=mean_over)), (spec, spec))(predictions, observed)
    found.backward()
    assert float(found.detach()) == pytest.approx((1 + 0.25 + 4) / divisor)
    assert not predictions.grad[observed == 0].any()
    assert predictions.grad[0, 0] == pytest.approx(-2 / divisor)


@pytest.mark.parametrize(
    ("block", "specs"),
    [
        (
            BprLoss(BprLoss.Config()),
            (TensorSpec("vector", width=4), TensorSpec("vector", width=5), TensorSpec("fields", fields=1, width=4)),
        ),
        (SoftmaxLoss(SoftmaxLoss.Config()), (SEQUENCE, TABLE, SEQUENCE)),
        (SoftmaxLoss(SoftmaxLoss.Config()), (TensorSpec("sequence", width=5), TABLE, TARGETS)),
        (SampledSoftmaxLoss(SampledSoftmaxLoss.Config()), (SEQUENCE, TARGETS, TABLE, TABLE)),
        (PointwiseLoss(PointwiseLoss.Config()), (TensorSpec("scores", tasks=("a", "b"), width=2), TensorSpec("vector", width=1))),
    ],
)
def test_a_loss_refuses_what_it_cannot_compare(block, specs):
    with pytest.raises(ContractError):
        block.output(specs)
