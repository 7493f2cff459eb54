"""Quick matrix products: the same numbers and gradients as torch's own, only while a network trains on the CPU."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from autorec_kernel.models import products
from autorec_kernel.models.products import linear, quick_products


def gradients(function: object, shape: tuple[int, ...], width: int, *, bias: bool = True) -> list[torch.Tensor]:
    rng = torch.Generator().manual_seed(3)
    values = torch.randn(*shape, generator=rng).requires_grad_()
    weight = torch.randn(width, shape[-1], generator=rng).requires_grad_()
    offset = torch.randn(width, generator=rng).requires_grad_() if bias else None
    found = function(values, weight, offset)  # type: ignore[operator]
    (found * torch.randn(found.shape, generator=rng)).sum().backward()
    return [found, values.grad, weight.grad, *([offset.grad] if offset is not None else [])]  # type: ignore[list-item]


@pytest.mark.parametrize("shape", [(7, 64), (2500, 96), (5, 3, 32), (1, 16), (0, 64)])
@pytest.mark.parametrize("width", [16, 64, 100])
@pytest.mark.parametrize("bias", [True, False])
def test_values_and_gradients_are_those_of_torch(shape: tuple[int, ...], width: int, bias: bool) -> None:
    quick, plain = (gradients(function, shape, width, bias=bias) for function in (linear, functional.linear))
    for one, other in zip(quick, plain, strict=True):
        assert one.shape == other.shape
        torch.testing.assert_close(one, other, rtol=1e-4, atol=2e-4)


def test_values_of_other_types_narrow_layers_and_evaluation_take_the_usual_way() -> None:
    weight, narrow = torch.randn(32, 32), torch.randn(4, 32, requires_grad=True)
    assert linear(torch.randn(3, 32).double(), weight.double()).dtype == torch.float64
    assert "Product" not in str(linear(torch.randn(3, 32), narrow).grad_fn)
    with torch.no_grad():
        values = torch.randn(3, 32)
        assert torch.equal(linear(values, weight), functional.linear(values, weight))


def test_the_layers_of_a_network_are_quick_inside_and_their_own_again_outside() -> None:
    network = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
    names = list(network.state_dict())
    with pytest.raises(RuntimeError, match="stop"), quick_products(network):
        assert "Product" in str(network[0](torch.randn(4, 32)).grad_fn)
        assert list(network.state_dict()) == names
        raise RuntimeError("stop")
    assert type(network[0]) is nn.Linear
    assert "Product" not in str(network[0](torch.randn(4, 32)).grad_fn)


def test_a_frozen_weight_gets_no_gradient() -> None:
    weight = torch.randn(32, 32)
    values = torch.randn(4, 32, requires_grad=True)
    linear(values, weight).sum().backward()
    assert weight.grad is None
    torch.testing.assert_close(values.grad, weight.sum(0).expand(4, 32), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("loss", ["missing", "refusing"])
def test_a_missing_or_refusing_operator_gives_way_to_the_plain_product(loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> torch.Tensor:
        raise RuntimeError("this operator takes other arguments")

    asked: list[object] = []

    class Refusing:
        def _linear_pointwise(self, *given: object) -> torch.Tensor:
            asked.append(given)
            return refuse()

    monkeypatch.setattr(products, "_OFFERED", loss == "refusing")
    monkeypatch.setattr(torch.ops, "mkldnn", Refusing())
    for own, plain in zip(gradients(linear, (96, 64), 80), gradients(functional.linear, (96, 64), 80), strict=True):
        torch.testing.assert_close(own, plain, rtol=1e-5, atol=1e-4)
    assert bool(asked) == (loss == "refusing")
