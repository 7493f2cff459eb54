"""The block keeps its contract and does what its name says."""

from __future__ import annotations

import torch

from autorec_kernel.records.architecture import TensorSpec
from autorec_kernel.testing import ModelBlockContract
from autorec_plugin_template.gate import Gate


class TestGate(ModelBlockContract):
    component = Gate
    configs = (Gate.Config(), Gate.Config(width=5))


def test_a_closed_gate_lets_nothing_through() -> None:
    module = Gate(Gate.Config(width=4)).build((TensorSpec("vector", width=3),), {})
    linear = module[0]
    with torch.no_grad():
        linear.weight[4:].zero_()
        linear.bias[4:].fill_(-100.0)
    assert torch.count_nonzero(module(torch.ones(2, 3)).round(decimals=6)) == 0
