"""`MutualInformation`: how much a feature tells about the label by itself, beyond what shuffled copies of it tell."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from pydantic import Field

from autorec_kernel.contracts.selector import Ranking
from autorec_selection.base import SAME, FromSample, Options, percent
from autorec_selection.evidence import Alone, alone
from autorec_selection.sample import Sample, Target

__all__ = ["MutualInformation"]

_CERTAIN = 6.0  # -log10 of a share that nobody needs to know more exactly


class MutualInformation(FromSample):
    """Score = (I(X; Y) - mean of I over shuffled copies) / H(Y), from tables of counts (Shannon 1948); of several labels the highest.

    Numbers are cut into quantile bins, and an id keeps its frequent values. A table with many cells holds information by chance alone; how
    much is measured on copies of the feature that are shuffled by whole users or items, so that neither many values nor clustered rows
    make a feature look good. A feature is worth keeping where the chance of its table is below `risk`, shared among all features.
    """

    class Config(Options):
        """Options of `MutualInformation`."""

        bins: int = Field(16, ge=2, le=256, description="Quantile bins of numbers.")
        risk: float = Field(0.01, gt=0, lt=1, description="Chance that any feature is kept without information.")

    def ranked(self, sample: Sample, targets: Sequence[Target], names: Sequence[str], rng: np.random.Generator) -> Ranking:
        values = int(np.clip(sample.rows // 50, 16, 1024))
        found = [alone(sample, target, rng, bins=self.config.bins, values=values) for target in targets]
        best = {name: max((one[name] for one in found if name in one), key=lambda one: one.share, default=None) for name in names}
        scores = {name: one.share if one else 0.0 for name, one in best.items()}
        need = -math.log10(self.config.risk) + math.log10(len(names) * len(targets))
        kept = [name for name in names if any(name in one and one[name].evidence > need for one in found)]
        kept.sort(key=lambda name: (-scores[name], name))
        return Ranking(scores, {name: told(one) if one else SAME for name, one in best.items()}, tuple(kept))


def told(one: Alone) -> str:
    """Return what a feature tells by itself, in words with figures."""
    return (
        f"tells {percent(one.share)} of the label by its {one.what} ({one.nats:.5f} nats, shuffled {one.chance:.5f}; {_odds(one.evidence)})"
    )


def _odds(evidence: float) -> str:
    """Return in words how often chance alone gives as much, from -log10 of that share."""
    if evidence < 1:
        return "as good as chance"
    if evidence >= _CERTAIN:
        return "chance alone gives as much less than once in a million times"
    return f"chance alone gives as much about once in {round(10**evidence, -int(evidence)):,.0f} times"
