"""The one fit loop: every network that learns by gradient is trained here, early stopped on its validation metric."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from autorec_kernel.models.batching import BatchSource, batches_for
from autorec_kernel.models.optimisers import OptimiserKind
from autorec_kernel.models.pages import kept_pages
from autorec_kernel.models.prefetch import delivered
from autorec_kernel.models.products import quick_products
from autorec_kernel.models.schedules import Schedule, ScheduleKind
from autorec_kernel.models.sparse import sparse_lookups
from autorec_kernel.models.stepping import NotFiniteError, Stepper

if TYPE_CHECKING:
    from autorec_kernel.features import FeatureSet
    from autorec_kernel.models.network import Network

__all__ = ["FitReport", "FitSettings", "NotFiniteError", "fit"]

Validate = Callable[["Network"], float]


@dataclass(frozen=True, slots=True)
class FitSettings:
    """How to train.

    Args:
        epochs: Upper bound on passes over the training rows.
        patience: Epochs without progress of the validation metric before training stops; 0 = never stop early. With the schedule
            `plateau` they count from the first reduction of the rate after the last progress.
        clip_norm: Largest gradient norm; 0 = unbounded.
        id_dropout: Share of user and item ids hidden from a ranker in each batch.
        min_delta: How much better a validation value has to be to count as progress; the best weights are those of the best value.
        optimiser: Rule of the dense parameters; adagrad moves embedding tables with one accumulator a row.
        sparse: Whether embedding tables get sparse gradients and row-wise steps; auto = where the tables are so large that it pays.
        schedule: How the learning rate changes over `horizon` epochs (0 = `epochs`), after a linear rise over `warmup` of the steps.
        factors: Factors that an earlier training's plateaus gave its epochs, to be followed again.
        precision: auto = bfloat16 on a CUDA device that has it, float32 elsewhere.
        num_workers: Threads that build batches ahead; -1 = one for a CUDA device, none for the CPU. They change no batch.
        pin_memory: Whether batches for a CUDA device pass through page-locked memory.
    """

    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    batch_size: int = 1024
    epochs: int = 20
    patience: int = 3
    clip_norm: float = 5.0
    id_dropout: float = 0.0
    min_delta: float = 0.0
    optimiser: OptimiserKind = "adamw"
    sparse: Literal["auto", "on", "off"] = "auto"
    schedule: ScheduleKind = "none"
    warmup: float = 0.0
    horizon: int = 0
    plateau_patience: int = 5
    plateau_factor: float = 0.5
    factors: tuple[float, ...] = ()
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    num_workers: int = -1
    pin_memory: bool = False


@dataclass(slots=True)
class FitReport:
    """What happened: one entry an epoch; the network holds the weights of `best_epoch` (from 1).

    Attributes:
        rates: Learning rate of each epoch's last step.
        factors: What plateaus have multiplied each epoch's learning rate by.
        tables: Widths of the embedding tables that were trained row by row.
    """

    losses: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    factors: list[float] = field(default_factory=list)
    best_epoch: int = 0
    best_value: float = -math.inf
    stopped_by: str = "epochs"
    seconds: float = 0.0
    tables: tuple[int, ...] = ()


def fit(
    network: Network,
    features: FeatureSet,
    settings: FitSettings,
    *,
    seed: np.random.SeedSequence,
    validate: Validate | None,
    device: str = "cpu",
    deadline: float | None = None,
    progress: Callable[[FitReport], None] | None = None,
) -> FitReport:
    """Train in place and restore the best weights.

    Args:
        validate: Returns a value to maximise after each epoch; None trains all epochs and keeps the last weights.
        deadline: Monotonic seconds after which training stops at the next batch.
        progress: Called after each epoch with the report so far.

    Raises:
        NotFiniteError: The loss or its gradient is NaN or infinite.
    """
    started, report, best = time.monotonic(), FitReport(), None
    order_seed, torch_seed = seed.spawn(2)
    network.to(device)
    batches = batches_for(network, features, settings.batch_size, "cpu", settings.id_dropout)
    schedule = _schedule(settings, len(batches))
    rowwise = sparse_lookups(network, settings.batch_size, settings.sparse)
    with kept_pages(), rowwise as tables, quick_products(network), _seeded(torch_seed, device):
        report.tables = tuple(table.weight.shape[1] for table in tables)
        loop = _Loop(Stepper(network, settings, tables, device), batches, schedule, settings, np.random.default_rng(order_seed), deadline)
        for epoch in range(1, settings.epochs + 1):
            loss, in_time = loop.epoch(epoch)
            value = _judge(network, validate, float(epoch))
            _write(report, loss, value, loop.rate, schedule)
            if validate is not None:
                schedule.judged(value)
            if report.best_epoch == 0 or value > report.best_value:
                report.best_value, report.best_epoch = value, epoch
                best = _snapshot(network) if validate is not None else None
            if progress is not None:
                progress(report)
            if not in_time or (settings.patience and schedule.idle >= settings.patience):
                report.stopped_by = "patience" if in_time else "deadline"
                break
    if best is not None:
        network.load_state_dict(best)
    network.settle()
    network.to("cpu").eval()
    report.seconds = time.monotonic() - started
    return report


@dataclass(slots=True)
class _Loop:
    """One training's epochs, one after the other."""

    stepper: Stepper
    batches: BatchSource
    schedule: Schedule
    settings: FitSettings
    rng: np.random.Generator
    deadline: float | None
    steps: int = 0
    rate: float = 0.0

    def epoch(self, number: int) -> tuple[float, bool]:
        """Return the mean loss of an epoch, and whether it ended in time."""
        stepper, in_time = self.stepper, True
        stepper.begin()
        for batch in delivered(self.batches, self.rng, stepper.device, self.settings.num_workers, pin=self.settings.pin_memory):
            self.rate = self.schedule.rate(self.steps, number)
            stepper.step(batch, self.rate)
            self.steps += 1
            if self.deadline is not None and time.monotonic() > self.deadline:
                in_time = False
                break
        return stepper.end(), in_time


def _schedule(settings: FitSettings, steps: int) -> Schedule:
    return Schedule(
        settings.schedule,
        settings.learning_rate,
        max(1, steps * (settings.horizon or settings.epochs)),
        settings.warmup,
        settings.plateau_patience,
        settings.plateau_factor,
        settings.min_delta,
        settings.factors,
    )


def _write(report: FitReport, loss: float, value: float, rate: float, schedule: Schedule) -> None:
    report.losses.append(loss)
    report.values.append(value)
    report.rates.append(rate)
    report.factors.append(schedule.factor_of(len(report.losses)))


@contextmanager
def _seeded(seed: np.random.SeedSequence, device: str) -> Iterator[None]:
    """Seed the generators that training draws from, and no others, for a while."""
    cuda = device.startswith("cuda")
    with torch.random.fork_rng(devices=[device] if cuda else []):
        number = int(seed.generate_state(1)[0])
        torch.default_generator.manual_seed(number)
        if cuda:
            torch.cuda.manual_seed(number)
        yield


def _judge(network: Network, validate: Validate | None, default: float) -> float:
    if validate is None:
        return default
    network.eval()
    device = next(network.parameters()).device
    network.settle()
    with torch.no_grad():
        value = validate(network.to("cpu"))
    network.to(device)
    return value


def _snapshot(network: Network) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in network.state_dict().items()}
