from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from autorec_blocks.capsules import Capsules, LabelAttention, ProjectFields, squash
from autorec_blocks.convolution import DilatedConvolution
from autorec_blocks.dropout import Dropout
from autorec_blocks.sequence import ContinuedGru, Encoder
from autorec_blocks.sequence_attention import AdditiveAttention, JoinSteps
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import TensorSpec
from autorec_kernel.testing.block_cases import build

SPEC = TensorSpec("sequence", width=4)
LENGTHS = [5, 3, 1, 0]
MASK = torch.arange(5) < torch.tensor(LENGTHS)[:, None]
STEPS = torch.randn(4, 5, 4, generator=torch.Generator().manual_seed(0)) * MASK[..., None]


def module_of(block, *specs):
    return build(block, specs or (SPEC,)).eval()


def test_a_session_cut_in_two_is_read_as_a_whole():
    module = module_of(ContinuedGru(ContinuedGru.Config(width=6)), SPEC, TensorSpec("vector", width=6))
    whole = module((STEPS[:1], MASK[:1]), torch.zeros(1, 6))[0]
    first = module((STEPS[:1, :2], MASK[:1, :2]), torch.zeros(1, 6))[0]
    second = module((STEPS[:1, 2:], MASK[:1, 2:]), first[:, -1])[0]
    assert torch.allclose(torch.cat([first, second], 1), whole, atol=1e-6)


def test_a_unit_steps_by_the_equations_of_its_gates():
    module = module_of(ContinuedGru(ContinuedGru.Config(width=3)), SPEC, TensorSpec("vector", width=3))
    unit, state = module.unit, torch.tensor([0.3, -0.2, 0.5])
    inputs, states = unit.weight_ih_l0 @ STEPS[0, 0] + unit.bias_ih_l0, unit.weight_hh_l0 @ state + unit.bias_hh_l0
    reset, update = torch.sigmoid(inputs[:3] + states[:3]), torch.sigmoid(inputs[3:6] + states[3:6])
    expected = (1 - update) * torch.tanh(inputs[6:] + reset * states[6:]) + update * state
    assert torch.allclose(module((STEPS[:1, :1], MASK[:1, :1]), state[None])[0][0, 0], expected, atol=1e-6)


def test_rotary_attention_sees_the_distance_of_steps_and_not_their_place():
    module = module_of(Encoder(Encoder.Config(layers=1, heads=1, rotary=True)))
    layer = module.layers[0]
    steps = STEPS[0]
    query, key, value = (layer.project(layer.before(steps)).view(5, 3, 4)[:, part] for part in range(3))

    def turned(vector, place):
        rates = [place * 10_000 ** (-d / 2) for d in range(2)]
        pairs = [complex(*vector[[d, d + 2]].tolist()) * complex(np.cos(rates[d]), np.sin(rates[d])) for d in range(2)]
        return torch.tensor([pair.real for pair in pairs] + [pair.imag for pair in pairs])

    for start in (0, 11):  # the same scores wherever the history begins
        scores = torch.stack([turned(query[4], start + 4) @ turned(key[j], start + j) for j in range(5)]) / 2
        mixed = layer.merge(torch.softmax(scores.detach(), 0) @ value)
        assert torch.allclose(layer._attend(layer.before(steps)[None], MASK[:1])[0, 4], mixed, atol=1e-5)


def test_without_positions_attention_cannot_tell_an_order_and_rotary_can():
    swapped = STEPS[:1, [1, 0, 2, 3, 4]]
    for rotary in (False, True):
        module = module_of(Encoder(Encoder.Config(layers=1, rotary=rotary)))
        before, after = (module((steps, MASK[:1]))[0][0, 4] for steps in (STEPS[:1], swapped))
        assert torch.allclose(before, after, atol=1e-5) != rotary


def test_rotary_heads_have_an_even_width():
    with pytest.raises(ContractError, match="rotary heads"):
        Encoder(Encoder.Config(heads=4, rotary=True)).output([SPEC])


def squashed(vector):
    norm = np.linalg.norm(vector)
    return vector * norm / (1 + norm**2)


@pytest.mark.parametrize("iterations", [1, 2, 3])
def test_capsules_follow_the_equations_of_routing(iterations):
    module = module_of(Capsules(Capsules.Config(interests=3, iterations=iterations, width=5, max_length=4)))
    found = module((STEPS, MASK)).detach().numpy()
    first, weight = module.logits.numpy(), module.map.weight.detach().numpy()
    for row, length in enumerate(LENGTHS):
        mapped = STEPS[row, :length].numpy() @ weight.T
        logits = np.stack([first[min(length - 1 - i, 3)] for i in range(length)]) if length else np.zeros((0, 3))
        interests = np.zeros((3, 5))
        for _ in range(iterations):
            shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
            interests = np.stack([squashed(sum((shares[i, j] * mapped[i] for i in range(length)), np.zeros(5))) for j in range(3)])
            logits = logits + np.array([[mapped[i] @ interests[j] for j in range(3)] for i in range(length)]).reshape(length, 3)
        assert np.allclose(found[row], interests, atol=1e-5)


def test_a_squashed_vector_keeps_its_direction_and_is_shorter_than_one():
    vectors = torch.tensor([[3.0, 4.0], [0.003, 0.004], [300.0, 400.0], [0.0, 0.0]], requires_grad=True)
    found = squash(vectors)
    lengths = found.detach().norm(dim=1)
    assert torch.allclose(lengths, torch.tensor([25 / 26, 0.005**2 / (1 + 0.005**2), 1.0, 0.0]), atol=1e-5)
    assert float(lengths[0]) < 1
    assert torch.allclose(found[0].detach() / lengths[0], torch.tensor([0.6, 0.8]))
    found.sum().backward()
    assert torch.isfinite(vectors.grad).all()


def test_no_gradient_runs_through_the_logits_of_routing():
    module = module_of(Capsules(Capsules.Config(interests=3, iterations=3, width=5)))
    steps = STEPS.clone().requires_grad_()
    (found,) = torch.autograd.grad(module((steps, MASK)).sum(), steps)
    with torch.no_grad():  # the same with the weights of the last round held still
        fixed, logits = module.map(STEPS), module.logits[(torch.tensor(LENGTHS)[:, None] - 1 - torch.arange(5)).clamp(min=0)]
        for _ in range(2):
            shares = torch.softmax(logits, 2) * MASK[..., None]
            logits = logits + fixed @ squash(shares.transpose(1, 2) @ fixed).transpose(1, 2)
        shares = torch.softmax(logits, 2) * MASK[..., None]
    (expected,) = torch.autograd.grad(squash(shares.transpose(1, 2) @ module.map(steps)).sum(), steps)
    assert torch.allclose(found, expected, atol=1e-5)


def test_first_logits_are_the_same_in_every_process_and_differ_by_seed():
    one, again, other = (module_of(Capsules(Capsules.Config(seed=seed))) for seed in (0, 0, 1))
    assert torch.equal(one.logits, again.logits)
    assert not torch.equal(one.logits, other.logits)


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_a_target_mixes_fields_by_the_power_of_their_fit(power):
    fields, target = STEPS[:2, :3], STEPS[:2, 4] + 0.5
    module = module_of(
        LabelAttention(LabelAttention.Config(power=power)), TensorSpec("fields", fields=3, width=4), TensorSpec("vector", width=4)
    )
    for row in range(2):
        scores = [float(field @ target[row]) for field in fields[row]]
        weights = np.exp([np.sign(score) * abs(score) ** power for score in scores])
        expected = sum(w * field for w, field in zip(weights / weights.sum(), fields[row].numpy(), strict=True))
        assert np.allclose(module(fields, target)[row].numpy(), expected, atol=1e-5)


def test_every_field_goes_through_one_network():
    fields = STEPS[:2, :3]
    module = module_of(ProjectFields(ProjectFields.Config(width=5, hidden=6)), TensorSpec("fields", fields=3, width=4))
    assert torch.allclose(module(fields)[1, 2], module(fields[1:2, 2:3])[0, 0])
    assert isinstance(module_of(ProjectFields(ProjectFields.Config(width=5)), TensorSpec("fields", fields=3, width=4)), nn.Linear)


def test_a_dilated_convolution_is_its_formula_step_by_step():
    module = module_of(DilatedConvolution(DilatedConvolution.Config(layers=2, kernel=2)))

    def convolved(unit, steps, gap):
        past = [[steps[t - (1 - k) * gap] if t >= (1 - k) * gap else torch.zeros(4) for k in range(2)] for t in range(len(steps))]
        return torch.stack([unit.bias + unit.weight[:, :, 0] @ a + unit.weight[:, :, 1] @ b for a, b in past])

    steps = STEPS[0]
    for layer, gap in zip(module.layers, (1, 2), strict=True):
        inner = convolved(layer.near, torch.relu(layer.first(steps)), gap)
        steps = steps + convolved(layer.far, torch.relu(layer.second(inner)), 2 * gap)
    assert torch.allclose(module((STEPS, MASK))[0][0], module.norm(steps), atol=1e-5)


@pytest.mark.parametrize(("layers", "seen"), [(1, 4), (2, 10)])
def test_layers_double_the_steps_that_a_convolution_sees(layers, seen):
    module = module_of(DilatedConvolution(DilatedConvolution.Config(layers=layers, kernel=2)))
    steps, mask = torch.randn(1, 16, 4, generator=torch.Generator().manual_seed(1)).requires_grad_(), torch.ones(1, 16, dtype=torch.bool)
    (grad,) = torch.autograd.grad(module((steps, mask))[0][0, 12, 0], steps)
    assert grad[0].any(1).nonzero()[:, 0].tolist() == list(range(13 - seen, 13))


def test_additive_attention_sums_what_came_before():
    module = module_of(AdditiveAttention(AdditiveAttention.Config(width=8)))
    found, _ = module((torch.where(MASK[..., None], STEPS, torch.full_like(STEPS, 9.0)), MASK))
    for row, length in enumerate(LENGTHS):
        for t in range(length):
            scores = [module.score(torch.sigmoid(module.now(STEPS[row, t]) + module.then(STEPS[row, j]))) for j in range(t + 1)]
            expected = sum(score * STEPS[row, j] for j, score in enumerate(scores))
            assert torch.allclose(found[row, t], expected, atol=1e-5)
    assert not found[~MASK].any()


def test_joined_steps_stand_side_by_side():
    found, mask = module_of(JoinSteps(JoinSteps.Config()), SPEC, SPEC)((STEPS, MASK), (2 * STEPS, MASK))
    assert torch.equal(found, torch.cat([STEPS, 2 * STEPS], -1))
    assert torch.equal(mask, MASK)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5])
def test_dropout_drops_its_share_keeps_the_mean_and_repeats_by_seed(rate):
    module, ones = Dropout(rate), torch.ones(100_003, requires_grad=True)
    found = []
    for _ in range(2):
        with torch.random.fork_rng():
            torch.manual_seed(5)
            found.append(module(ones))
    kept = (found[0] != 0).float()
    assert float(kept.mean()) == pytest.approx(1 - rate, abs=0.01)
    assert float(found[0].detach().mean()) == pytest.approx(1.0, abs=0.01)
    assert torch.equal(found[0], found[1])
    found[0].sum().backward()
    assert torch.allclose(ones.grad, kept / (1 - rate))
    assert module.eval()(ones) is ones


def test_each_place_is_dropped_as_often_as_any_other():
    with torch.random.fork_rng():
        torch.manual_seed(6)
        kept = torch.stack([(Dropout(0.3)(torch.ones(8)) != 0).float() for _ in range(4000)])
    assert torch.allclose(kept.mean(0), torch.full((8,), 0.7), atol=0.04)
    assert torch.corrcoef(kept.T).fill_diagonal_(0).abs().max() < 0.08
