"""Laws of model blocks: what `output` says is what the module gives, row by row, whatever stands in padded steps (torch)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import torch
from torch.overrides import TorchFunctionMode

from autorec_kernel.records.architecture import Port, TensorSpec
from autorec_kernel.testing.block_cases import SIZES, build, cases, run, tensors_of
from autorec_kernel.testing.block_inputs import repad, take, values_for
from autorec_kernel.testing.snapshots import first_difference, leaves
from autorec_kernel.testing.surroundings import another_world, globals_kept
from autorec_kernel.testing.violation import demand

__all__ = [
    "check_block_declares_ports",
    "check_eval_is_deterministic",
    "check_module_gives_what_output_says",
    "check_module_leaves_inputs_alone",
    "check_output_allocates_nothing",
    "check_padding_changes_nothing",
    "check_rows_are_independent",
    "check_values_are_finite",
]


def check_block_declares_ports(component: Any, config: Any, kernel: Any = None) -> None:
    """`accepts` names ports, `variadic` is a bool with something to repeat, `arrays` names what the kernel offers."""
    unknown = [port for port in component.accepts if port not in get_args(Port)]
    demand(isinstance(component.accepts, tuple) and not unknown, f"accepts is {component.accepts!r}, expected a tuple of {get_args(Port)}")
    demand(isinstance(component.variadic, bool), f"variadic is {component.variadic!r}, expected True or False")
    demand(component.accepts or not component.variadic, "a variadic block needs a last port to repeat")
    demand(set(component.arrays) <= {"interactions"}, f"arrays is {component.arrays!r}; the kernel offers 'interactions'")
    demand(not component.arrays or hasattr(component, "solve"), "a block that reads arrays has a `solve`")


def check_output_allocates_nothing(component: Any, config: Any, kernel: Any = None) -> None:
    """`output` creates no tensor, gives the same answer twice and leaves the specs alone."""
    for block, specs in cases(component, config):
        with globals_kept("output"), _NoTensors():
            first = block.output(specs)
            second = component(config).output(list(specs))
        demand(isinstance(first, TensorSpec), f"output returned {type(first).__name__}, expected a TensorSpec")
        demand(first == second, f"output gives {first} for a tuple and {second} for a list of the same specs")


def check_module_gives_what_output_says(component: Any, config: Any, kernel: Any = None) -> None:
    """The module's value has the port, width, dtype and batch axis that `output` inferred, for every batch size and length."""
    for block, specs in cases(component, config):
        spec = block.output(specs)
        module = build(block, specs)
        for rows, steps in SIZES:
            for training in (False, True)[: 1 + (rows > 1)]:
                module.train(training)
                value = run(module, values_for(specs, rows, steps, seed=rows, full=training), f"a batch of {rows}")
                _demand_matches(value, spec, rows, f"batch of {rows}, {steps} steps")


def check_values_are_finite(component: Any, config: Any, kernel: Any = None) -> None:
    """No NaN or infinity for ordinary, large, zero inputs and empty histories, in values and gradients."""
    for block, specs in cases(component, config):
        module = build(block, specs)
        for scale in (1.0, 0.0, 10.0):
            values = [_scaled(value, scale) for value in values_for(specs, 9, 7, seed=3)]
            _demand_finite(module.eval(), values, f"inputs times {scale:g}, one of the histories empty")


def check_padding_changes_nothing(component: Any, config: Any, kernel: Any = None) -> None:
    """Other numbers in padded steps, and more padded steps, leave every output as it was."""
    for block, specs in cases(component, config):
        if not any(spec.port == "sequence" for spec in specs):
            continue
        module = build(block, specs).eval()
        values = values_for(specs, 9, 7, seed=5)
        expected = run(module, values, "a batch of 9")
        for more in (0, 3, 1):
            found = run(module, repad(values, more, seed=more), f"{more} more padded steps")
            demand(_close(_real(expected), _real(found)), f"the output depends on what stands in padded steps ({more} appended)")


def check_rows_are_independent(component: Any, config: Any, kernel: Any = None) -> None:
    """In eval mode the output for a row is the same alone, among others and in another order."""
    for block, specs in cases(component, config):
        if block.output(specs).port in ("loss", "table") or not any(spec.port not in ("table", "loss") for spec in specs):
            continue
        module = build(block, specs).eval()
        values = values_for(specs, 9, 7, seed=7)
        together = run(module, values, "a batch of 9")
        for rows in ([4], [0], [8, 2, 5], [8, 7, 6, 5, 4, 3, 2, 1, 0], [1, 1]):
            alone = run(module, take(values, specs, rows), f"rows {rows}")
            demand(
                _close([t[rows] for t in tensors_of(together)], tensors_of(alone)),
                f"the output of rows {rows} depends on their batch-mates",
            )


def check_eval_is_deterministic(component: Any, config: Any, kernel: Any = None) -> None:
    """In eval mode two calls give the same bits, whatever the global seeds and clocks; calls leave weights, buffers and modes alone."""
    for block, specs in cases(component, config):
        module = build(block, specs).eval()
        values = values_for(specs, 9, 7, seed=11)
        before = list(leaves(dict(module.state_dict())))
        first = run(module, values, "a batch of 9")
        run(module, values_for(specs, 5, 4, seed=12), "another batch")
        with another_world(9):
            second = run(module, values, "a batch of 9")
        demand(first_difference(list(leaves(first)), list(leaves(second))) is None, "two calls in eval mode give different values")
        changed = first_difference(before, list(leaves(dict(module.state_dict()))))
        demand(changed is None, f"a call in eval mode changes the module's state: {changed}")
        again = build(block, specs)
        twins = {t.data_ptr() for t in module.state_dict().values()} & {t.data_ptr() for t in again.state_dict().values()} - {0}
        demand(not twins, "two modules built by one block share tensors: training one would change the other")


def check_module_leaves_inputs_alone(component: Any, config: Any, kernel: Any = None) -> None:
    """Neither building nor calling the module, in train or eval mode, changes an input."""
    for block, specs in cases(component, config):
        module = build(block, specs)
        for rows, steps in SIZES:
            for training, full in ((False, False), (True, False), (False, True), (True, True)):
                if rows == 1 and training:
                    continue  # batch normalisation cannot train on one row
                module.train(training)
                plain = values_for(specs, rows, steps, seed=rows, full=full)
                for values in (plain, repad(plain, 2, seed=rows)):
                    _demand_untouched(module, values, f"{'train' if training else 'eval'} mode, a batch of {rows}")


def _demand_untouched(module: torch.nn.Module, values: Sequence[Any], where: str) -> None:
    before = list(leaves(values))
    with torch.no_grad():
        run(module, values, where)
    changed = first_difference(before, list(leaves(values)))
    demand(changed is None, f"calling the module changed its input {changed} ({where})")


class _NoTensors(TorchFunctionMode):
    """Turns the creation of any tensor into a violation."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        demand(False, f"output called {getattr(func, '__name__', func)}: shapes are inferred without allocating")


def _demand_matches(value: Any, spec: TensorSpec, rows: int, where: str) -> None:
    if spec.port == "sequence" or spec.neighbours:
        demand(isinstance(value, tuple) and len(value) == 2, f"{where}: a {spec.port} is a pair, the module gave {type(value).__name__}")
    main = value[0] if isinstance(value, tuple) else value
    demand(isinstance(main, torch.Tensor), f"{where}: the module gave {type(main).__name__}, expected a tensor")
    wanted, shape = torch.int64 if spec.index or spec.neighbours else torch.float32, tuple(main.shape)
    stored = spec.neighbours and main.dtype == torch.int32  # item rows of a stored table
    demand(main.dtype == wanted or stored, f"{where}: dtype {main.dtype}, expected {wanted}")
    expected = _expected_shape(spec, rows)
    fits = len(shape) == len(expected) and all(e in (None, s) for s, e in zip(shape, expected, strict=True))
    demand(fits, f"{where}: shape {shape}, but output says {spec.port} {['any' if e is None else e for e in expected]}")
    if spec.port == "sequence":
        mask = value[1]
        demand(mask.dtype == torch.bool and tuple(mask.shape) == shape[:2], f"{where}: the mask is {mask.dtype} {tuple(mask.shape)}")


def _expected_shape(spec: TensorSpec, rows: int) -> tuple[int | None, ...]:
    last = () if spec.index else (spec.width,)
    if spec.port == "scores":
        return (rows, len(spec.tasks) or spec.rows)
    if spec.port == "table":
        known, wide = spec.rows or None, spec.width or None  # 0 = as many as the entity has
        return (known, None) if spec.neighbours else (known, *(() if spec.index else (wide,)))
    return {"fields": (rows, spec.fields, *last), "vector": (rows, *last), "sequence": (rows, None, *last), "loss": ()}[spec.port]


def _demand_finite(module: torch.nn.Module, values: Sequence[Any], where: str) -> None:
    floats = [t.requires_grad_() for value in values for t in tensors_of(value) if t.is_floating_point()]
    outputs = [t for t in tensors_of(run(module, values, where)) if t.is_floating_point()]
    demand(all(torch.isfinite(t).all() for t in outputs), f"the output is not finite for {where}")
    learned = [*floats, *(p for p in module.parameters() if p.requires_grad)]
    if outputs and learned and outputs[0].requires_grad:
        grads = torch.autograd.grad(sum(t.sum() for t in outputs), learned, allow_unused=True)  # type: ignore[arg-type]
        demand(all(g is None or torch.isfinite(g).all() for g in grads), f"a gradient is not finite for {where}")


def _scaled(value: Any, scale: float) -> Any:
    if isinstance(value, tuple):
        return (_scaled(value[0], scale), value[1])
    return value * scale if value.is_floating_point() else value


def _real(value: Any) -> list[torch.Tensor]:
    """Return the tensors of a value, padded steps of a sequence dropped."""
    if isinstance(value, tuple) and value[1].dtype == torch.bool:
        return [value[0][value[1]], value[1].sum(1)]
    return tensors_of(value)


def _close(left: Sequence[torch.Tensor], right: Sequence[torch.Tensor]) -> bool:
    def same(a: torch.Tensor, b: torch.Tensor) -> bool:
        return a.shape == b.shape and (torch.allclose(a, b, rtol=1e-4, atol=1e-5) if a.is_floating_point() else torch.equal(a, b))

    return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))
