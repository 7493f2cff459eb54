"""The one fit loop: every network that learns by gradient is trained here, early stopped on its validation metric."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from autorec_kernel.models.batching import BatchSource, batches_for

if TYPE_CHECKING:
    from autorec_kernel.features import FeatureSet
    from autorec_kernel.models.network import Network

__all__ = ["FitReport", "FitSettings", "NotFiniteError", "fit"]


class NotFiniteError(ArithmeticError):
    """The training loss or its gradient became NaN or infinite; the trial ends with status `nan`."""


@dataclass(frozen=True, slots=True)
class FitSettings:
    """How to train.

    Args:
        epochs: Upper bound on passes over the training rows.
        patience: Epochs without a better validation metric before training stops; 0 = never stop early.
        clip_norm: Largest gradient norm; 0 = unbounded.
        id_dropout: Share of user and item ids hidden from a ranker in each batch.
    """

    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    batch_size: int = 1024
    epochs: int = 20
    patience: int = 3
    clip_norm: float = 5.0
    id_dropout: float = 0.0


@dataclass(slots=True)
class FitReport:
    """What happened: one loss and one validation value an epoch; the network holds the weights of `best_epoch` (from 1)."""

    losses: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    best_epoch: int = 0
    best_value: float = -math.inf
    stopped_by: str = "epochs"
    seconds: float = 0.0


def fit(
    network: Network,
    features: FeatureSet,
    settings: FitSettings,
    *,
    seed: np.random.SeedSequence,
    validate: Callable[[Network], float] | None,
    device: str = "cpu",
    deadline: float | None = None,
    progress: Callable[[int, float, float], None] | None = None,
) -> FitReport:
    """Train in place and restore the best weights.

    Args:
        validate: Returns a value to maximise after each epoch; None trains all epochs and keeps the last weights.
        deadline: Monotonic seconds after which training stops at the next batch.
        progress: Called with (epoch, loss, value).

    Raises:
        NotFiniteError: The loss or its gradient is NaN or infinite.
    """
    started, report = time.monotonic(), FitReport()
    order_seed, torch_seed = seed.spawn(2)
    rng = np.random.default_rng(order_seed)
    network.to(device)
    learned = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    batches, best = batches_for(network, features, settings.batch_size, device, settings.id_dropout), None
    with torch.random.fork_rng(devices=[device] if device.startswith("cuda") else []):
        _seed(int(torch_seed.generate_state(1)[0]), device)
        for epoch in range(1, settings.epochs + 1):
            loss, in_time = _epoch(network, batches, optimizer, settings, rng, deadline)
            value = _judge(network, validate, float(epoch))
            report.losses.append(loss)
            report.values.append(value)
            if value > report.best_value:
                report.best_value, report.best_epoch = value, epoch
                best = _snapshot(network) if validate is not None else None
            if progress is not None:
                progress(epoch, loss, value)
            if not in_time or (settings.patience and epoch - report.best_epoch >= settings.patience):
                report.stopped_by = "patience" if in_time else "deadline"
                break
    if best is not None:
        network.load_state_dict(best)
    network.settle()
    network.to("cpu").eval()
    report.seconds = time.monotonic() - started
    return report


def _epoch(
    network: Network,
    batches: BatchSource,
    optimizer: torch.optim.Optimizer,
    settings: FitSettings,
    rng: np.random.Generator,
    deadline: float | None,
) -> tuple[float, bool]:
    network.train()
    total, count, in_time = 0.0, 0, True
    for batch in batches.epoch(rng):
        optimizer.zero_grad(set_to_none=True)
        loss = network.loss(batch)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise NotFiniteError(f"the training loss became {value} after {count} batches; a smaller learning rate may help")
        loss.backward()  # type: ignore[no-untyped-call]
        network.note_met()
        norm = float(torch.nn.utils.clip_grad_norm_(network.parameters(), settings.clip_norm or math.inf))
        if not math.isfinite(norm):
            raise NotFiniteError(f"the gradient became {norm} after {count} batches; a smaller learning rate may help")
        optimizer.step()
        total, count = total + value, count + 1
        if deadline is not None and time.monotonic() > deadline:
            in_time = False
            break
    return total / max(1, count), in_time


def _seed(seed: int, device: str) -> None:
    """Seed the generators that training draws from, and no others."""
    torch.default_generator.manual_seed(seed)
    if device.startswith("cuda"):
        torch.cuda.manual_seed(seed)


def _judge(network: Network, validate: Callable[[Network], float] | None, default: float) -> float:
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
