from __future__ import annotations

import itertools

import pytest
import torch

from autorec_kernel.errors import ContractError
from autorec_kernel.models.adapters import adapt_module, adapt_spec, masked_mean
from autorec_kernel.records.architecture import TensorSpec

MASK = torch.tensor([[True, True, False], [True, False, False], [False, False, False]])
STEPS = torch.arange(36, dtype=torch.float32).reshape(3, 3, 4)
VALUES = {
    "fields": (TensorSpec("fields", fields=2, width=5), torch.randn(3, 2, 5, generator=torch.Generator().manual_seed(0))),
    "vector": (TensorSpec("vector", width=6), torch.randn(3, 6, generator=torch.Generator().manual_seed(1))),
    "sequence": (TensorSpec("sequence", width=4), (STEPS, MASK)),
    "scores": (TensorSpec("scores", tasks=("a", "b"), width=2, link="logit"), torch.tensor([[0.5, -1.0], [2.0, 0.0], [0.1, 0.2]])),
    "catalogue": (TensorSpec("scores", rows=9, link="value"), torch.randn(3, 9, generator=torch.Generator().manual_seed(3))),
}
PORTS = ("fields", "vector", "sequence", "scores")


@pytest.mark.parametrize(("source", "port"), list(itertools.product(VALUES, PORTS)))
def test_every_pair_of_ports_gives_the_shape_that_the_spec_says(source, port):
    spec, value = VALUES[source]
    found, adapted = adapt_module(spec, port)(value), adapt_spec(spec, port)
    assert adapted.port == port
    if port == "sequence":
        steps, mask = found
        assert (steps.shape[2], mask.dtype, mask.shape) == (adapted.width, torch.bool, steps.shape[:2])
    elif port == "scores" and adapted is spec:
        assert found is value
    else:
        shape = {"fields": (3, adapted.fields, adapted.width), "vector": (3, adapted.width), "scores": (3, 1)}[port]
        assert tuple(found.shape) == shape
    assert adapted.link is None or port == "scores"


def test_fields_become_a_vector_side_by_side():
    spec, value = VALUES["fields"]
    assert torch.equal(adapt_module(spec, "vector")(value), torch.cat([value[:, 0], value[:, 1]], 1))


def test_fields_become_a_sequence_of_real_steps():
    spec, value = VALUES["fields"]
    steps, mask = adapt_module(spec, "sequence")(value)
    assert torch.equal(steps, value)
    assert mask.all()


def test_a_sequence_becomes_the_mean_of_its_real_steps_and_zeros_when_empty():
    spec, value = VALUES["sequence"]
    expected = torch.stack([STEPS[0, :2].mean(0), STEPS[1, 0], torch.zeros(4)])
    assert torch.equal(adapt_module(spec, "vector")(value), expected)
    assert torch.equal(adapt_module(spec, "fields")(value), expected[:, None])
    assert torch.equal(masked_mean(STEPS, MASK), expected)


def test_scores_of_the_catalogue_are_as_wide_as_the_catalogue():
    spec, value = VALUES["catalogue"]
    assert adapt_spec(spec, "vector").width == 9
    assert torch.equal(adapt_module(spec, "vector")(value), value)


def test_a_value_becomes_scores_by_one_projection_without_offset():
    spec, value = VALUES["fields"]
    module = adapt_module(spec, "scores")
    assert [tuple(p.shape) for p in module.parameters()] == [(1, 10)]
    assert torch.allclose(module(value), value.flatten(1) @ next(module.parameters()).T)


def test_a_row_index_becomes_a_sequence_of_one_step_that_is_real_unless_unknown():
    spec = TensorSpec("vector", index=True, rows=9)
    steps, mask = adapt_module(spec, "sequence")(torch.tensor([3, 0]))
    assert steps.tolist() == [[3], [0]]
    assert mask.tolist() == [[True], [False]]
    assert adapt_spec(spec, "sequence").index


@pytest.mark.parametrize(
    ("spec", "port"),
    [
        (TensorSpec("table", width=4), "vector"),
        (TensorSpec("vector", width=4), "table"),
        (TensorSpec("loss"), "scores"),
        (TensorSpec("scores"), "loss"),
        (TensorSpec("vector", index=True), "fields"),
        (TensorSpec("sequence", index=True), "vector"),
    ],
)
def test_tables_losses_and_row_indices_are_refused(spec, port):
    with pytest.raises(ContractError, match="cannot be adapted"):
        adapt_spec(spec, port)


@pytest.mark.parametrize("port", PORTS)
def test_a_value_on_its_own_port_passes_through(port):
    spec, value = VALUES[port]
    assert adapt_spec(spec, port) is spec
    assert adapt_module(spec, port)(value) is value
