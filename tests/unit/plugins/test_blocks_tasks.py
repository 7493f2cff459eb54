from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from autorec_blocks.experts import Experts, Gate
from autorec_blocks.task_losses import JointLabel, MultiplyScores, UncertaintyWeighting
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import TensorSpec

NAN = float("nan")


def _vector(width: int) -> TensorSpec:
    return TensorSpec("vector", width=width)


def _fields(count: int, width: int) -> TensorSpec:
    return TensorSpec("fields", fields=count, width=width)


def _scores(link: str, *tasks: str) -> TensorSpec:
    return TensorSpec("scores", width=len(tasks), tasks=tasks, link=link)  # type: ignore[arg-type]


def _numpy_expert(module: torch.nn.Module, number: int, values: np.ndarray, widths: tuple[int, ...]) -> np.ndarray:
    """Run one expert alone, layer by layer."""
    state = {name: value.detach().numpy() for name, value in module.state_dict().items()}
    rows = slice(number * widths[1], (number + 1) * widths[1])
    found = np.maximum(values @ state["first.weight"][rows].T + state["first.bias"][rows], 0)
    for layer in range(len(widths) - 2):
        found = np.maximum(found @ state[f"weights.{layer}"][number] + state[f"offsets.{layer}"][number, 0], 0)
    return found


def test_experts_are_networks_of_their_own_computed_together() -> None:
    block = Experts(Experts.Config(count=3, hidden_dims=(5, 4, 2)))
    specs = [_vector(6)]
    assert block.output(specs) == _fields(3, 2)
    module, values = block.build(specs, {}), torch.randn(7, 6)
    found = module(values).detach().numpy()
    for number in range(3):
        assert np.allclose(found[:, number], _numpy_expert(module, number, values.numpy(), (6, 5, 4, 2)), atol=1e-6)


def test_the_gradient_of_one_expert_reaches_no_other() -> None:
    module = Experts(Experts.Config(count=3, hidden_dims=(4, 4))).build([_vector(6)], {})
    module(torch.randn(9, 6))[:, 1].sum().backward()
    assert [bool(part.any()) for part in module.weights[0].grad] == [False, True, False]
    assert [bool(part.any()) for part in module.first.weight.grad.view(3, 4, 6)] == [False, True, False]


def test_experts_have_one_share_of_the_parameters_each() -> None:
    sizes = [
        sum(p.numel() for p in Experts(Experts.Config(count=count, hidden_dims=(8, 4))).build([_vector(6)], {}).parameters())
        for count in (1, 2, 5)
    ]
    assert sizes == [sizes[0], 2 * sizes[0], 5 * sizes[0]] == [92, 184, 460]


@pytest.mark.parametrize("name", ["relu", "tanh", "sigmoid"])
def test_experts_honour_their_activation(name: str) -> None:
    module = Experts(Experts.Config(count=2, hidden_dims=(4,), activation=name)).build([_vector(3)], {})
    values = torch.randn(5, 3)
    expected = getattr(torch, name)(module.first(values)).view(5, 2, 4)
    assert torch.allclose(module(values), expected)


def test_a_gate_adds_up_experts_by_a_softmax_of_its_input() -> None:
    block = Gate(Gate.Config())
    specs = [_vector(3), _fields(2, 4), _fields(1, 4)]
    assert block.output(specs) == _vector(4)
    module = block.build(specs, {})
    vector, own, shared = torch.randn(5, 3), torch.randn(5, 2, 4), torch.randn(5, 1, 4)
    found = module(vector, own, shared).detach().numpy()
    logits = vector.numpy() @ module.logits.weight.detach().numpy().T
    for row in range(5):
        weights = np.exp(logits[row]) / np.exp(logits[row]).sum()
        together = [*own[row].numpy(), *shared[row].numpy()]
        assert np.allclose(found[row], sum(w * e for w, e in zip(weights, together, strict=True)), atol=1e-5)


def test_the_weights_of_a_softmax_gate_sum_to_one_and_those_of_others_need_not() -> None:
    sums = {}
    for name in ("softmax", "sigmoid", "softplus", "tanh", "relu"):
        torch.manual_seed(3)
        module = Gate(Gate.Config(activation=name)).build([_vector(6), _fields(4, 2)], {})
        weights = module.weights(torch.randn(50, 6))
        sums[name] = weights.sum(1)
        if name != "softmax":
            torch.manual_seed(3)
            same = Gate(Gate.Config(activation=name)).build([_vector(6), _fields(4, 2)], {})
            vector = torch.randn(50, 6)
            assert torch.allclose(weights, getattr(torch.nn.functional, name)(same.logits(vector)))
    assert torch.allclose(sums.pop("softmax"), torch.ones(50))
    assert all(not torch.allclose(total, torch.ones(50), atol=1e-2) for total in sums.values())


def test_experts_of_unequal_width_are_not_mixed() -> None:
    with pytest.raises(ContractError, match="experts of one width"):
        Gate(Gate.Config()).output([_vector(3), _fields(2, 4), _fields(2, 5)])


def test_scores_multiply_as_probabilities() -> None:
    block = MultiplyScores(MultiplyScores.Config(tasks=("buy",)))
    specs = [_scores("logit", "click"), _scores("probability", "given")]
    assert block.output(specs) == _scores("probability", "buy")
    logits, given = torch.tensor([[0.0], [2.0], [-40.0]]), torch.tensor([[0.5], [0.25], [1.0]])
    found = block.build(specs, {})(logits, given)[:, 0].tolist()
    assert found == pytest.approx([0.25, 0.25 / (1 + math.exp(-2.0)), 1 / (1 + math.exp(40.0))], rel=1e-6)


@pytest.mark.parametrize("wrong", [_scores("value", "stars"), _scores("logit", "a", "b")])
def test_numbers_and_other_counts_of_scores_do_not_multiply(wrong: TensorSpec) -> None:
    with pytest.raises(ContractError, match="needs 1 logits or probabilities"):
        MultiplyScores(MultiplyScores.Config(tasks=("buy",))).output([_scores("logit", "click"), wrong])


def test_a_joint_label_is_one_where_all_are_and_zero_settles_the_unknown() -> None:
    module = JointLabel(JointLabel.Config()).build([_vector(1)] * 2, {})
    clicks = torch.tensor([[1.0], [1.0], [0.0], [0.0], [0.0], [1.0], [NAN], [NAN]])
    buys = torch.tensor([[1.0], [0.0], [0.0], [1.0], [NAN], [NAN], [0.0], [1.0]])
    expected = [[1.0], [0.0], [0.0], [0.0], [0.0], [NAN], [0.0], [NAN]]
    assert torch.equal(torch.nan_to_num(module(clicks, buys), nan=9.0), torch.nan_to_num(torch.tensor(expected), nan=9.0))


def test_losses_are_weighed_by_the_inverse_of_their_learned_variance() -> None:
    block = UncertaintyWeighting(UncertaintyWeighting.Config(kinds=("classification", "regression")))
    module = block.build([TensorSpec("loss")] * 2, {})
    losses = torch.tensor(0.7), torch.tensor(5.0)
    assert float(module(*losses).detach()) == pytest.approx(0.7 + 0.5 * 5.0)
    with torch.no_grad():
        module.log_variances.copy_(torch.tensor([0.3, 1.2]))
    sigma = np.exp(0.5 * np.array([0.3, 1.2]))
    expected = 0.7 / sigma[0] ** 2 + math.log(sigma[0]) + 5.0 / (2 * sigma[1] ** 2) + math.log(sigma[1])
    assert float(module(*losses).detach()) == pytest.approx(expected, rel=1e-6)


def test_the_variance_of_a_task_comes_to_rest_where_it_equals_its_loss() -> None:
    """d/ds of c·exp(-s)·L + s/2 is 0 at exp(s) = 2cL: for a regression the learned variance is the mean squared error."""
    module = UncertaintyWeighting(UncertaintyWeighting.Config(kinds=("classification", "regression"))).build([TensorSpec("loss")] * 2, {})
    optimiser = torch.optim.Adam(module.parameters(), lr=0.05)
    for _ in range(600):
        optimiser.zero_grad()
        module(torch.tensor(0.4), torch.tensor(6.0)).backward()
        optimiser.step()
    assert torch.exp(module.log_variances).tolist() == pytest.approx([0.8, 6.0], rel=1e-2)


def test_kinds_must_be_as_many_as_losses() -> None:
    with pytest.raises(ContractError, match="2 losses and 1 kinds"):
        UncertaintyWeighting(UncertaintyWeighting.Config(kinds=("regression",))).output([TensorSpec("loss")] * 2)
