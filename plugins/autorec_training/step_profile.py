"""Where the time of a training step goes: by phase, by operator, and against what the machine's matrix products allow."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain, islice, repeat
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from autorec_kernel.models.batching import BatchSource, batches_for
from autorec_kernel.models.pages import kept_pages
from autorec_kernel.models.prefetch import delivered
from autorec_kernel.models.products import derived, product, quick_products
from autorec_kernel.models.sparse import sparse_lookups
from autorec_kernel.models.stepping import Stepper
from autorec_training.flops import count_flops

if TYPE_CHECKING:
    from autorec_kernel.features import FeatureSet
    from autorec_kernel.models.batches import Batch
    from autorec_kernel.models.fit import FitSettings
    from autorec_kernel.models.network import Network

__all__ = ["PHASES", "OperatorTime", "StepProfile", "matrix_gflops", "profile_steps"]

PHASES = ("batch building", "forward", "backward", "optimiser")
_WARM = 3  # steps before the clock runs
_TRACED = 5  # steps under the profiler, which slows them down: its figures are shares, not the times of the phases; as many are counted
_SIDE = 1024  # of the square matrices that tell the speed of products


@dataclass(frozen=True, slots=True)
class OperatorTime:
    """One operator, per step: calls, its own time (µs) on the CPU and on the device, and the bytes that it allocated, net."""

    name: str
    calls: float
    cpu_us: float
    device_us: float
    bytes: float


@dataclass(frozen=True, slots=True)
class StepProfile:
    """The mean step of a short training.

    Args:
        rows: Rows (or sequences, entities, slots) a step, the mean.
        seconds: Phase → wall-clock seconds a step.
        gflop: 10⁹ floating-point operations of the matrix products that the formulas of a step name, forward and backward.
        gflops: 10⁹ such operations a second that the device reaches on large float32 matrices, by the quickest kernel of training.
        operators: By their own time, longest first.
    """

    steps: int
    rows: float
    parameters: int
    seconds: dict[str, float]
    gflop: float
    gflops: float
    operators: tuple[OperatorTime, ...]

    @property
    def step_seconds(self) -> float:
        """Return the seconds of a whole step."""
        return sum(self.seconds.values())

    @property
    def samples_per_second(self) -> float:
        """Return rows a second."""
        return self.rows / self.step_seconds

    @property
    def limit_share(self) -> float:
        """Return the share in [0, 1] of a step that its matrix products would take at full speed."""
        return self.gflop / self.gflops / self.step_seconds

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        more = {"step_seconds": self.step_seconds, "samples_per_second": self.samples_per_second, "limit_share": self.limit_share}
        return {**asdict(self), **more}


def profile_steps(
    network: Network, features: FeatureSet, settings: FitSettings, *, steps: int = 20, device: str = "cpu", seed: int = 0
) -> StepProfile:
    """Train a few steps and measure them; the network is trained on.

    Args:
        steps: Steps whose phases are timed, after a few to warm up; at most five more run under the profiler, and five are counted.

    Raises:
        NotFiniteError: The loss or its gradient is NaN or infinite.
    """
    network.to(device)
    batches = batches_for(network, features, settings.batch_size, "cpu", settings.id_dropout)
    with torch.random.fork_rng(devices=[device] if device.startswith("cuda") else []):
        torch.default_generator.manual_seed(seed)
        with kept_pages(), sparse_lookups(network, settings.batch_size, settings.sparse) as tables:
            stepper = Stepper(network, settings, tables, device)
            stepper.begin()
            feed = _forever(batches, np.random.default_rng(seed), settings, device)
            with quick_products(network):
                for _ in range(_WARM):
                    _timed(stepper, feed, settings.learning_rate)
                times, rows = zip(*(_timed(stepper, feed, settings.learning_rate) for _ in range(steps)), strict=True)
                operators = _operators(stepper, feed, settings.learning_rate, min(steps, _TRACED))
            gflop = float(np.mean(rows)) * _gflop_a_row(stepper, feed, settings.learning_rate, min(steps, _TRACED))
    parameters = sum(parameter.numel() for parameter in network.parameters())
    seconds = dict(zip(PHASES, np.mean(times, 0).tolist(), strict=True))
    return StepProfile(steps, float(np.mean(rows)), parameters, seconds, gflop, matrix_gflops(device), operators)


def matrix_gflops(device: str, repeats: int = 5) -> float:
    """Return the best speed of a float32 product of two square matrices (GFLOP/s), on as many threads as torch uses."""
    left, right = (torch.ones(_SIDE, _SIDE, device=device) for _ in range(2))
    best = float("inf")
    for _ in range(repeats):
        for times in (torch.matmul, product):
            started = _clock(device)
            times(left, right)
            best = min(best, _clock(device) - started)
    return 2 * _SIDE**3 / best / 1e9


def _forever(batches: BatchSource, rng: np.random.Generator, settings: FitSettings, device: str) -> Iterator[Batch]:
    return chain.from_iterable(delivered(source, rng, device, settings.num_workers, pin=settings.pin_memory) for source in repeat(batches))


def _timed(stepper: Stepper, feed: Iterator[Batch], rate: float) -> tuple[list[float], int]:
    """Return the seconds of each phase of one step and the rows of its batch."""
    marks = [_clock(stepper.device)]
    batch = next(feed)
    marks.append(_clock(stepper.device))
    stepper.optimiser.clear()
    with stepper.autocast:
        loss = stepper.network.loss(batch)
    marks.append(_clock(stepper.device))
    loss.backward()  # type: ignore[no-untyped-call]
    marks.append(_clock(stepper.device))
    stepper.update(rate, loss.detach())
    marks.append(_clock(stepper.device))
    return np.diff(marks).tolist(), _rows(batch)


def _rows(batch: Batch) -> int:
    return max((len(value) for value in batch.values()), default=0)


def _gflop_a_row(stepper: Stepper, feed: Iterator[Batch], rate: float, steps: int) -> float:
    """Take steps whose gradient torch derives, since code by hand may have other passes instead of products, and count these."""
    found, rows = 0, 0
    with derived():
        for batch in islice(feed, steps):
            found += count_flops(partial(stepper.step, batch, rate))
            rows += _rows(batch)
    return found / max(1, rows) / 1e9


def _operators(stepper: Stepper, feed: Iterator[Batch], rate: float, steps: int) -> tuple[OperatorTime, ...]:
    cuda = stepper.device.startswith("cuda")
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=activities, profile_memory=True) as found:
        for _ in range(steps):
            stepper.step(next(feed), rate)
    rows = []
    for row in found.key_averages():
        memory = row.self_device_memory_usage if cuda else row.self_cpu_memory_usage
        values = (row.count, row.self_cpu_time_total, row.self_device_time_total, memory)
        rows.append(OperatorTime(row.key, *(float(value) / steps for value in values)))
    return tuple(sorted(rows, key=lambda row: -(row.device_us if cuda else row.cpu_us)))


def _clock(device: str) -> float:
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter()
