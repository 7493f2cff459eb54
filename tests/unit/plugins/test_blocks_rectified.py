"""Gradients written by hand equal those that torch derives from the plain formulas."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from autorec_blocks.bilinear import BilinearPairs
from autorec_blocks.combine import Concat
from autorec_blocks.cross import Cross
from autorec_blocks.dense import Mlp
from autorec_blocks.dropout import Dropout
from autorec_blocks.field_attention import FieldAttention
from autorec_blocks.gates import Senet
from autorec_blocks.interact import FactorizationMachine, Pairs
from autorec_blocks.pair_products import pair_products
from autorec_blocks.rectified import Tower, rectified
from autorec_kernel.records.architecture import TensorSpec


def _layers(*widths: int) -> list[nn.Linear]:
    torch.manual_seed(3)
    return [nn.Linear(before, after).double() for before, after in pairwise(widths)]


def _agree(module: nn.Module, read: Callable[[nn.Module, torch.dtype], tuple[torch.Tensor, list[torch.Tensor]]]) -> None:
    """Compare outputs and gradients in float32, by hand, with those in float64, where torch derives them."""
    exact = copy.deepcopy(module).double()
    (one, inputs), (other, expected) = read(module, torch.float32), read(exact, torch.float64)
    torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-5)
    weights = torch.linspace(-1, 1, one.numel(), dtype=torch.float64).view(one.shape)
    (one * weights.float()).sum().backward()
    (other * weights).sum().backward()
    pairs = [*zip(inputs, expected, strict=True), *zip(module.parameters(), exact.parameters(), strict=True)]
    for left, right in pairs:
        assert left.grad is not None and right.grad is not None
        scale = float(right.grad.abs().max())
        torch.testing.assert_close(left.grad.double(), right.grad, rtol=1e-3, atol=1e-4 * scale)


def _leaf(*shape: int, dtype: torch.dtype, seed: int = 0) -> torch.Tensor:
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return values.to(dtype).requires_grad_()


def test_gradient_of_a_tower_is_that_of_its_formula() -> None:
    layers = _layers(5, 7, 4, 3)
    values = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)
    plain = values
    for layer in layers:
        plain = torch.relu(layer(plain))
    torch.testing.assert_close(rectified(values, layers), plain)
    assert torch.autograd.gradcheck(lambda x, *_: rectified(x, layers), (values, *(p for one in layers for p in one.parameters())))


@pytest.mark.parametrize("stored", ["rows", "columns"])
def test_a_tower_trains_as_its_parts_do(stored: str) -> None:
    tower = Mlp(Mlp.Config(hidden_dims=(24, 20))).build([TensorSpec("vector", width=18)], {})
    assert isinstance(tower, Tower)

    def read(module: nn.Module, dtype: torch.dtype) -> tuple[torch.Tensor, list[torch.Tensor]]:
        values = _leaf(40, 18, dtype=dtype) if stored == "rows" else _leaf(18, 40, dtype=dtype)
        return module(values if stored == "rows" else values.t()), [values]

    _agree(tower, read)


def test_a_tower_drops_units_between_its_layers() -> None:
    tower = Mlp(Mlp.Config(hidden_dims=(32, 16), dropout=(0.5, 0.0))).build([TensorSpec("vector", width=16)], {})
    first = tower[0]
    assert isinstance(first, nn.Linear) and isinstance(tower[2], Dropout)
    nn.init.ones_(first.bias)
    nn.init.zeros_(first.weight)
    seen: list[torch.Tensor] = []
    tower[2].register_forward_hook(lambda _, __, value: seen.append(value))
    assert tower(torch.randn(64, 16)).shape == (64, 16)
    assert set(seen[0].unique().tolist()) == {0.0, 2.0} and 0.4 < float((seen[0] == 0).float().mean()) < 0.6
    tower.eval()
    torch.testing.assert_close(tower(torch.zeros(2, 16)), torch.relu(tower[3](torch.ones(2, 32))))


def test_what_watches_a_layer_of_a_tower_sees_it() -> None:
    tower = Mlp(Mlp.Config(hidden_dims=(32, 16))).build([TensorSpec("vector", width=16)], {})
    seen: list[torch.Size] = []
    tower[2].register_forward_hook(lambda _, __, value: seen.append(value.shape))
    tower(torch.randn(8, 16)).sum().backward()
    assert seen == [(8, 16)]


@pytest.mark.parametrize("heads", [1, 2])
def test_layers_of_field_attention_train_as_their_formula(heads: int) -> None:
    spec = TensorSpec("fields", fields=5, width=6)
    block = FieldAttention(FieldAttention.Config(heads=heads, head_width=4))
    layers = nn.Sequential(block.build([spec], {}), block.build([block.output([spec])], {}))

    def read(module: nn.Module, dtype: torch.dtype) -> tuple[torch.Tensor, list[torch.Tensor]]:
        fields = _leaf(7, 5, 6, dtype=dtype)
        return module(fields).flatten(1), [fields]

    _agree(layers, read)


@pytest.mark.parametrize("fields", [2, 3, 4, 5])
@pytest.mark.parametrize("shared", [True, False])
def test_gradient_of_pair_products_is_that_of_its_formula(fields: int, shared: bool) -> None:
    left = torch.randn(fields, 1 if shared else fields // 2, 3, 2, dtype=torch.float64, requires_grad=True)
    right = torch.randn(fields, 3, 2, dtype=torch.float64, requires_grad=True)
    pairs = [(lead, (lead + turn) % fields, turn) for turn in range(1, fields // 2 + 1) for lead in range(fields)]
    pairs = pairs[: fields * (fields - 1) // 2]
    assert len({frozenset(pair[:2]) for pair in pairs}) == len(pairs)
    expected = torch.stack([left[one, 0 if shared else turn - 1] * right[other] for one, other, turn in pairs])
    torch.testing.assert_close(pair_products(left, right), expected)
    assert torch.autograd.gradcheck(pair_products, (left, right))


@pytest.mark.parametrize("count", [2, 5, 6])
@pytest.mark.parametrize("kind", ["inner", "pairs", "field_all", "field_each", "field_interaction", "senet"])
@pytest.mark.parametrize("stored", ["rows", "columns"])
def test_blocks_of_fields_train_as_their_formula(count: int, kind: str, stored: str) -> None:
    spec = TensorSpec("fields", fields=count, width=3)
    kinds: dict[str, Any] = {"inner": Pairs(Pairs.Config(inner=True)), "pairs": Pairs(Pairs.Config()), "senet": Senet(Senet.Config())}
    block = kinds[kind] if kind in kinds else BilinearPairs(BilinearPairs.Config.model_validate({"kind": kind}))

    def read(module: nn.Module, dtype: torch.dtype) -> tuple[torch.Tensor, list[torch.Tensor]]:
        fields = _leaf(9, count, 3, dtype=dtype) if stored == "rows" else _leaf(count, 3, 9, dtype=dtype)
        return module(fields if stored == "rows" else fields.permute(2, 0, 1)).flatten(1), [fields]

    _agree(block.build([spec], {}), read)


def test_vector_crosses_train_as_their_formula() -> None:
    spec = TensorSpec("vector", width=5)
    cross = Cross(Cross.Config(parameterization="vector")).build([spec, spec], {})
    nn.init.normal_(cross.bias)  # type: ignore[arg-type]

    def read(module: nn.Module, dtype: torch.dtype) -> tuple[torch.Tensor, list[torch.Tensor]]:
        first, value = _leaf(6, 5, dtype=dtype), _leaf(6, 5, dtype=dtype, seed=1)
        return module(first, module(first, module(value, value))), [first, value]

    _agree(cross, read)


def test_a_factorization_machine_trains_as_its_formula() -> None:
    machine = FactorizationMachine(FactorizationMachine.Config()).build([TensorSpec("fields", fields=4, width=3)], {})

    def read(module: nn.Module, dtype: torch.dtype) -> tuple[torch.Tensor, list[torch.Tensor]]:
        fields = _leaf(6, 4, 3, dtype=dtype)
        return module(fields), [fields]

    _agree(machine, read)


def test_vectors_stored_by_columns_are_joined_as_they_are() -> None:
    block = Concat(Concat.Config()).build([TensorSpec("vector", width=2), TensorSpec("vector", width=3)], {})
    first, second = (torch.randn(width, 4, requires_grad=True) for width in (2, 3))
    joined = block(first.t(), second.t())
    torch.testing.assert_close(joined, torch.cat([first.t(), second.t()], 1))
    assert joined.t().is_contiguous()
