from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from autorec_blocks.combine import Add, Concat, Lookup, SumFields
from autorec_blocks.dense import Head, Linear, Mlp, SumScores
from autorec_blocks.interact import FactorizationMachine
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import TensorSpec
from autorec_kernel.testing.block_cases import build


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def vector(width):
    return TensorSpec("vector", width=width)


@pytest.mark.parametrize("reduce", [True, False])
def test_the_factorization_machine_is_the_sum_over_all_pairs(reduce):
    fields = drawn(8, 6, 5)
    spec = TensorSpec("fields", fields=6, width=5)
    found = build(FactorizationMachine(FactorizationMachine.Config(reduce=reduce)), [spec])(fields)
    pairs = torch.stack([fields[:, i] * fields[:, j] for i, j in itertools.combinations(range(6), 2)]).sum(0)
    assert torch.allclose(found, pairs.sum(1, keepdim=True) if reduce else pairs, atol=1e-5)


def test_one_field_has_no_pairs():
    assert torch.allclose(
        build(FactorizationMachine(FactorizationMachine.Config()), [TensorSpec("fields", fields=1, width=5)])(drawn(3, 1, 5)),
        torch.zeros(3, 1),
        atol=1e-6,
    )


def test_a_linear_layer_can_start_from_zero_and_go_without_offset():
    module = build(Linear(Linear.Config(width=2, bias=False, zero_start=True)), [vector(3)])
    assert not module(drawn(4, 3)).any()
    assert module.bias is None


def test_a_perceptron_applies_its_layers_in_order():
    module = build(Mlp(Mlp.Config(hidden_dims=(4, 2), activation="tanh")), [vector(3)])
    x = drawn(5, 3)
    assert torch.allclose(module(x), torch.tanh(module[2](torch.tanh(module[0](x)))))


def test_dropout_acts_in_training_only():
    module = build(Mlp(Mlp.Config(hidden_dims=(64,), dropout=0.5)), [vector(3)])
    x = drawn(50, 3)
    assert torch.equal(module.eval()(x), module(x))
    zeros = (module.train()(x) == 0).float().mean() - (module.eval()(x) == 0).float().mean()
    assert zeros > 0.15


def test_a_head_adds_one_affine_layer_an_input_and_starts_at_its_offset():
    module = build(Head(Head.Config(tasks=("a", "b"), offset=0.7)), [vector(3), vector(2)])
    x, y = drawn(4, 3), drawn(4, 2, seed=1)
    assert torch.allclose(module(x, y), x @ module.layers[0].weight.T + y @ module.layers[1].weight.T + 0.7, atol=1e-6)
    assert torch.allclose(module(x * 0, y * 0), torch.full((4, 2), 0.7))


def test_sum_scores_adds_plainly_and_learns_only_what_it_may():
    x, y = drawn(4, 1), drawn(4, 1, seed=1)
    for learned in (True, False):
        module = build(SumScores(SumScores.Config(offset=0.5, learned=learned)), [vector(1), vector(1)])
        assert torch.allclose(module(x, y), x + y + 0.5)
        assert [p.requires_grad for p in module.parameters()] == [learned]
    with pytest.raises(ContractError, match="widths"):
        SumScores(SumScores.Config()).output([vector(1), vector(2)])


def test_concat_and_add_put_vectors_together():
    x, y = drawn(4, 3), drawn(4, 2, seed=1)
    assert torch.equal(build(Concat(Concat.Config()), [vector(3), vector(2)])(x, y), torch.cat([x, y], 1))
    module = build(Add(Add.Config()), [vector(3), vector(2), vector(3)])
    assert torch.allclose(module(x, y, x), 2 * x + y @ module.projections[1].weight.T)
    assert isinstance(module.projections[2], nn.Identity)


def test_sum_fields_and_lookup_pick_rows():
    fields, table = drawn(4, 3, 2), drawn(5, 2)
    assert torch.equal(build(SumFields(SumFields.Config()), [TensorSpec("fields", fields=3, width=2)])(fields), fields.sum(1))
    specs = [TensorSpec("table", rows=5, width=2), TensorSpec("fields", fields=1, index=True, rows=5)]
    assert torch.equal(build(Lookup(Lookup.Config()), specs)(table, torch.tensor([[4], [0]])), table[[4, 0]])
    with pytest.raises(ContractError, match="index of one column"):
        Lookup(Lookup.Config()).output([specs[0], TensorSpec("fields", fields=1)])
