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


def attention_weights(module, seed, monkeypatch):
    """Return what each head of each layer weighs steps by in one pass, [A, H, L, L] a layer."""
    met, attend = [], torch.nn.functional.scaled_dot_product_attention

    def spy(query, key, value, *args, **options):
        steps = torch.eye(value.shape[2]).expand(*value.shape[:2], -1, -1)
        met.append(attend(query, key, steps, *args, **options))
        return attend(query, key, value, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr("autorec_blocks.sequence.functional.scaled_dot_product_attention", spy)
        torch.manual_seed(seed)
        module((torch.randn(64, 6, 8), torch.ones(64, 6, dtype=torch.bool)))
    return met


@pytest.mark.parametrize("options", [{}, {"causal": False}, {"rotary": True}], ids=str)
@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_attention_weights_are_dropped_at_their_rate_and_in_training_only(options, rate, monkeypatch):
    block = Encoder(Encoder.Config(layers=2, heads=2, dropout=0.0, attention_dropout=rate, **options))
    torch.manual_seed(0)
    module = build(block, (TensorSpec("sequence", width=8),))
    whole, dropped = (attention_weights(module.train(mode), 1, monkeypatch) for mode in (False, True))
    assert len(whole) == len(dropped) == 2
    for layer in range(2):
        seen = whole[layer] > 0
        assert torch.allclose(whole[layer].sum(-1), torch.ones(()))
        assert (dropped[layer][seen] == 0).float().mean().item() == pytest.approx(rate, abs=0.03)
    kept = dropped[0] > 0  # behind the first layer the two passes see other steps
    assert torch.allclose(dropped[0][kept], whole[0][kept] / (1 - rate), atol=1e-5)


@pytest.mark.parametrize(("layers", "rate"), [(2, 0.3), (3, 0.5), (1, 0.3)])
def test_units_are_dropped_between_stacked_recurrent_layers_in_training_only(layers, rate):
    """Weights that let a layer hand on its input: every unit that reaches the next layer is the input's, or dropped and zero."""
    module = build(Gru(Gru.Config(width=4, layers=layers, dropout=rate)), (SPEC,))
    with torch.no_grad():
        for name, weight in module.unit.named_parameters():
            weight.zero_()
            if name.startswith("weight_ih"):
                weight[8:] = torch.eye(4)  # candidate state = tanh(x)
            if name.startswith("bias_ih"):
                weight[4:8] = -200.0  # the update gate is 0: the candidate alone is handed on
    steps, mask = torch.full((400, 5, 4), 0.5), torch.ones(400, 5, dtype=torch.bool)
    served, _ = module.eval()((steps, mask))
    trained, _ = module.train()((steps, mask))
    assert (served > 0).all()
    assert (trained == 0).float().mean().item() == pytest.approx(1 - (1 - rate) ** layers, abs=0.03)
    value = torch.tensor(0.5)
    for _ in range(layers):
        value = torch.tanh(value / (1 - rate))
    assert torch.allclose(trained[trained != 0], value)
