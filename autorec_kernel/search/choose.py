"""Choose the trial to serve: the best one, unless a cheaper one is as good within one paired standard error.

What is no better than the best baseline with confidence is not served: the baseline is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from autorec_kernel.evaluation import Comparison
from autorec_kernel.records.trial import Trial

__all__ = ["Choice", "choose"]

_NEAR = 0.8  # a trial counts as cheaper below this share of the best one's cost
Compare = Callable[[Trial, Trial], Comparison | None]  # first minus second on the validation rows, larger is better


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen trial and why.

    Args:
        against_baseline: The best candidate minus the best baseline on the validation rows; None when they are one, or cannot be compared.
    """

    trial: Trial
    reason: str
    against_baseline: Comparison | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        found = self.against_baseline
        return {"trial": self.trial.number, "reason": self.reason, "against_best_baseline": found.to_json() if found else None}


def choose(trials: Sequence[Trial], baselines: Sequence[int], compare: Compare) -> Choice | None:
    """Return the trial to serve; None when nothing completed.

    Args:
        baselines: Numbers of the baseline trials.
        compare: Paired comparison of two trials; None when they cannot be compared, and then the better metric wins.
    """
    complete = sorted((t for t in trials if t.status == "complete" and t.objectives), key=lambda t: (-t.value, t.number))
    if not complete:
        return None
    best = complete[0]
    ties = [trial for trial in complete[1:] if _cheaper(trial, best) and _tied(compare(best, trial))]
    found = [Choice(best, "best validation metric")]
    if ties:
        cheapest = min(ties, key=lambda trial: (trial.cost.latency_ms, trial.cost.bytes, -trial.value, trial.number))
        found.insert(0, Choice(cheapest, f"as good as trial {best.number} within one paired standard error, and cheaper to serve"))
    simple = next((trial for trial in complete if trial.number in set(baselines)), None)
    return found[0] if simple is None else _against(simple, found, set(baselines), compare)


def _against(simple: Trial, found: Sequence[Choice], baselines: set[int], compare: Compare) -> Choice:
    """Return the first choice that is a baseline itself or beats the best baseline with confidence; else that baseline."""
    comparison = None
    for choice in found:
        trial = choice.trial
        comparison = compare(trial, simple) if trial is not simple else None
        if trial.number in baselines or comparison is None or comparison.above:
            return replace(choice, against_baseline=comparison)
    return Choice(simple, f"best baseline; trial {found[-1].trial.number} is not better with confidence", comparison)


def _cheaper(trial: Trial, best: Trial) -> bool:
    return trial.cost.latency_ms < _NEAR * best.cost.latency_ms and trial.cost.bytes <= best.cost.bytes


def _tied(found: Comparison | None) -> bool:
    return found is not None and bool(np.isfinite([found.difference, found.standard_error]).all()) and found.tie
