"""Contract of feature selectors: rank the features of a set by their worth, with reasons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

import numpy as np

from autorec_kernel.config import ComponentConfig

if TYPE_CHECKING:
    from autorec_kernel.features import FeatureSet

__all__ = ["FeatureSelector", "Ranking"]


@dataclass(frozen=True, slots=True)
class Ranking:
    """The worth of every feature: name -> score (higher is better, finite), name -> one line that says why.

    Args:
        kept: The features worth keeping, best first; None = the selector ranks and has no opinion on where to cut.
    """

    scores: Mapping[str, float]
    reasons: Mapping[str, str]
    kept: tuple[str, ...] | None = None

    def order(self) -> tuple[str, ...]:
        """Return all features, best first; equal scores in order of name."""
        return tuple(sorted(self.scores, key=lambda name: (-self.scores[name], name)))


@runtime_checkable
class FeatureSelector(Protocol):
    """A way to order features by their worth. Law: a function of the training and validation rows and `rng` only.

    A selector may also have `curve(features, names, rng, seconds)`, which returns rows `{"features": k, "metric": …, "value": …}`: what a
    quick model reaches on the validation rows with the first k of `names`, as far as the seconds last.
    """

    Config: ClassVar[type[ComponentConfig]]

    def rank(self, features: FeatureSet, rng: np.random.Generator) -> Ranking:
        """Score every feature of the set once."""
        ...
