from __future__ import annotations

import pytest
import torch

from autorec_blocks.pool import Pool
from autorec_blocks.sequence import Encoder, Gru, Positions
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import TensorSpec
from autorec_kernel.testing.block_cases import build

SPEC = TensorSpec("sequence", width=4)
LENGTHS = torch.tensor([5, 3, 1, 0])
MASK = torch.arange(5) < LENGTHS[:, None]
STEPS = torch.randn(4, 5, 4, generator=torch.Generator().manual_seed(0)) * MASK[..., None]

READERS = {
    "gru": Gru(Gru.Config(width=6)),
    "gru of two layers": Gru(Gru.Config(width=6, layers=2)),
    "causal encoder": Encoder(Encoder.Config(layers=2, heads=2)),
    "encoder": Encoder(Encoder.Config(layers=2, heads=2, causal=False)),
    "positions": Positions(Positions.Config(max_length=4)),
}


def module_of(block, *specs):
    return build(block, specs or (SPEC,)).eval()


def padded(steps, mask, more):
    noise = torch.randn(len(steps), more, steps.shape[2], generator=torch.Generator().manual_seed(9))
    return torch.cat([steps, noise], 1), torch.cat([mask, torch.zeros(len(mask), more, dtype=torch.bool)], 1)


@pytest.mark.parametrize("name", READERS)
def test_padding_never_reaches_a_real_step(name):
    module = module_of(READERS[name])
    found, mask = module((STEPS, MASK))
    noisy = torch.where(MASK[..., None], STEPS, torch.full_like(STEPS, 7.0))
    more, _ = module(padded(noisy, MASK, 6))
    assert torch.allclose(more[:, :5], found, atol=1e-6)
    assert not found[~MASK].any()
    assert torch.equal(mask, MASK)


@pytest.mark.parametrize("name", READERS)
def test_a_history_is_read_alike_alone_and_in_a_batch(name):
    module = module_of(READERS[name])
    found, _ = module((STEPS, MASK))
    for row in range(3):
        length = int(LENGTHS[row])
        alone, _ = module((STEPS[row : row + 1, :length], MASK[row : row + 1, :length]))
        assert torch.allclose(alone[0], found[row, :length], atol=1e-6)


@pytest.mark.parametrize(("name", "causal"), [("gru", True), ("gru of two layers", True), ("causal encoder", True), ("encoder", False)])
def test_a_later_step_changes_no_earlier_one_where_the_block_is_causal(name, causal):
    module = module_of(READERS[name])
    changed = STEPS.clone()
    changed[0, 3] *= torch.tensor([1.0, -2.0, 0.5, 3.0])  # no constant: layer norm would take it out
    before, after = module((STEPS, MASK))[0], module((changed, MASK))[0]
    assert torch.allclose(before[0, :3], after[0, :3], atol=1e-6) == causal
    assert not torch.allclose(before[0, 3:], after[0, 3:], atol=1e-4)
    assert torch.allclose(before[1:], after[1:], atol=1e-6)


def test_positions_are_counted_from_the_newest_step():
    module = module_of(READERS["positions"])
    added = module((STEPS * 0, MASK))[0]
    weight = module.weight
    assert torch.equal(added[0], weight[[3, 3, 2, 1, 0]])  # the two oldest of five share the last of four positions
    assert torch.equal(added[1, :3], weight[[2, 1, 0]])
    assert torch.equal(added[2, 0], weight[0])


def test_an_encoder_of_a_width_that_its_heads_do_not_divide_is_refused():
    with pytest.raises(ContractError, match="divisor"):
        Encoder(Encoder.Config(heads=3)).output([SPEC])


@pytest.mark.parametrize("mode", ["mean", "sum", "max", "last"])
def test_pooling_reads_real_steps_only_and_gives_zeros_for_none(mode):
    noisy = torch.where(MASK[..., None], STEPS, torch.full_like(STEPS, 99.0))
    found = module_of(Pool(Pool.Config(mode=mode)))((noisy, MASK))
    reduce = {"mean": lambda s: s.mean(0), "sum": lambda s: s.sum(0), "max": lambda s: s.amax(0), "last": lambda s: s[-1]}[mode]
    expected = torch.stack([*(reduce(STEPS[row, :length]) for row, length in enumerate(LENGTHS[:3])), torch.zeros(4)])
    assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("mode", ["mean", "sum", "max", "last"])
def test_pooling_an_empty_history_gives_finite_gradients(mode):
    steps = STEPS.clone().requires_grad_()
    module_of(Pool(Pool.Config(mode=mode)))((steps, MASK)).sum().backward()
    assert torch.isfinite(steps.grad).all()
    assert not steps.grad[~MASK].any()
