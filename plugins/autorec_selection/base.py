"""What the selectors share: options, the curve of a quick model over the ranking, and rankings of sets that have nothing to learn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.selector import Ranking
from autorec_kernel.features import FeatureSet
from autorec_selection.sample import Sample, Target, draw

__all__ = ["FromSample", "Options", "Selector", "names_of", "percent", "unlearnable"]

NOTHING = "nothing to rank by: the label is the same on every row that was looked at"
SAME = "has the same value on every row that was looked at"


class Options(ComponentConfig):
    """Options of every selector."""

    rows: int = Field(50_000, ge=100, le=1_000_000, description="Most training rows that are looked at.")


class Selector:
    """Draws the sample, and judges a ranking by quick models."""

    def __init__(self, config: Any) -> None:
        self.config = config

    def curve(self, features: FeatureSet, names: Sequence[str], rng: np.random.Generator, seconds: float) -> list[dict[str, Any]]:
        """Return what boosted trees (a linear model without LightGBM) reach on validation rows with the first 1, 2, 4, … of `names`."""
        from autorec_selection.curve import curve_of

        return curve_of(features, names, rng, seconds, self.config.rows)

    def sample(self, features: FeatureSet, rng: np.random.Generator) -> Sample:
        """Return the training rows that are looked at."""
        return draw(features, "train", self.config.rows, rng)


class FromSample(Selector, ABC):
    """A selector that needs nothing but the sample and the labels that vary in it."""

    def rank(self, features: FeatureSet, rng: np.random.Generator) -> Ranking:
        """Score every feature of the set; all alike where no label varies on the rows that are looked at."""
        sample, names = self.sample(features, rng), names_of(features)
        return self.ranked(sample, sample.targets_that_vary, names, rng) if sample.targets_that_vary else unlearnable(names)

    @abstractmethod
    def ranked(self, sample: Sample, targets: Sequence[Target], names: Sequence[str], rng: np.random.Generator) -> Ranking:
        """Score the features `names` by what the sample tells about `targets`: at least one, each with different values."""


def names_of(features: FeatureSet) -> list[str]:
    """Return the names of the features, in the order of the schema."""
    return [feature.name for feature in features.schema.features]


def unlearnable(names: Sequence[str]) -> Ranking:
    """Return the ranking of a set whose label never varies: all equal, no opinion on what to keep."""
    return Ranking(dict.fromkeys(names, 0.0), dict.fromkeys(names, NOTHING))


def percent(share: float) -> str:
    """Return a share as a percentage with three digits."""
    return f"{100 * share:.3g} %"
