"""Learning-rate schedules: the rate of each step, from the share of training that is done or from how validation goes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Schedule", "ScheduleKind"]

ScheduleKind = Literal["none", "plateau", "cosine", "linear"]


@dataclass(slots=True)
class Schedule:
    """The learning rate of every step.

    The rate rises linearly over the first `warmup` of the steps. Then it stays (`none`), falls to zero along half a cosine (Loshchilov and
    Hutter 2017, equation 5, one cycle) or a line, or is multiplied by `factor` whenever more than `patience` epochs in a row brought no
    better validation value (`plateau`).

    Args:
        base: Highest rate.
        steps: Steps that the schedule spans; later ones keep the last rate.
        warmup: Share of `steps` in [0, 1).
        threshold: How much better than the last progress a value has to be to count as progress.
        factors: Factor of each epoch, to train again as an earlier training went; replaces what validation says.
        idle: Epochs in a row without progress; with `plateau` those after the first reduction that followed the last progress, so that a
            training which is patient with them does not end on a rate that was never lowered.
    """

    kind: ScheduleKind
    base: float
    steps: int
    warmup: float = 0.0
    patience: int = 5
    factor: float = 0.5
    threshold: float = 0.0
    factors: tuple[float, ...] = ()
    reduced: float = 1.0
    idle: int = 0
    _best: float = field(default=-math.inf, repr=False)
    _bad: int = field(default=0, repr=False)
    _lowered: bool = field(default=False, repr=False)

    def rate(self, step: int, epoch: int) -> float:
        """Return the rate of a step, counted from 0 over all epochs; epochs count from 1."""
        rising = self.warmup * self.steps
        if step < rising:
            return self.base * (step + 1) / (rising + 1)
        if self.kind == "plateau":
            return self.base * self.factor_of(epoch)
        if self.kind == "none":
            return self.base
        done = min(1.0, (step - rising) / max(1.0, self.steps - rising))
        return self.base * (1.0 - done if self.kind == "linear" else 0.5 * (1.0 + math.cos(math.pi * done)))

    def factor_of(self, epoch: int) -> float:
        """Return what plateaus have multiplied the rate of an epoch (from 1) by."""
        return self.factors[min(epoch, len(self.factors)) - 1] if self.factors else self.reduced

    def judged(self, value: float) -> None:
        """Take the validation value of an epoch (more is better) into account."""
        if value > self._best + self.threshold:
            self._best, self._bad, self.idle, self._lowered = value, 0, 0, False
            return
        self._bad += 1
        if self.kind != "plateau" or self.factors or self._lowered:
            self.idle += 1
        if self.kind == "plateau" and self._bad > self.patience:
            self.reduced, self._bad, self._lowered = self.reduced * self.factor, 0, True
