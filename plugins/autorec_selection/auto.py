"""`Auto`: the default selector, which puts the cheap ways of looking at a feature together and draws the line between signal and noise."""

from __future__ import annotations

import importlib
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import Field
from scipy.stats import rankdata

from autorec_kernel.contracts.selector import Ranking
from autorec_selection.base import SAME, FromSample, Options
from autorec_selection.evidence import Alone, Together, alone, together
from autorec_selection.information import told
from autorec_selection.sample import Sample, Target

__all__ = ["Auto"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _Looks:
    """What was found about one label.

    Args:
        gain: float64 [F], gain in trees over the best shuffled copy - 1; None without LightGBM.
    """

    alone: Mapping[str, Alone]
    together: Mapping[str, Together]
    gain: np.ndarray | None


class Auto(FromSample):
    """Looks three ways: what a feature tells by itself, what it tells in a pair, and its gain in boosted trees (where LightGBM is there).

    Worth keeping is what one of the three tells from noise: a table of counts alone, or of a pair, whose chance is below `risk`, shared
    among all tables, or a gain above that of the best shuffled copy. Score = the mean of the three ranks, as shares of the number of
    features (the sum of ranks of de Borda 1781), plus 1 for what is worth keeping; of several labels the highest.
    """

    class Config(Options):
        """Options of `Auto`."""

        bins: int = Field(16, ge=2, le=256, description="Quantile bins of numbers.")
        risk: float = Field(0.01, gt=0, lt=1, description="Chance that any feature is kept by a table without information.")
        rounds: int = Field(2, ge=0, le=50, description="Models of boosted trees with fresh shuffled copies; 0 = none.")
        trees: int = Field(100, ge=1, le=5000, description="Trees of a model.")

    def ranked(self, sample: Sample, targets: Sequence[Target], names: Sequence[str], rng: np.random.Generator) -> Ranking:
        looks = [self._look(sample, target, rng) for target in targets]
        need = -math.log10(self.config.risk / (len(names) * len(targets)))
        found = [self._judged(one, names, need, len(targets)) for one in looks]
        scores = {name: max(judged[name][0] for judged in found) for name in names}
        reasons = {name: max((judged[name] for judged in found), key=lambda one: one[0])[1] for name in names}
        kept = sorted((name for name in names if scores[name] >= 1.0), key=lambda name: (-scores[name], name))
        return Ranking(scores, reasons, tuple(kept))

    def _look(self, sample: Sample, target: Target, rng: np.random.Generator) -> _Looks:
        values = int(np.clip(sample.rows // 50, 16, 1024))
        by_itself = alone(sample, target, rng, bins=self.config.bins, values=values)
        first = sorted(by_itself, key=lambda name: (-by_itself[name].evidence, name))
        return _Looks(by_itself, together(sample, target, rng, first=first), self._gain(sample, target, rng))

    def _gain(self, sample: Sample, target: Target, rng: np.random.Generator) -> np.ndarray | None:
        if not self.config.rounds or not _trees():
            return None
        from autorec_selection.tree_gain import gain_rounds

        gains = gain_rounds(sample, target, rng, self.config.rounds, self.config.trees)
        return np.asarray((gains[:, :, 0] / np.maximum(gains[:, :, 1], 1e-12)).mean(0) - 1.0)

    def _judged(self, looks: _Looks, names: Sequence[str], need: float, targets: int) -> dict[str, tuple[float, str]]:
        """Return feature → (score, reason) for one label."""
        gain = looks.gain if looks.gain is not None else np.full(len(names), -1.0)
        ways = [
            [looks.alone[name].share if name in looks.alone else -1.0 for name in names],
            [_sure(looks.together.get(name), targets) for name in names],
            *([list(np.minimum(gain, 1e6))] if looks.gain is not None else []),
        ]
        ranks = np.mean([rankdata(way) for way in ways], axis=0) / (len(names) + 1)
        found = {}
        for place, name in enumerate(names):
            one, pair = looks.alone.get(name), looks.together.get(name)
            signs = (
                one is not None and one.evidence > need,
                _sure(pair, targets) > -math.log10(self.config.risk),
                bool(gain[place] > 0),
            )
            reason = _told(one, pair, float(gain[place]) if looks.gain is not None else None, signs)
            found[name] = (float(ranks[place]) + float(any(signs)), reason)
        return found


def _sure(pair: Together | None, targets: int) -> float:
    """Return the evidence of a pair, less what the number of pairs makes up for."""
    return pair.evidence - math.log10(max(pair.pairs, 1) * targets) if pair else 0.0


def _told(one: Alone | None, pair: Together | None, gain: float | None, signs: tuple[bool, bool, bool]) -> str:
    if one is None:
        return SAME
    parts = [told(one) if signs[0] or not any(signs) else ""]
    if signs[1] and pair is not None:
        parts.append(f"with {pair.partner} it tells {pair.nats:.5f} nats that neither tells alone")
    if gain is not None and signs[2]:
        parts.append(f"gains {1 + gain:.3g} times what the best shuffled copy does in boosted trees")
    if not any(signs):
        parts.append(f"no better than noise alone{', in pairs or in trees' if gain is not None else ' or in pairs'}")
    return "; ".join(part for part in parts if part)


def _trees() -> bool:
    """Return whether LightGBM can be used; a broken installation is told in the log."""
    try:
        importlib.import_module("lightgbm")
    except ModuleNotFoundError:
        return False
    except (ImportError, OSError) as error:
        _log.warning("features are ranked without boosted trees: LightGBM cannot be imported (%s)", error)
        return False
    return True
