"""The process around a component: global random states and clocks, which no component may read or change."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from autorec_kernel.testing.snapshots import digest
from autorec_kernel.testing.violation import demand

__all__ = ["another_world", "globals_kept"]

_CLOCKS = ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns")


@contextmanager
def globals_kept(what: str, *, builds_modules: bool = False) -> Iterator[None]:
    """Demand that the global random states are the same after the block.

    Args:
        what: Who is judged, for the message.
        builds_modules: Leave torch's generator out, from which every new layer draws its first weights.

    Raises:
        Violation: `what` used or seeded `random`, `numpy.random` or torch's global generator.
    """
    before = _states()
    yield
    after = _states()
    changed = [name for name, state in before.items() if after.get(name) != state and not (builds_modules and name == "torch")]
    demand(not changed, f"{what} used or seeded the process-wide random state of {', '.join(changed)}: draw from the rng it is given")


@contextmanager
def another_world(seed: int) -> Iterator[None]:
    """Run a block with other global seeds and clocks `seed` hours later; everything is put back afterwards."""
    torch = sys.modules.get("torch")
    kept = (random.getstate(), np.random.get_state(), torch.get_rng_state() if torch else None)
    clocks = {name: getattr(time, name) for name in _CLOCKS}
    random.seed(seed)
    np.random.seed(seed)
    if torch:
        torch.manual_seed(seed)
    try:
        for name, clock in clocks.items():
            setattr(time, name, _shifted(clock, seed * 3600 * (10**9 if name.endswith("_ns") else 1)))
        yield
    finally:
        for name, clock in clocks.items():
            setattr(time, name, clock)
        random.setstate(kept[0])
        np.random.set_state(kept[1])
        if torch and kept[2] is not None:
            torch.set_rng_state(kept[2])


def _shifted(clock: Any, offset: int) -> Any:
    return lambda: clock() + offset


def _states() -> dict[str, str]:
    torch = sys.modules.get("torch")
    states = {"random": digest(random.getstate()), "numpy.random": digest(list(np.random.get_state()))}
    return {**states, "torch": digest(torch.get_rng_state())} if torch else states
