"""What a strategy can know before the first trial, and which strategy that speaks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autorec_kernel.space import Float, Floats, Gene, Int, Ints, SearchSpace, Size

__all__ = ["Decision", "Profile", "decisions"]

_NUMERIC = 0.9  # share of numeric genes from which there is hardly anything but numbers to choose
_MANY = 24  # genes active at once from which evolution beats a model that looks at each gene alone
_SHORT = 48  # trials up to which children of the first candidates are worth more than a model of so few, or than random draws
_PATIENT = 200  # trials up to which a Gaussian process is fitted again for every batch


@dataclass(frozen=True, slots=True)
class Profile:
    """A search seen from its space.

    Args:
        size: Number of points, `math.inf` with a float that can move.
        active: Most genes that can be active at once, those with one value left out.
        numeric: Share of the genes that are ints, floats or lists of them and wake no other, in [0, 1].
        objectives: How many values a trial carries.
        trials: How many trials are expected; None = unknown.
    """

    size: Size
    active: int
    numeric: float
    objectives: int
    trials: int | None

    @classmethod
    def of(cls, space: SearchSpace, objectives: int, trials: int | None) -> Profile:
        """Read the profile of a space."""
        loose = [gene for gene in space.genes if gene.domain.size > 1]
        numeric = sum(isinstance(gene.domain, (Int, Float, Ints, Floats)) and not space.children(gene.name) for gene in loose)
        active = sum(_active(space, gene) for gene in space.genes if gene.parent is None)
        return cls(space.size, active, numeric / max(1, len(loose)), objectives, trials)


@dataclass(frozen=True, slots=True)
class Decision:
    """A strategy by id, its options, and why."""

    strategy: str
    reason: str
    options: Mapping[str, Any] = field(default_factory=dict)


def decisions(profile: Profile) -> tuple[Decision, ...]:
    """Return the strategies in order of preference, the last of which needs no package.

    Each rule is measured against the others on synthetic problems (`benchmarks/strategies.py`).
    """
    if profile.trials is not None and profile.size <= profile.trials:
        return (_random(f"{profile.size} points, all of which {profile.trials} trials can try"),)
    if profile.numeric >= _NUMERIC and profile.active < _MANY:
        reason = f"{profile.numeric:.0%} of the genes are numbers"
        few = profile.trials is None or profile.trials <= _PATIENT
        return _ordered(reason, Decision("bayes/tpe", reason, {"sampler": "gp" if few else "cma"}), "evolution/evolution")
    if profile.trials is not None and profile.trials <= _SHORT:
        reason = f"{profile.trials} candidates are few: children of the first ones"
        return _ordered(reason, Decision("evolution/evolution", reason, {"startup": 4}), "bayes/tpe")
    if profile.active >= _MANY:
        reason = f"{profile.active} genes are active at once"
        return _ordered(reason, Decision("evolution/evolution", reason), "bayes/tpe")
    reason = f"options and numbers mixed, {profile.active} genes at once"
    return _ordered(reason, Decision("bayes/tpe", reason), "evolution/evolution")


def _ordered(reason: str, first: Decision, second: str) -> tuple[Decision, ...]:
    return first, Decision(second, reason), Decision("progressive/progressive", reason), _random(reason)


def _random(reason: str) -> Decision:
    return Decision("search/random", reason)


def _active(space: SearchSpace, gene: Gene) -> int:
    """Return the most genes with a choice that can be active at once in the subtree of a gene."""
    children = space.children(gene.name)
    woken = {value for child in children for value in child.when}
    below = [sum(_active(space, child) for child in children if child.wakes(value)) for value in woken]
    return int(gene.domain.size > 1) + max(below, default=0)
