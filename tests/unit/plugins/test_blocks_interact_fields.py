"""Formulas of the blocks that make, weigh and relate fields."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from autorec_blocks.field_attention import FieldAttention
from autorec_blocks.fields import HashCrosses, JoinFields, NumericFields
from autorec_blocks.gates import AttentionPool, FeatureGate, Senet
from autorec_blocks.interact import FactorizationMachine, Pairs
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import TensorSpec
from autorec_kernel.testing.block_cases import build


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def fields_spec(count, width):
    return TensorSpec("fields", fields=count, width=width)


def vector(width):
    return TensorSpec("vector", width=width)


def moved(module, seed=3):
    """Return the module with weights far from where they start."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator))
    return module


def test_a_number_is_a_field_of_its_vector_times_its_value():
    numbers = drawn(4, 3)
    module = build(NumericFields(NumericFields.Config(width=8)), [vector(3)])
    assert torch.allclose(module(numbers), torch.stack([numbers[:, i : i + 1] * module.weight[i] for i in range(3)], 1))
    assert not module(torch.zeros(2, 3)).any()


def test_a_group_of_numbers_sums_to_one_field():
    numbers = drawn(4, 5)
    block = NumericFields(NumericFields.Config(width=8, groups=(1, 3, 1)))
    module = build(block, [vector(5)])
    each = numbers.unsqueeze(2) * module.weight
    assert block.output([vector(5)]).fields == 3
    assert torch.allclose(module(numbers), torch.stack([each[:, 0], each[:, 1:4].sum(1), each[:, 4]], 1), atol=1e-6)


def test_groups_cover_the_numbers():
    with pytest.raises(ContractError, match="cover 3 numbers"):
        NumericFields(NumericFields.Config(groups=(1, 2))).output([vector(5)])


def test_joined_fields_keep_their_order_and_width():
    first, second = drawn(2, 3, 4), drawn(2, 1, 4, seed=1)
    block = JoinFields(JoinFields.Config())
    specs = [fields_spec(3, 4), fields_spec(1, 4)]
    assert block.output(specs).fields == 4
    assert torch.equal(build(block, specs)(first, second), torch.cat([first, second], 1))
    with pytest.raises(ContractError, match="one width"):
        block.output([fields_spec(3, 4), fields_spec(1, 5)])


def index_spec(count):
    return TensorSpec("fields", fields=count, index=True)


def test_a_cross_of_categories_weighs_what_its_pairs_weigh_together():
    module = moved(build(HashCrosses(HashCrosses.Config(buckets=4096)), [index_spec(3)]))
    rows = torch.tensor([[1, 2, 3], [1, 2, 9], [5, 2, 3]])
    one = [[row[i] if i in pair else 0 for i in range(3)] for row in rows.tolist() for pair in ((0, 1), (0, 2), (1, 2))]
    alone = module(torch.tensor(one)).view(3, 3)  # an unknown row silences its pairs, which leaves one pair a row
    assert torch.allclose(module(rows)[:, 0], alone.sum(1), atol=1e-5)
    assert alone[0, 0] == alone[1, 0]
    assert alone[0, 2] == alone[2, 2]
    assert alone.flatten().unique().numel() == 7


def test_crosses_tell_pairs_apart_with_few_collisions():
    module = build(HashCrosses(HashCrosses.Config(buckets=65_536)), [index_spec(2)])
    rows = torch.cartesian_prod(torch.arange(1, 101), torch.arange(1, 101))
    module.weight.data = torch.arange(65_536.0)
    buckets = module(rows).unique().numel()
    assert buckets > 0.97 * 65_536 * (1 - np.exp(-10_000 / 65_536))  # what a random hash would fill


def test_crosses_start_silent_and_ignore_unknown_categories():
    module = build(HashCrosses(HashCrosses.Config()), [index_spec(2)])
    assert not module(torch.tensor([[3, 4]])).any()
    assert not moved(module)(torch.tensor([[0, 4], [3, 0], [0, 0]])).any()


def test_crosses_need_the_rows_of_two_columns():
    for spec in (index_spec(1), fields_spec(3, 4)):
        with pytest.raises(ContractError, match="two columns"):
            HashCrosses(HashCrosses.Config()).output([spec])


@pytest.mark.parametrize(("groups", "gates"), [(0, 12), (3, 3), (4, 4)])
def test_a_gate_is_one_a_number_or_one_a_group(groups, gates):
    module = build(FeatureGate(FeatureGate.Config(groups=groups)), [vector(12)])
    value = drawn(5, 12)
    assert module.logits.shape == (gates,)
    assert torch.allclose(module(value), value)
    moved(module)
    spread = (2 * torch.sigmoid(module.logits)).repeat_interleave(12 // gates)
    assert torch.allclose(module(value), value * spread, atol=1e-6)


def test_a_gate_that_reads_a_context_differs_from_row_to_row():
    module = moved(build(FeatureGate(FeatureGate.Config(groups=2, hidden_dims=(8,))), [vector(4), vector(3)]))
    value, context = torch.ones(5, 4), drawn(5, 3)
    logits = module.network[2](torch.relu(module.network[0](context)))
    assert torch.allclose(module(value, context), 2 * torch.sigmoid(logits).repeat_interleave(2, 1), atol=1e-6)
    assert not torch.allclose(module(value, context)[0], module(value, context)[1])


def test_gates_share_a_vector_equally():
    with pytest.raises(ContractError, match="equally"):
        FeatureGate(FeatureGate.Config(groups=5)).output([vector(12)])


@pytest.mark.parametrize(("ratio", "hidden"), [(1, 6), (3, 2), (8, 1)])
def test_squeeze_and_excitation_reweighs_whole_fields(ratio, hidden):
    module = moved(build(Senet(Senet.Config(reduction_ratio=ratio)), [fields_spec(6, 4)]))
    fields = drawn(5, 6, 4)
    first, second = module.excite[0], module.excite[2]
    assert first.weight.shape == (hidden, 6)
    inner = np.maximum(fields.mean(2).numpy() @ first.weight.detach().numpy().T + first.bias.detach().numpy(), 0)
    weights = 1 / (1 + np.exp(-(inner @ second.weight.detach().numpy().T + second.bias.detach().numpy())))
    assert np.allclose(module(fields).detach(), fields.numpy() * weights[:, :, None], atol=1e-5)


def test_attention_weights_of_pairs_add_up_to_one():
    module = moved(build(AttentionPool(AttentionPool.Config(attention_dims=(8, 4))), [fields_spec(6, 4)]))
    fields = drawn(5, 6, 4)
    weights = module.weights(fields)
    assert torch.allclose(weights.sum(1), torch.ones(5), atol=1e-6)
    assert weights.std() > 0.01
    assert torch.allclose(module(fields), (weights.unsqueeze(2) * fields).sum(1), atol=1e-6)


def test_even_attention_over_pairs_is_the_factorization_machine_over_their_number():
    fields = drawn(5, 6, 4)
    pairs = build(Pairs(Pairs.Config()), [fields_spec(6, 4)])(fields)
    module = build(AttentionPool(AttentionPool.Config()), [fields_spec(15, 4)])
    torch.nn.init.zeros_(module.unit[-1].weight)
    machine = build(FactorizationMachine(FactorizationMachine.Config(reduce=False)), [fields_spec(6, 4)])(fields)
    assert torch.allclose(module(pairs), machine / 15, atol=1e-5)


@pytest.mark.parametrize("heads", [1, 2])
def test_field_attention_follows_its_equations(heads):
    fields, wide = drawn(3, 4, 5), heads * 4
    module = moved(build(FieldAttention(FieldAttention.Config(heads=heads, head_width=4)), [fields_spec(4, 5)]))
    query, key, value, residual = (part.detach().numpy() for part in module.project.weight.split(wide, 0))
    found = module(fields).detach().numpy()
    for row, head, m in ((row, head, m) for row in range(3) for head in range(heads) for m in range(4)):
        own = slice(head * 4, head * 4 + 4)
        e = fields[row].numpy()
        fits = np.array([(query[own] @ e[m]) @ (key[own] @ e[k]) for k in range(4)])
        shares = np.exp(fits - fits.max()) / np.exp(fits - fits.max()).sum()
        mixed = sum(share * (value[own] @ e[k]) for k, share in enumerate(shares))
        assert np.allclose(found[row, m, own], np.maximum(mixed + residual[own] @ e[m], 0), atol=1e-4)


def test_field_attention_survives_fits_that_would_overflow():
    module = build(FieldAttention(FieldAttention.Config()), [fields_spec(4, 5)])
    assert torch.isfinite(module(1e3 * drawn(3, 4, 5))).all()
