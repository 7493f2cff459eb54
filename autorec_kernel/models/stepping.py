"""`Stepper`: one training step, with no more work around the network's own than it needs."""

from __future__ import annotations

import math
from collections.abc import Collection
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import torch

from autorec_kernel.models.optimisers import Optimiser, scale_to, total_norm

if TYPE_CHECKING:
    from autorec_kernel.models.batches import Batch
    from autorec_kernel.models.fit import FitSettings
    from autorec_kernel.models.network import Network
    from autorec_kernel.models.sources import EmbeddingStore

__all__ = ["NotFiniteError", "Stepper", "autocast"]

_LOOKS = 64  # steps between two looks at what a device has computed; the CPU is looked at every step


class NotFiniteError(ArithmeticError):
    """The training loss or its gradient became NaN or infinite; the trial ends with status `nan`."""


class Stepper:
    """The steps of one training.

    Args:
        sparse: Stores whose gradients are sparse.
        device: Where the network is.
    """

    def __init__(self, network: Network, settings: FitSettings, sparse: Collection[EmbeddingStore], device: str) -> None:
        self.network, self.device = network, device
        self.limit = settings.clip_norm or math.inf
        stores = [store.weight for store in network.embedding_stores() if store.weight.requires_grad]
        learned = [parameter for parameter in network.parameters() if parameter.requires_grad]
        tables = [store.weight for store in sparse]
        rules = {"kind": settings.optimiser, "rate": settings.learning_rate, "decay": settings.weight_decay}
        self.optimiser = Optimiser(learned, stores, tables, **rules)  # type: ignore[arg-type]
        self.autocast = autocast(settings.precision, device)
        self._waits = not device.startswith("cpu")
        self._sum: float | torch.Tensor = 0.0
        self._count = 0

    def begin(self) -> None:
        """Begin an epoch."""
        self.network.train()
        self._sum, self._count = 0.0, 0

    def step(self, batch: Batch, rate: float) -> None:
        """Learn from one batch.

        Raises:
            NotFiniteError: The loss or its gradient is NaN or infinite; on a device other than the CPU it is noticed some steps later.
        """
        self.optimiser.clear()
        with self.autocast:
            loss = self.network.loss(batch)
        value = loss.detach() if self._waits else self._finite("loss", float(loss.detach()))
        loss.backward()  # type: ignore[no-untyped-call]
        self.update(rate, value)

    def update(self, rate: float, value: float | torch.Tensor) -> None:
        """Apply the gradients of a batch whose loss was `value`."""
        gradients = self.optimiser.gather()
        self.network.note_met()
        norm = total_norm(gradients)
        if self._waits:
            value = value + 0.0 * norm  # not finite if either is
        else:
            self._finite("gradient", float(norm))
        if self.limit < math.inf:
            scale_to(gradients, norm, self.limit)
        self.optimiser.step(rate)
        self._sum, self._count = self._sum + value, self._count + 1
        if self._waits and self._count % _LOOKS == 0:
            self._finite("loss", float(self._sum))

    def end(self) -> float:
        """End an epoch and return its mean loss."""
        self.optimiser.settle()
        return self._finite("loss", float(self._sum)) / max(1, self._count)

    def _finite(self, what: str, value: float) -> float:
        if not math.isfinite(value):
            place = "training loss" if what == "loss" else "gradient"
            raise NotFiniteError(f"the {place} became {value} after {self._count} batches; a smaller learning rate may help")
        return value


def autocast(precision: str, device: str) -> AbstractContextManager[object]:
    """Return the context of a forward pass: bfloat16 on CUDA where it is asked for, or where `auto` finds it supported."""
    if not device.startswith("cuda") or precision == "float32":
        return nullcontext()
    supported = precision == "bfloat16" or torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.autocast("cuda", dtype=torch.bfloat16, enabled=supported)
