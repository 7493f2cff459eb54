"""`TreeGain`: the gain of a feature in boosted trees that see its shuffled copy too."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from autorec_kernel.contracts.selector import Ranking
from autorec_selection.base import FromSample, Options, percent
from autorec_selection.columns import columns_of
from autorec_selection.sample import Sample, Target
from autorec_selection.shuffle import groups_of, shuffled

__all__ = ["TreeGain", "gain_rounds"]

_CELLS = 5e6  # values that trees are grown on at most
_LEAVES = 127  # deep trees, whose lower splits see the columns that matter only together


class TreeGain(FromSample):
    """Score = gain over the gain of the best shuffled copy - 1, the mean over some rounds; 0 = no better than noise.

    Every round grows trees on all features and a fresh shuffled copy of each (the shadows of Boruta, Kursa and Rudnicki, Journal of
    Statistical Software 2010). A feature is worth keeping when its mean is above 0 for one label at least.
    """

    class Config(Options):
        """Options of `TreeGain`."""

        rounds: int = Field(3, ge=1, le=50, description="Models, each with fresh shuffled copies.")
        trees: int = Field(100, ge=1, le=5000, description="Trees of a model.")

    def ranked(self, sample: Sample, targets: Sequence[Target], names: Sequence[str], rng: np.random.Generator) -> Ranking:
        found = [gain_rounds(sample, target, rng, self.config.rounds, self.config.trees) for target in targets]
        over = np.stack([gains[:, :, 0] / np.maximum(gains[:, :, 1], 1e-12) - 1.0 for gains in found])
        over = np.minimum(over, 1e6)
        best = over.mean(1).argmax(0)
        scores = {name: float(over[best[i], :, i].mean()) for i, name in enumerate(names)}
        shares = {name: found[best[i]][:, i].mean(0) for i, name in enumerate(names)}
        wins = {name: int((over[best[i], :, i] > 0).sum()) for i, name in enumerate(names)}
        kept = sorted((name for i, name in enumerate(names) if over[:, :, i].mean(1).max() > 0), key=lambda n: (-scores[n], n))
        reasons = {name: _told(shares[name], wins[name], self.config.rounds) for name in names}
        return Ranking(scores, reasons, tuple(kept))


def gain_rounds(sample: Sample, target: Target, rng: np.random.Generator, rounds: int, trees: int) -> np.ndarray:
    """Return float64 [rounds, F, 2]: the share of each feature in the gain, and the highest share of a shuffled copy of that round."""
    from autorec_selection.boosting import boosted, gains

    known = sample.take(target.known)
    width = 2 * len(columns_of(known.take(np.arange(0)), known.take(np.arange(0)), np.zeros(0, np.float32), rng).owner)
    most = max(int(_CELLS / max(width, 1)), 2000)
    if known.rows > most:
        known = known.take(np.sort(rng.choice(known.rows, most, replace=False)))
    labels = next(one.values for one in known.targets if one.name == target.name)
    nobody, count = known.take(np.arange(0)), len(known.features)
    real, found = columns_of(known, nobody, labels, rng), []
    for _ in range(rounds):
        copies = columns_of(known, nobody, labels, rng, moved=lambda feature: shuffled(groups_of(feature, known), known.rows, rng))
        both = np.concatenate([real.train, copies.train], axis=1)
        owner = np.concatenate([real.owner, copies.owner + count])
        categorical = (*real.categorical, *(column + real.train.shape[1] for column in copies.categorical))
        share = gains(boosted(both, labels, target.link, categorical, rng, rounds=trees, num_leaves=_LEAVES), owner, 2 * count)
        found.append(np.stack([share[:count], np.full(count, share[count:].max(initial=0.0))], axis=1))
    return np.stack(found)


def _told(share: np.ndarray, wins: int, rounds: int) -> str:
    beaten = f"beats the best shuffled copy ({percent(share[1])}) in {wins} of {rounds} rounds"
    return f"{percent(share[0])} of the gain of boosted trees; {beaten}"
