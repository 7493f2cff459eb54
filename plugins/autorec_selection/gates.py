"""`Gates`: a small network with one gate a feature, which it pays to close."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from autorec_kernel.contracts.selector import Ranking
from autorec_selection.base import SAME, FromSample, Options, percent, unlearnable
from autorec_selection.sample import Sample, Target
from autorec_selection.views import View, views_of

__all__ = ["Gates"]


class Gates(FromSample):
    """Score = log odds that the gate of a feature is open after training; 0 = as likely open as closed.

    Every feature is embedded by its bins or values and multiplied by a gate that is 0, 1 or between (the hard concrete distribution of
    Louizos, Welling and Kingma, ICLR 2018, equations 10 to 12); a factorization machine and a small network read the products. The loss
    is that of the label plus a price for each gate that is open, which falls with the number of rows and grows with the number of codes:
    a parameter has to bring its share (Akaike 1974), several times over, because the network sees the rows more than once. Worth keeping
    is what is open.
    """

    class Config(Options):
        """Options of `Gates`."""

        bins: int = Field(8, ge=2, le=64, description="Quantile bins of numbers.")
        values: int = Field(64, ge=2, le=4096, description="Most frequent values of an id that have an embedding.")
        embedding_dim: int = Field(4, ge=1, le=64, description="Width of the embeddings.")
        steps: int = Field(500, ge=1, le=100_000, description="Steps of training.")
        batch_size: int = Field(256, ge=16, le=65_536, description="Rows of a step.")
        price: float = Field(8.0, ge=0, description="Price of an open gate: this x (its codes + width) / rows.")

    def ranked(self, sample: Sample, targets: Sequence[Target], names: Sequence[str], rng: np.random.Generator) -> Ranking:
        views = [view for feature in sample.features for view in views_of(feature, sample, self.config.bins, self.config.values)]
        if not views:
            return unlearnable(names)
        opened = np.stack([self._opened(sample, views, target, rng) for target in targets]).max(0)
        present = list(dict.fromkeys(view.feature for view in views))
        odds = dict(zip(present, opened.tolist(), strict=True))
        closed = min(odds.values())
        scores = {name: float(odds.get(name, min(closed, 0.0))) for name in names}
        kept = sorted((name for name in present if odds[name] > 0), key=lambda name: (-scores[name], name))
        return Ranking(scores, {name: _told(odds.get(name)) for name in names}, tuple(kept))

    def _opened(self, sample: Sample, views: list[View], target: Target, rng: np.random.Generator) -> np.ndarray:
        from autorec_selection.gate_network import train_gates

        rows = target.known
        labels = target.values[rows].astype(np.float64)
        if target.link != "logit":
            labels = (labels - labels.mean()) / max(float(labels.std()), 1e-12)
        owner = {name: place for place, name in enumerate(dict.fromkeys(view.feature for view in views))}
        codes = np.stack([view.codes[rows] for view in views], axis=1)
        return train_gates(
            codes,
            [view.size for view in views],
            [owner[view.feature] for view in views],
            labels,
            target.link,
            rng,
            width=self.config.embedding_dim,
            steps=self.config.steps,
            batch=self.config.batch_size,
            price=self.config.price,
        )


def _told(odds: float | None) -> str:
    if odds is None:
        return SAME
    chance = 1.0 / (1.0 + np.exp(-odds))
    return f"its gate is open with a chance of {percent(chance)} after training{'' if odds > 0 else ': it does not pay its price'}"
