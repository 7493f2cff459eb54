"""`Permutation`: how much worse boosted trees judge validation rows when one feature is shuffled."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from autorec_kernel.contracts.selector import Ranking
from autorec_kernel.features import FeatureSet
from autorec_selection.base import Options, Selector, names_of, percent, unlearnable
from autorec_selection.columns import columns_of
from autorec_selection.sample import Sample, Target, validation
from autorec_selection.shuffle import groups_of, shuffled

__all__ = ["Permutation"]

_SURE = 3.0  # standard errors above 0 that a feature worth keeping lies


class Permutation(Selector):
    """Score = (loss with the feature shuffled - loss) / loss, on validation rows (Breiman, Machine Learning 2001, section 10).

    The loss is the log loss of a 0/1 label and the squared error of a number; of several labels the highest score counts. A feature
    is worth keeping when its loss is three standard errors of the rows' differences above 0. Where the validation rows are too few, the
    last quarter of the training rows stands in for them.
    """

    class Config(Options):
        """Options of `Permutation`."""

        trees: int = Field(100, ge=1, le=5000, description="Trees of the model.")
        copies: int = Field(2, ge=1, le=100, description="Shuffled copies of each feature.")
        judged: int = Field(5_000, ge=100, le=1_000_000, description="Most validation rows that are judged.")

    def rank(self, features: FeatureSet, rng: np.random.Generator) -> Ranking:
        train, judged = validation(features, self.sample(features, rng), self.config.judged, rng)
        names = names_of(features)
        targets = [target for target in train.targets_that_vary if any(t.name == target.name for t in judged.targets_that_vary)]
        if not targets:
            return unlearnable(names)
        found = np.stack([self._rises(train, judged, target, rng) for target in targets])
        best = found[:, :, 0].argmax(0)
        scores = {name: float(found[best[i], i, 0]) for i, name in enumerate(names)}
        reasons = {
            name: _told(float(found[best[i], i, 0]), float(found[best[i], i, 1]), targets[best[i]].link) for i, name in enumerate(names)
        }
        sure = np.any(found[:, :, 0] > _SURE * found[:, :, 1], axis=0)
        kept = sorted((name for name, one in zip(names, sure.tolist(), strict=True) if one), key=lambda name: (-scores[name], name))
        return Ranking(scores, reasons, tuple(kept))

    def _rises(self, train: Sample, judged: Sample, target: Target, rng: np.random.Generator) -> np.ndarray:
        """Return float64 [F, 2]: relative rise of the loss, and its standard error."""
        from autorec_selection.boosting import boosted, gains, predicted

        train, judged = train.take(target.known), judged.take(next(t for t in judged.targets if t.name == target.name).known)
        labels, truth = (next(t.values for t in one.targets if t.name == target.name) for one in (train, judged))
        columns = columns_of(train, judged, labels, rng)
        trees = boosted(columns.train, labels, target.link, columns.categorical, rng, rounds=self.config.trees)
        used = gains(trees, columns.owner, len(train.features)) > 0
        base = _losses(truth, predicted(trees, columns.judged), target.link)
        found = np.zeros((len(train.features), 2))
        for place, feature in enumerate(train.features):
            if not used[place]:
                continue
            own, rise = np.flatnonzero(columns.owner == place), np.zeros(judged.rows)
            for _ in range(self.config.copies):
                moved = columns.judged.copy()
                moved[:, own] = moved[shuffled(groups_of(feature, judged), judged.rows, rng)][:, own]
                rise += (_losses(truth, predicted(trees, moved), target.link) - base) / self.config.copies
            found[place] = rise.mean(), rise.std() / np.sqrt(len(rise))
        return found / max(float(base.mean()), 1e-12)


def _losses(truth: np.ndarray, found: np.ndarray, link: str) -> np.ndarray:
    if link != "logit":
        return np.asarray((truth - found) ** 2)
    sure = np.clip(found, 1e-7, 1 - 1e-7)
    return np.asarray(-np.where(truth > 0.5, np.log(sure), np.log(1 - sure)))


def _told(rise: float, error: float, link: str) -> str:
    loss = "log loss" if link == "logit" else "squared error"
    if rise == 0 and error == 0:
        return f"no tree splits on it: shuffled, the {loss} on validation rows stays as it is"
    word = "rises" if rise > 0 else "falls"
    return f"shuffled, the {loss} of boosted trees on validation rows {word} by {percent(abs(rise))} (standard error {percent(error)})"
