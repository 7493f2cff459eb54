"""Units of attention with gradients written by hand score and learn as their formula does."""

from __future__ import annotations

import copy
from itertools import pairwise

import pytest
import torch
from torch import nn

from autorec_blocks import rated as module
from autorec_blocks.gates import AttentionPool
from autorec_blocks.pool import AttentionWeights
from autorec_blocks.rated import rated, unit_layers
from autorec_kernel.records.architecture import TensorSpec

FIELDS = TensorSpec("fields", fields=3, width=4)
STEPS, TARGET = TensorSpec("sequence", width=4), TensorSpec("vector", width=4)


def _numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _compare(unit: nn.Module, *inputs: torch.Tensor, mask: torch.Tensor | None = None) -> None:
    """Compare outputs and gradients in float32, by hand, with those in float64, where torch derives them."""
    found = []
    for kind in (torch.float32, torch.float64):
        own = copy.deepcopy(unit).to(kind)
        given = [one.detach().to(kind).requires_grad_() for one in inputs]
        value = own(*given) if mask is None else own((given[0], mask), given[1])[0]
        (value * torch.linspace(-1, 1, value.numel(), dtype=kind).view(value.shape)).sum().backward()
        found.append([value, *(one.grad for one in given), *(parameter.grad for parameter in own.parameters())])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-5)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the rows of each test fill several blocks and a part of one."""
    monkeypatch.setattr(module, "_ROWS", 4)


@pytest.mark.parametrize("rows", [4, 11])
@pytest.mark.parametrize("widths", [(3, 5), (3, 5, 2)])
def test_gradient_of_scores_is_that_of_their_formula(rows: int, widths: tuple[int, ...]) -> None:
    weights = [_numbers(after, before, seed=after).requires_grad_() for before, after in pairwise(widths)]
    offsets = [_numbers(len(weight), seed=9).requires_grad_() for weight in weights]
    values, last = _numbers(rows, 3).requires_grad_(), _numbers(widths[-1], seed=5).requires_grad_()
    count, plain = len(weights), values
    for weight, offset in zip(weights, offsets, strict=True):
        plain = torch.relu(plain @ weight.t() + offset)
    torch.testing.assert_close(rated(values, weights, offsets, last), plain @ last)
    assert torch.autograd.gradcheck(lambda x, v, *p: rated(x, p[:count], p[count:], v), (values, last, *weights, *offsets))


@pytest.mark.parametrize("dims", [(6,), (6, 5)])
def test_attention_over_fields_trains_as_its_formula(dims: tuple[int, ...]) -> None:
    pool = AttentionPool(AttentionPool.Config(attention_dims=dims)).build([FIELDS], {})
    assert unit_layers(pool.unit)  # type: ignore[arg-type]
    _compare(pool, _numbers(7, 3, 4))


@pytest.mark.parametrize("softmax", [True, False])
@pytest.mark.parametrize("dims", [(6,), (6, 5)])
def test_attention_over_steps_trains_as_its_formula(dims: tuple[int, ...], softmax: bool) -> None:
    config = AttentionWeights.Config(attention_dims=dims, activation="relu", softmax=softmax)
    mask = torch.arange(5) < torch.tensor([[3], [0], [5], [1], [4]])
    _compare(AttentionWeights(config).build([STEPS, TARGET], {}), _numbers(5, 5, 4), _numbers(5, 4, seed=1), mask=mask)


def test_steps_that_are_not_real_weigh_nothing_and_learn_nothing() -> None:
    unit = AttentionWeights(AttentionWeights.Config(activation="relu")).build([STEPS, TARGET], {})
    mask = torch.arange(5) < torch.tensor([[3], [0], [5]])
    steps, target = torch.randn(3, 5, 4, requires_grad=True), torch.randn(3, 4)
    weights, same = unit((steps, mask), target)
    weights.sum().backward()
    assert same is mask and not weights[~mask].any() and steps.grad is not None and not steps.grad[~mask].any()
    nothing, _ = unit((steps, torch.zeros_like(mask)), target)
    assert not nothing.any()


def test_units_with_anything_but_rectifiers_take_the_usual_way() -> None:
    dropped = AttentionPool(AttentionPool.Config(attention_dims=(6,), dropout=0.5)).build([FIELDS], {})
    smooth = AttentionWeights(AttentionWeights.Config(activation="dice")).build([STEPS, TARGET], {})
    affine = AttentionWeights(AttentionWeights.Config(attention_dims=())).build([STEPS, TARGET], {})
    assert all(unit_layers(built.unit) is None for built in (dropped, smooth, affine))  # type: ignore[arg-type]
