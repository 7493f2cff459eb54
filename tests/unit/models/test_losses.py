from __future__ import annotations

import math

import pytest
import torch

from autorec_kernel.models.losses import pointwise_loss

NAN = float("nan")


def test_a_logit_is_compared_by_cross_entropy():
    found = pointwise_loss(torch.tensor([0.0, 2.0]), torch.tensor([1.0, 0.0]), "logit")
    assert float(found) == pytest.approx((math.log(2) + math.log1p(math.exp(2))) / 2)


def test_a_probability_is_compared_by_cross_entropy_and_certainty_stays_finite():
    found = pointwise_loss(torch.tensor([0.25, 0.25]), torch.tensor([1.0, 0.0]), "probability")
    assert float(found) == pytest.approx(-(math.log(0.25) + math.log(0.75)) / 2)
    assert torch.isfinite(pointwise_loss(torch.tensor([0.0]), torch.tensor([1.0]), "probability"))


def test_a_value_is_compared_by_squared_error():
    assert float(pointwise_loss(torch.tensor([3.0, 1.0]), torch.tensor([1.0, 1.0]), "value")) == 2.0


@pytest.mark.parametrize("link", ["logit", "probability", "value"])
def test_rows_without_a_label_neither_count_nor_learn(link):
    predictions = torch.tensor([0.3, 0.6, 0.9], requires_grad=True)
    loss = pointwise_loss(predictions, torch.tensor([1.0, NAN, 0.0]), link)
    known = pointwise_loss(predictions[[0, 2]], torch.tensor([1.0, 0.0]), link)
    assert float(loss.detach()) == pytest.approx(float(known.detach()))
    loss.backward()
    assert predictions.grad is not None
    assert predictions.grad[1] == 0
    assert predictions.grad[0] != 0


@pytest.mark.parametrize("logit", [-25.0, -10.0, 10.0])
def test_a_rare_event_that_happened_moves_its_logit_by_one(logit):
    """The derivative of -log p is p - 1 in its logit, however small p is; the logarithm alone is bounded."""
    given = torch.tensor([logit], requires_grad=True)
    pointwise_loss(torch.sigmoid(given), torch.tensor([1.0]), "probability").backward()
    assert given.grad is not None
    assert float(given.grad) == pytest.approx(float(torch.sigmoid(given.detach())) - 1, rel=1e-4, abs=1e-6)


def test_a_batch_without_any_label_costs_nothing():
    assert float(pointwise_loss(torch.tensor([0.3]), torch.tensor([NAN]), "logit")) == 0.0
