"""Laws of model blocks that learn: the gradient reaches every parameter and every input (torch)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from autorec_kernel.records.architecture import TensorSpec
from autorec_kernel.testing.block_cases import build, cases, run, tensors_of
from autorec_kernel.testing.block_inputs import values_for
from autorec_kernel.testing.violation import demand

__all__ = ["check_gradient_reaches_every_input", "check_gradient_reaches_every_parameter"]

_DRAWS = 6
_LONG = 64  # steps of the longest history: tables of positions are touched up to there


def check_gradient_reaches_every_parameter(component: Any, config: Any, kernel: Any = None) -> None:
    """Every parameter is trainable and gets a gradient, in train mode (dropout on) and in the mode that is served.

    A parameter counts as dead when its gradient is exactly zero over several batches, at the first weights and at moved ones.
    """
    for block, specs in cases(component, config):
        module = build(block, specs)
        frozen = [name for name, p in module.named_parameters() if not p.requires_grad]
        demand(not frozen, f"parameters {frozen} do not train: constants are buffers")
        for training in (True, False):
            reached = _reached(module, specs, training)
            dead = [name for name, total in reached.items() if not total.any()]
            mode = "train" if training else "eval"
            demand(not dead, f"no gradient reaches {dead} in {mode} mode: dead parameters")
            if training:
                unused = {name: share for name, total in reached.items() if (share := _dead_share(total)) >= 0.25}
                demand(not unused, f"parts of {sorted(unused)} never get a gradient (dead rows or columns: {unused})")


def check_gradient_reaches_every_input(component: Any, config: Any, kernel: Any = None) -> None:
    """Every input of numbers gets a gradient, so that what stands before the block can learn (labels of a loss are exempt)."""
    for block, specs in cases(component, config):
        if hasattr(block, "solve"):
            continue  # a closed form learns from its arrays
        if block.output(specs).index:
            continue  # which rows are chosen is no matter of degree
        loss = block.output(specs).port == "loss"
        module = build(block, specs).train()
        reached = [False] * len(specs)
        for values, outputs in _passes(module, specs, with_inputs=True):
            floats = [(i, t) for i, value in enumerate(values) for t in tensors_of(value) if t.requires_grad]
            if not floats or not outputs or not outputs[0].requires_grad:
                continue
            grads = torch.autograd.grad(_total(outputs), [t for _, t in floats], allow_unused=True, retain_graph=True)
            for (position, _), grad in zip(floats, grads, strict=True):
                reached[position] = reached[position] or (grad is not None and bool(grad.any()))
        wanted = [i for i, spec in enumerate(specs) if _carries_numbers(spec) and not (loss and i > 0)]
        missed = [i for i in wanted if not reached[i]]
        demand(not missed, f"no gradient reaches input {missed} ({[specs[i].port for i in missed]}): what feeds it cannot learn")


def _carries_numbers(spec: TensorSpec) -> bool:
    return not spec.index and not spec.neighbours


def _reached(module: torch.nn.Module, specs: Sequence[TensorSpec], training: bool) -> dict[str, torch.Tensor]:
    """Return the summed absolute gradient of every parameter."""
    totals = {name: torch.zeros_like(p) for name, p in module.named_parameters()}
    module.train(training)
    for _, outputs in _passes(module, specs):
        if not outputs or not outputs[0].requires_grad:
            continue
        grads = torch.autograd.grad(_total(outputs), list(module.parameters()), allow_unused=True)
        for (name, total), grad in zip(totals.items(), grads, strict=True):
            totals[name] = total + (grad.abs() if grad is not None else 0)
    return totals


def _passes(
    module: torch.nn.Module, specs: Sequence[TensorSpec], with_inputs: bool = False
) -> Iterator[tuple[list[Any], list[torch.Tensor]]]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(17)
        kept = {name: p.detach().clone() for name, p in module.named_parameters()}
        for draw in range(_DRAWS):
            if draw == _DRAWS // 2:
                _move(module)  # gates that start at zero open, saturated units come back
            values = values_for(specs, 12, _LONG if draw % 3 == 2 else 6, seed=100 + draw, full=draw % 2 == 1)
            if with_inputs:
                for tensor in (t for value in values for t in tensors_of(value) if t.is_floating_point()):
                    tensor.requires_grad_()
            yield values, [t for t in tensors_of(run(module, values, "a batch of 12")) if t.is_floating_point()]
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                parameter.copy_(kept[name])


@torch.no_grad()
def _move(module: torch.nn.Module) -> None:
    for parameter in module.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.1)


def _total(outputs: Sequence[torch.Tensor]) -> torch.Tensor:
    weights = [torch.randn(t.shape, generator=torch.Generator().manual_seed(1)) for t in outputs]  # a plain sum hides normalised outputs
    return torch.stack([(t * w).sum() for t, w in zip(outputs, weights, strict=True)]).sum()


def _dead_share(total: torch.Tensor) -> float:
    """Return the largest share of rows or columns without any gradient; tables of positions or ids (first axis) may have untouched rows."""
    if total.dim() < 2 or min(total.shape[:2]) < 2:
        return 0.0
    dead = [(total.transpose(0, axis).flatten(1).sum(1) == 0).double().mean().item() for axis in (0, 1)]
    return max(dead[0] if total.shape[0] <= _LONG // 2 else 0.0, dead[1])
