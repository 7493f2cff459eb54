"""Blocks built on the example inputs, the way the network builder builds them (torch)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from autorec_kernel.records.architecture import TensorSpec
from autorec_kernel.records.interactions import Interactions
from autorec_kernel.testing.block_inputs import ITEMS, USERS, combinations, values_for
from autorec_kernel.testing.violation import Violation, demand, violated

__all__ = ["SIZES", "Case", "build", "cases", "example_interactions", "run", "solved", "tensors_of"]

SIZES = ((1, 5), (2, 1), (17, 12))  # (rows, steps)

Case = tuple[Any, tuple[TensorSpec, ...]]


def cases(component: Any, config: Any) -> Iterator[Case]:
    """Yield (block, input specs) for the ways the block's ports can be filled.

    Patterns of numbers and row indices are tried in turn; the first on which the block works at all is the one it is judged by.

    Raises:
        Violation: The block works on no input that it accepts.
    """
    block = component(config)
    first: Violation | None = None
    for accepted in combinations(block):
        try:
            run(build(block, accepted[0]), values_for(accepted[0], 5, 4, seed=0, full=True), "a plain batch")
        except Violation as violation:
            first = first or violation
        else:
            yield from ((block, specs) for specs in accepted)
            return
    if first is not None:
        raise first


def example_interactions() -> Interactions:
    """Return 5 users with 2 to 6 of 8 items each, with a repeated one; row 0 of both axes is empty."""
    rows = [[], [1, 2, 3], [2, 3, 4, 5, 1, 2], [5, 6], [7, 8, 6, 5], [1, 8]]
    items = np.array([item for row in rows for item in row], dtype=np.int32)
    offsets = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    values = np.linspace(1, 5, len(items)).astype(np.float32)
    return Interactions(offsets, items, values, USERS, ITEMS, True)


def solved(block: Any, specs: Sequence[TensorSpec], seed: int = 0) -> Mapping[str, np.ndarray]:
    """Return what the block's closed form yields on the example interactions; empty for a block without one."""
    if not hasattr(block, "solve"):
        return {}
    available = {"interactions": example_interactions()}
    unknown = [name for name in block.arrays if name not in available]
    demand(not unknown, f"arrays names {unknown}; the kernel offers {sorted(available)}")
    return block.solve(specs, {name: available[name] for name in block.arrays}, np.random.default_rng(seed))  # type: ignore[no-any-return]


def build(block: Any, specs: Sequence[TensorSpec], seed: int = 0, arrays: Mapping[str, np.ndarray] | None = None) -> torch.nn.Module:
    """Return the block's module with initial weights of `seed`."""
    given = solved(block, specs) if arrays is None else arrays
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = block.build(specs, given)
    except Exception as error:
        violated(f"build failed on inputs that `output` accepts: {type(error).__name__}: {error}")
    if not isinstance(module, torch.nn.Module):
        violated(f"build returned {type(module).__name__}, expected a torch.nn.Module")
    return module


def run(module: torch.nn.Module, values: Sequence[Any], what: str) -> Any:
    """Call the module; an exception becomes a violation that names the input."""
    try:
        return module(*values)
    except Exception as error:
        shapes = [tuple(part.shape) for value in values for part in (value if isinstance(value, tuple) else (value,))]
        violated(f"the module failed on {what}, inputs {shapes}, which `output` accepts: {type(error).__name__}: {error}")


def tensors_of(value: Any) -> list[torch.Tensor]:
    """Return the tensors of one port value."""
    return [part for part in value if isinstance(part, torch.Tensor)] if isinstance(value, tuple) else [value]
