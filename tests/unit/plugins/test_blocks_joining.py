"""Formulas of the blocks that sum, cut, mix and average, against loops written out; where a free cell uses the mixing one."""

from __future__ import annotations

import numpy as np
import torch

from autorec_blocks.field_parts import MixFields, SplitFields
from autorec_blocks.running_mean import RunningMean
from autorec_blocks.sums import AddFields, AddSteps
from autorec_kernel.records.architecture import TensorSpec
from autorec_kernel.records.features import Feature, FeatureSchema
from autorec_kernel.testing.block_cases import build

MASK = torch.tensor([[False, True, True, True], [False, False, False, True]])


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def steps_spec(width):
    return TensorSpec("sequence", width=width)


def test_a_running_mean_averages_the_real_steps_so_far():
    steps = drawn(2, 4, 3)
    found, mask = build(RunningMean(RunningMean.Config()), [steps_spec(3)])((steps, MASK))
    assert torch.equal(mask, MASK)
    for row in range(2):
        for step in range(4):
            past = [steps[row, k].numpy() for k in range(step + 1) if MASK[row, k]]
            expected = np.mean(past, axis=0) if MASK[row, step] else np.zeros(3)
            assert np.allclose(found[row, step], expected, atol=1e-6)


def test_steps_are_added_projected_and_a_single_step_goes_to_all():
    first, second, single = drawn(2, 4, 3), drawn(2, 4, 5, seed=1), drawn(2, 1, 3, seed=2)
    module = build(AddSteps(AddSteps.Config()), [steps_spec(3), steps_spec(5), steps_spec(3)])
    found, mask = module((first, MASK), (second, MASK), (single, torch.ones(2, 1, dtype=torch.bool)))
    weight = module.projections[0].weight.detach()
    assert torch.equal(mask, MASK)
    for row in range(2):
        for step in range(4):
            expected = first[row, step] + weight @ second[row, step] + single[row, 0] if MASK[row, step] else torch.zeros(3)
            assert torch.allclose(found[row, step], expected, atol=1e-5)


def test_fields_are_added_one_by_one_and_the_mean_of_another_number_of_them_to_all():
    first, same, other = drawn(2, 3, 4), drawn(2, 3, 2, seed=1), drawn(2, 5, 4, seed=2)
    module = build(
        AddFields(AddFields.Config()), [TensorSpec("fields", fields=count, width=width) for count, width in ((3, 4), (3, 2), (5, 4))]
    )
    found, weight = module(first, same, other), module.projections[0].weight.detach()
    for row in range(2):
        for field in range(3):
            mean = sum(other[row, k] for k in range(5)) / 5
            assert torch.allclose(found[row, field], first[row, field] + weight @ same[row, field] + mean, atol=1e-5)


def test_a_vector_is_mapped_and_cut_into_fields():
    vector, module = drawn(2, 6), build(SplitFields(SplitFields.Config(fields=3, width=4)), [TensorSpec("vector", width=6)])
    found, layer = module(vector), module.layer
    for row in range(2):
        for field in range(3):
            part = slice(4 * field, 4 * field + 4)
            assert torch.allclose(found[row, field], layer.weight[part] @ vector[row] + layer.bias[part], atol=1e-6)


def test_mixed_fields_are_weighted_sums_of_all():
    fields, module = drawn(2, 7, 4), build(MixFields(MixFields.Config(fields=3)), [TensorSpec("fields", fields=7, width=4)])
    found, weight = module(fields), module.layer.weight
    for row in range(2):
        for mixed in range(3):
            assert torch.allclose(found[row, mixed], sum(weight[mixed, k] * fields[row, k] for k in range(7)), atol=1e-6)


def test_a_cell_mixes_fields_only_where_there_are_many(kernel):
    def blocks(count, operation):
        columns = tuple(Feature(f"c{i}", "id", "row", vocabulary=f"c{i}", size=5, family="id", op="kit/id") for i in range(count))
        schema = FeatureSchema(columns, tasks={"y": "logit"}, label_range={"y": (0.0, 1.0, 0.4)}, events=400)
        graph = kernel.create("blueprint", "cells/free-ranker", operation_1=operation, nodes=1).architecture(schema)
        return {node.block for node in graph.nodes}

    assert "blocks/mix-fields" not in blocks(32, "cin") | blocks(33, "fm")
    assert "blocks/mix-fields" in blocks(33, "cin")
