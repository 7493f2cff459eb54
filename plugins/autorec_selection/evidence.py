"""Tests of features against the label: each reading alone, and in pairs, both measured by what shuffled copies reach."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autorec_kernel.records.features import Feature
from autorec_selection.contingency import classes_of, entropy_of, g_statistic, one_hot, pair_statistics, tail
from autorec_selection.sample import Sample, Target
from autorec_selection.shuffle import groups_of, shuffled
from autorec_selection.views import View, views_of

__all__ = ["Alone", "Together", "alone", "together"]

_COPIES = 5  # shuffled copies that measure chance
_PAIRED = 400  # readings that are paired at most: the strongest alone
_PRODUCTS = 4e10  # multiplications of one pass over all pairs


@dataclass(frozen=True, slots=True)
class Alone:
    """What the strongest reading of a feature tells about a label by itself.

    Args:
        what: The reading.
        share: Information beyond chance over the entropy of the label; below 0 = less than shuffled copies have.
        nats, chance: Information as counted, and its mean in shuffled copies.
        evidence: -log10 of the chance of it, already multiplied by the number of readings of the feature.
    """

    what: str
    share: float
    nats: float
    chance: float
    evidence: float


@dataclass(frozen=True, slots=True)
class Together:
    """The strongest pair that a feature is in.

    Args:
        partner: The other feature.
        nats: What both tell beyond what each tells, less chance.
        evidence: -log10 of the chance of it, for this pair alone.
        pairs: Number of pairs that were looked at.
    """

    partner: str
    nats: float
    evidence: float
    pairs: int


def alone(sample: Sample, target: Target, rng: np.random.Generator, *, bins: int, values: int) -> Mapping[str, Alone]:
    """Return feature → what it tells by itself; features that are the same on every row are missing."""
    rows = target.known
    known = sample.take(rows)
    labels, classes = classes_of(Target(target.name, target.link, target.values[rows]))
    entropy = max(entropy_of(labels, classes), 1e-12)
    counted = {feature: _counted(feature, known, labels, classes, rng, bins, values) for feature in known.features}
    usual = _usual(counted)
    found: dict[str, Alone] = {}
    for feature, views in counted.items():
        tested = [_tested(*view, usual[feature.depends, feature.dynamic], entropy, len(labels), len(views)) for view in views]
        if tested:
            found[feature.name] = max(tested, key=lambda one: (one.evidence, one.share))
    return found


_Counted = tuple[str, float, int, float]  # the reading, its statistic, its degrees of freedom, the mean statistic of shuffled copies


def _counted(
    feature: Feature, sample: Sample, labels: np.ndarray, classes: int, rng: np.random.Generator, bins: int, values: int
) -> list[_Counted]:
    found, groups = [], groups_of(feature, sample)
    copies = [shuffled(groups, sample.rows, rng) for _ in range(_COPIES)]
    for view in views_of(feature, sample, bins, values):
        statistic, freedom = g_statistic(view.codes, view.size, labels, classes)
        by_chance = [g_statistic(view.codes[copy], view.size, labels, classes)[0] for copy in copies]
        found.append((view.what, statistic, freedom, float(np.mean(by_chance))))
    return found


def _usual(counted: Mapping[Feature, list[_Counted]]) -> dict[tuple[str, bool], float]:
    """Return what shuffled copies reach over their degrees of freedom, at least 1: the mean of all readings of a sort of features.

    A few copies of one reading scatter; readings that depend on the same entity are clustered alike.
    """
    found: dict[tuple[str, bool], list[float]] = {}
    for feature, views in counted.items():
        found.setdefault((feature.depends, feature.dynamic), []).extend(mean / freedom for _, _, freedom, mean in views)
    return {sort: max(float(np.mean(ratios)), 1.0) if ratios else 1.0 for sort, ratios in found.items()}


def _tested(what: str, statistic: float, freedom: int, mean: float, usual: float, entropy: float, rows: int, among: int) -> Alone:
    evidence = float(tail(statistic, freedom, max(mean / freedom, usual))) - float(np.log10(among))
    return Alone(what, (statistic - mean) / (2.0 * rows) / entropy, statistic / (2.0 * rows), mean / (2.0 * rows), max(evidence, 0.0))


def together(
    sample: Sample, target: Target, rng: np.random.Generator, *, bins: int = 4, first: Sequence[str] = ()
) -> Mapping[str, Together]:
    """Return feature → its strongest pair.

    Args:
        bins: Codes of a reading; few, so that pairs fill their tables.
        first: Features in the order in which they are paired, where there are too many.
    """
    rows = target.known
    known = sample.take(rows)
    labels, classes = classes_of(Target(target.name, target.link, target.values[rows]), 3)
    views = _paired_views(known, bins, first)
    if len({view.feature for view in views}) < 2:
        return {}
    some = _affordable(views, len(labels), rng)
    labels = labels[some]
    real, starts = one_hot(views, some)
    statistic = pair_statistics(real, real, starts, labels, classes)
    sizes = np.diff(starts) - 1.0
    freedom = np.outer(sizes, sizes) * (classes - 1)
    inflation = _inflation(views, known, some, (real, starts, labels, classes), freedom, rng)
    owner = np.array([list(dict.fromkeys(view.feature for view in views)).index(view.feature) for view in views])
    evidence = np.where(owner[:, None] == owner[None, :], -1.0, tail(statistic, freedom, inflation))
    best = evidence.argmax(1)
    beyond = (statistic - freedom * inflation) / (2.0 * len(labels))
    pairs = int((owner[:, None] < owner[None, :]).sum())
    return _strongest(views, best, evidence, beyond, pairs)


def _strongest(views: Sequence[View], best: np.ndarray, evidence: np.ndarray, beyond: np.ndarray, pairs: int) -> dict[str, Together]:
    found: dict[str, Together] = {}
    for number, view in enumerate(views):
        other = int(best[number])
        one = Together(views[other].feature, float(beyond[number, other]), max(float(evidence[number, other]), 0.0), pairs)
        if view.feature not in found or one.evidence > found[view.feature].evidence:
            found[view.feature] = one
    return found


def _paired_views(sample: Sample, bins: int, first: Sequence[str]) -> list[View]:
    place = {name: number for number, name in enumerate(first)}
    order: Iterator[Feature] = iter(sorted(sample.features, key=lambda feature: place.get(feature.name, len(place))))
    found: list[View] = []
    for feature in order:
        views = views_of(feature, sample, bins, bins)
        if len(found) + len(views) > _PAIRED:
            break
        found += views
    return found


def _affordable(views: Sequence[View], rows: int, rng: np.random.Generator) -> np.ndarray:
    most = max(int(_PRODUCTS / max(sum(view.size for view in views), 1) ** 2), 2000)
    return np.arange(rows) if rows <= most else np.sort(rng.choice(rows, most, replace=False))


def _inflation(
    views: Sequence[View],
    sample: Sample,
    some: np.ndarray,
    counted: tuple[np.ndarray, np.ndarray, np.ndarray, int],
    freedom: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return float64 [V, V], the statistic of pairs with a shuffled partner over its degrees of freedom, at least 1.

    One shuffled copy of all readings is paired with the real ones. Single pairs scatter: a reading has one factor of its own, the mean
    of its pairs, and its partner another, so that two readings of users are as uncertain as the users are few.
    """
    real, starts, labels, classes = counted
    made: dict[str, np.ndarray] = {}
    for feature in sample.features:
        made[feature.name] = shuffled(groups_of(feature, sample), sample.rows, rng)
    copies = [View(view.feature, view.what, view.codes[made[view.feature]], view.size) for view in views]
    ratio = pair_statistics(real, one_hot(copies, some)[0], starts, labels, classes) / np.maximum(freedom, 1.0)
    both = np.outer(ratio.mean(1), ratio.mean(0)) / max(float(ratio.mean()), 1e-12)
    return np.asarray(np.maximum(np.maximum(both, both.T), 1.0))
