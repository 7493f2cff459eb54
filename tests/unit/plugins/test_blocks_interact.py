"""Formulas of the blocks that multiply fields and vectors, against loops written out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from autorec_blocks.bilinear import Bilinear, BilinearPairs
from autorec_blocks.cin import CompressedInteraction
from autorec_blocks.cross import Cross
from autorec_blocks.interact import FactorizationMachine, Pairs
from autorec_kernel.errors import ContractError, UsageError
from autorec_kernel.records.architecture import TensorSpec
from autorec_kernel.testing.block_cases import build


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def fields_spec(count, width):
    return TensorSpec("fields", fields=count, width=width)


def vector(width):
    return TensorSpec("vector", width=width)


def in_a_circle(count):
    """Return the pairs by distance, each once: (0, 1), (1, 2), …, then those two places apart, …."""
    pairs = [(i, (i + turn) % count) for turn in range(1, count // 2 + 1) for i in range(count)]
    return pairs[: count * (count - 1) // 2]


@pytest.mark.parametrize("count", [2, 3, 4, 7, 10])
def test_every_pair_of_fields_occurs_once(count):
    assert {frozenset(pair) for pair in in_a_circle(count)} == {frozenset(pair) for pair in itertools.combinations(range(count), 2)}
    fields = drawn(3, count, 4)
    found = build(Pairs(Pairs.Config()), [fields_spec(count, 4)])(fields)
    expected = torch.stack([fields[:, i] * fields[:, j] for i, j in in_a_circle(count)], 1)
    assert torch.equal(found, expected)


def test_pairs_add_up_to_the_factorization_machine():
    fields = drawn(5, 6, 4)
    pairs = build(Pairs(Pairs.Config()), [fields_spec(6, 4)])(fields)
    machine = build(FactorizationMachine(FactorizationMachine.Config()), [fields_spec(6, 4)])(fields)
    assert torch.allclose(pairs.sum((1, 2)), machine[:, 0], atol=1e-5)


@pytest.mark.parametrize("block", [Pairs(Pairs.Config()), BilinearPairs(BilinearPairs.Config())])
def test_a_single_field_has_no_pairs(block):
    with pytest.raises(ContractError, match="two fields"):
        block.output([fields_spec(1, 4)])


@pytest.mark.parametrize("count", [2, 3, 5, 6])
@pytest.mark.parametrize(
    ("kind", "matrices"),
    [("field_all", lambda f: 1), ("field_each", lambda f: f if f > 2 else 1), ("field_interaction", lambda f: f * (f - 1) // 2)],
)
def test_a_bilinear_pair_is_the_leading_field_through_its_matrix_times_the_other(count, kind, matrices):
    fields = drawn(4, count, 3)
    module = build(BilinearPairs(BilinearPairs.Config(kind=kind)), [fields_spec(count, 3)])
    assert module.weight.shape == (matrices(count), 3, 3)
    weight, found = module.weight.detach(), module(fields)
    for place, (i, j) in enumerate(in_a_circle(count)):
        matrix = weight[{"field_all": 0, "field_each": i % len(weight), "field_interaction": place}[kind]]
        for row in range(4):
            expected = torch.stack([sum(fields[row, i, a] * matrix[a, b] for a in range(3)) * fields[row, j, b] for b in range(3)])
            assert torch.allclose(found[row, place], expected, atol=1e-5)


def test_identity_matrices_turn_bilinear_pairs_into_plain_ones():
    fields = drawn(4, 5, 3)
    for kind in ("field_all", "field_each", "field_interaction"):
        module = build(BilinearPairs(BilinearPairs.Config(kind=kind)), [fields_spec(5, 3)])
        with torch.no_grad():
            module.weight.copy_(torch.eye(3).expand_as(module.weight))
        assert torch.allclose(module(fields), build(Pairs(Pairs.Config()), [fields_spec(5, 3)])(fields), atol=1e-6)


@pytest.mark.parametrize("heads", [1, 2])
def test_a_bilinear_product_is_the_sum_over_its_chunks(heads):
    left, right = drawn(5, 4), drawn(5, 6, seed=1)
    module = build(Bilinear(Bilinear.Config(heads=heads)), [vector(4), vector(6)])
    total = torch.zeros(5)
    for head, (x, y) in enumerate(zip(left.chunk(heads, 1), right.chunk(heads, 1), strict=True)):
        total += torch.einsum("ad,de,ae->a", x, module.weight[head], y)
    assert torch.allclose(module(left, right)[:, 0], total, atol=1e-5)


def test_a_bilinear_product_takes_the_most_chunks_that_fit():
    assert build(Bilinear(Bilinear.Config(heads=4)), [vector(6), vector(9)]).weight.shape == (3, 2, 3)
    assert build(Bilinear(Bilinear.Config(heads=4)), [vector(5), vector(7)]).weight.shape == (1, 5, 7)


def cross(kind, width, **more):
    return build(Cross(Cross.Config(parameterization=kind, **more)), [vector(width), vector(width)])


def test_a_cross_with_a_vector_follows_its_equation():
    first, value = drawn(4, 3), drawn(4, 3, seed=1)
    module = cross("vector", 3)
    torch.nn.init.normal_(module.bias)
    weight = module.weight.weight.detach()[0].numpy()
    expected = [x0 * float(x @ weight) + module.bias.detach().numpy() + x for x0, x in zip(first.numpy(), value.numpy(), strict=True)]
    assert np.allclose(module(first, value).detach(), expected, atol=1e-5)


def test_a_cross_with_a_matrix_follows_its_equation():
    first, value = drawn(4, 3), drawn(4, 3, seed=1)
    module = cross("matrix", 3)
    matrix, bias = module.layer.weight.detach().numpy(), module.layer.bias.detach().numpy()
    expected = [x0 * (matrix @ x + bias) + x for x0, x in zip(first.numpy(), value.numpy(), strict=True)]
    assert np.allclose(module(first, value).detach(), expected, atol=1e-5)


def test_a_matrix_whose_rows_are_one_vector_crosses_as_the_vector_does():
    first, value = drawn(4, 3), drawn(4, 3, seed=1)
    thin, wide = cross("vector", 3), cross("matrix", 3)
    with torch.no_grad():
        wide.layer.weight.copy_(thin.weight.weight.expand(3, 3))
        wide.layer.bias.zero_()
        thin.bias.zero_()
    assert torch.allclose(thin(first, value), wide(first, value), atol=1e-6)


@pytest.mark.parametrize("experts", [1, 3])
def test_a_mixture_of_crosses_follows_its_equation(experts):
    first, value = drawn(4, 5), drawn(4, 5, seed=1)
    module = cross("mixture", 5, rank=2, experts=experts)
    torch.nn.init.normal_(module.bias)
    down = module.down.weight.detach().numpy().reshape(experts, 2, 5)
    up = module.up.weight.detach().numpy().reshape(5, experts, 2)
    core, bias = module.core.detach().numpy(), module.bias.detach().numpy()
    for row in range(4):
        x0, x = first[row].numpy(), value[row].numpy()
        gates = np.exp(module.gate(value[row]).detach().numpy()) if experts > 1 else np.ones(1)
        total = x.copy()
        for expert, gate in enumerate(gates / gates.sum()):
            inner = np.tanh(np.tanh(down[expert] @ x) @ core[expert])
            total += gate * x0 * (up[:, expert] @ inner + bias)
        assert np.allclose(module(first, value)[row].detach(), total, atol=1e-5)


@pytest.mark.parametrize("kind", ["vector", "matrix"])
def test_each_cross_raises_the_degree_by_one(kind):
    one = torch.tensor([[2.0]])
    value, degrees = one, []
    for _ in range(3):
        module = cross(kind, 1)
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
        value = module(one, value)
        degrees.append(value.item())
    assert degrees == [2 * 3, 2 * 9, 2 * 27]  # x (1 + x)^l


def test_a_cross_of_another_kind_is_refused(kernel):
    with pytest.raises(UsageError, match="parameterization"):
        kernel.create("model-block", "blocks/cross", parameterization="tensor")


@pytest.mark.parametrize("units", [(2,), (7, 3), (2, 9)])
def test_the_interaction_network_is_the_sum_over_all_maps_and_fields(units):
    fields = drawn(3, 4, 5)
    module = build(CompressedInteraction(CompressedInteraction.Config(layer_units=units)), [fields_spec(4, 5)])
    value, sums = fields, []
    for layer in module.layers:
        after = torch.zeros(3, layer.weight.shape[2], 5)
        for i, j, h in itertools.product(*(range(size) for size in layer.weight.shape)):
            after[:, h] += layer.weight[i, j, h].detach() * value[:, i] * fields[:, j]
        value = after
        sums.append(value.sum(2))
    assert torch.allclose(module(fields), torch.cat(sums, 1), atol=1e-4)
