"""Plans made of probes: in which order steps go together, and what they save, lose and cost together as the probes predict it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

import numpy as np

from autorec_kernel.contracts import Target
from autorec_planner.probes import Probe

__all__ = ["Draft", "drafts", "in_order"]

_MIDDLE, _FIRST = 3, 0  # place of a compressor that does not state one; exact steps come before all others
_WIDTH = 64  # drafts that are kept at a time
_MODULES = 2  # steps of one plan that may train
_NOTHING = 0.02  # share of what a step touches below which nothing is left for it
_LEAST = 5.0  # listed microseconds of any call


@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """A plan as the probes predict it.

    Args:
        loss: Share of the metric, positive = worse.
        listed: Microseconds of a call of one row and of one of the target's batch.
        shrunk: Share of the weights that module steps leave.
        left: Constant → share of it that is still float32.
    """

    steps: tuple[Probe, ...]
    bytes: float
    loss: float
    listed: tuple[float, float]
    shrunk: float = 1.0
    left: Mapping[str, float] = field(default_factory=dict)

    def excess(self, target: Target) -> float:
        """Return by which share the predicted bytes and loss are over the limits."""
        over = max(0.0, self.bytes / target.max_bytes - 1) if target.max_bytes else 0.0
        return over + max(0.0, self.loss - target.max_drop)

    def merit(self, target: Target) -> float:
        """Return what is smallest for the best plan of a target."""
        latency = float(np.sqrt(self.listed[0] * self.listed[1]))
        if target.prefer == "bytes":
            return self.bytes * latency
        return latency * float(self.bytes**0.1) * (1 + max(0.0, self.loss) / max(target.max_drop, 1e-4))


def in_order(probes: Sequence[Probe]) -> list[Probe]:
    """Return probes in the order in which their steps are applied: what works on modules, then exact rewrites, then by known rules."""
    return sorted(probes, key=_place)


def drafts(probes: Sequence[Probe], start_bytes: int, start_listed: tuple[float, float], target: Target) -> list[Draft]:
    """Return the best plans, best first, by a beam over the compressors in their order; the plan without a step is among them."""
    beam = [Draft((), float(start_bytes), 0.0, start_listed)]
    usable = [probe for probe in in_order(probes) if not probe.reason]
    for _, settings in groupby(usable, key=lambda probe: (_place(probe)[:2], probe.setting.component)):
        choices = list(settings)
        beam += [draft for state in beam for probe in choices for draft in _extended(state, probe, start_bytes)]
        beam = sorted(beam, key=lambda draft: _rank(draft, target))[:_WIDTH]
    return beam


def _rank(draft: Draft, target: Target) -> tuple[float, float, int]:
    return draft.excess(target), draft.merit(target), len(draft.steps)


def _place(probe: Probe) -> tuple[int, int, str]:
    place = (_FIRST if probe.exact else _MIDDLE) if probe.setting.place is None else probe.setting.place
    return int(probe.setting.form == "graph"), place, probe.setting.component


def _extended(draft: Draft, probe: Probe, start_bytes: int) -> Iterator[Draft]:
    """Yield the draft with one more step, if something is left for it to do."""
    module = probe.setting.form == "module"
    if any(step.setting.component == probe.setting.component for step in draft.steps):
        return
    if module and sum(step.setting.form == "module" for step in draft.steps) >= _MODULES:
        return
    total = sum(probe.touched.values())
    open_share = 1.0 if module or not total else sum(size * draft.left.get(name, 1.0) for name, size in probe.touched.items()) / total
    if open_share < _NOTHING:
        return
    weight = open_share * draft.shrunk
    saved = probe.saved * weight
    listed = tuple(max(_LEAST, was + more * weight) for was, more in zip(draft.listed, probe.dearer, strict=True))
    left = draft.left if module else {**draft.left, **{name: draft.left.get(name, 1.0) * probe.left for name in probe.touched}}
    shrunk = draft.shrunk * (1 - probe.saved / start_bytes) if module else draft.shrunk
    yield replace(
        draft,
        steps=(*draft.steps, probe),
        bytes=max(1.0, draft.bytes - saved),
        loss=draft.loss + _loss(probe),
        listed=(listed[0], listed[1]),
        shrunk=shrunk,
        left=left,
    )


def _loss(probe: Probe) -> float:
    """Return what a step loses; a gain counts where its whole interval is one."""
    assert probe.verdict is not None
    found = probe.verdict
    return -found.gain if found.gain < 0 or found.low > 0 else 0.0
