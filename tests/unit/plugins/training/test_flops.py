"""Operations of matrix products: what `autorec profile` holds against the machine's speed."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from autorec_kernel.models import FitSettings, products
from autorec_kernel.models.products import derived, linear, product, quick_products
from autorec_kernel.testing.model_cases import features_for
from autorec_kernel.testing.network_cases import batches, network_for, suited
from autorec_training.flops import count_flops, counted
from autorec_training.step_profile import profile_steps

pytestmark = pytest.mark.plugins

MULTIPLIES = re.compile(r"mm|mv|matmul|linear|conv|attention|rnn|gru|lstm|dot|einsum|bilinear|inner")
MADE_OF_OTHERS = {"linear", "matmul", "einsum", "gru", "conv1d", "scaled_dot_product_attention", "mkldnn_convolution", "_convolution"}


def weights_of(network):
    return sum(part.weight.numel() for part in network.modules() if isinstance(part, torch.nn.Linear))


def sparse():
    return torch.eye(5).to_sparse_csr()


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
@pytest.mark.parametrize(
    ("work", "flops"),
    [
        (lambda: torch.ones(3, 5) @ torch.ones(5, 7), 2 * 3 * 5 * 7),
        (lambda: sparse() @ torch.ones(5, 7), 2 * 5 * 7),
        (lambda: torch.ones(3, 5) @ torch.ones(5), 2 * 3 * 5),
        (lambda: torch.ones(5) @ torch.ones(5), 2 * 5),
        (lambda: torch.ones(3, 7).addmm_(torch.ones(3, 5), torch.ones(5, 7)), 2 * 3 * 5 * 7),
        (lambda: torch.ones(3).addmv_(torch.ones(3, 5), torch.ones(5)), 2 * 3 * 5),
        (lambda: torch.ones(2, 3, 7).baddbmm_(torch.ones(2, 3, 5), torch.ones(2, 5, 7)), 2 * 2 * 3 * 5 * 7),
        (lambda: product(torch.ones(32, 64), torch.ones(48, 64)), 2 * 32 * 64 * 48),
        (lambda: linear(torch.ones(2, 16, 64), torch.ones(48, 64, requires_grad=True)).sum().backward(), 2 * 2 * 32 * 64 * 48),
        (lambda: functional.scaled_dot_product_attention(*torch.ones(3, 2, 4, 6, 8)), 2 * 2 * 2 * 4 * 6 * 6 * 8),
        (lambda: torch.ones(4, 4).mul(2).sum(), 0),
    ],
)
def test_two_operations_are_counted_a_multiplication(work, flops):
    assert count_flops(work) == flops


@pytest.mark.parametrize(("name", "config"), [("deepfm", {}), ("deepfm", {"hidden_units": (256,)}), ("pnn", {}), ("dcnv2", {})])
def test_a_step_of_a_deep_network_is_three_products_a_layer(kernel, name, config):
    """Forward, gradient of the input, gradient of the weight: 2 operations for each row and weight."""
    features = features_for(kernel, "click")
    network = network_for(kernel.create("blueprint", f"zoo/{name}", **config), features, kernel)
    found = profile_steps(network, features, FitSettings(batch_size=256), steps=4)
    assert found.rows < 256  # the last batch of an epoch is smaller: figures are of the mean step
    assert found.gflop * 1e9 == pytest.approx(6 * found.rows * weights_of(network), rel=0.1)


@pytest.mark.slow
def test_no_product_of_a_training_step_is_uncounted(kernel, monkeypatch):
    """What runs is counted, torch deriving every gradient or not; where all products are torch's own, the count is the same."""
    found, met = {}, set()
    for row in kernel.components("blueprint"):
        blueprint = kernel.create("blueprint", row.id)
        given = suited(blueprint, kernel)
        network = network_for(blueprint, given[1], kernel) if given else None
        if network is None or not network.trainable:
            continue
        batch = batches(network, given[1], 64, 1)[0]

        def step(network=network, batch=batch):
            torch.manual_seed(0)
            network.loss(batch).backward()

        with derived():
            count = count_flops(step)
            with monkeypatch.context() as patch:
                patch.setattr(products, "_OFFERED", False)
                plain = count_flops(step)
        with quick_products(network):
            by_hand = count_flops(step)
            with profile(activities=[ProfilerActivity.CPU]) as trace:
                step()
        met |= {event.key for event in trace.key_averages() if event.key.startswith(("aten::", "mkldnn::"))}
        found[row.id] = (count, plain, by_hand)
    names = {name.split("::")[1] for name in met}
    assert {name for name in names if MULTIPLIES.search(name)} <= counted() | MADE_OF_OTHERS
    assert len(found) > 30
    assert all(count == plain for count, plain, _ in found.values())
    different = {name for name, (count, _, by_hand) in found.items() if by_hand != pytest.approx(count, rel=0.02)}
    assert different == {"zoo/autoint", "zoo/din"}  # attention head by head, without a product of matrices; a unit on real steps alone
    assert found["zoo/din"][2] < found["zoo/din"][0]


def test_the_limit_is_the_quickest_product_of_training(monkeypatch):
    from autorec_training import step_profile as module

    clock = iter(np.cumsum([0.0, 1.0, 0.0, 0.25] * 2))
    monkeypatch.setattr(module, "_clock", lambda device: next(clock))
    assert module.matrix_gflops("cpu", repeats=2) == pytest.approx(2 * 1024**3 / 0.25 / 1e9)
