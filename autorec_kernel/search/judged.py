"""What of a space the run's evaluator can judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from autorec_kernel.contracts.evaluator import Evaluator
from autorec_kernel.errors import AutoRecError, PluginError
from autorec_kernel.registry.faults import guarded
from autorec_kernel.search.genes import PIPELINE, Offer
from autorec_kernel.space import SearchSpace

__all__ = ["judged"]


def judged(evaluator: Evaluator, name: str, offers: Sequence[Offer], space: SearchSpace) -> tuple[tuple[Offer, ...], SearchSpace]:
    """Return the offers, those that the evaluator leaves out with that reason, and its part of the space.

    Raises:
        PluginError: The evaluator raised, or what it returned is no part of the space.
    """
    found, broken = guarded(lambda: evaluator.subspace(space))
    told = broken or _fault(found, space)
    if told or found is None:
        raise PluginError(f"evaluator {name!r} cannot say what it judges: {told}", hint="--set evaluator=ID chooses another")
    reason = f"the evaluator {name} does not judge it"
    return tuple(one if one.reason or _inside(one, found) else replace(one, reason=reason) for one in offers), found


def _inside(offer: Offer, space: SearchSpace) -> bool:
    wanted = {PIPELINE: offer.role, offer.role: offer.id}
    return all(name in space and space[name].domain.contains(value) for name, value in wanted.items())


def _fault(found: object, space: SearchSpace) -> str:
    """Return why something is no part of a space."""
    if not isinstance(found, SearchSpace):
        return f"it returned {type(found).__name__}, expected SearchSpace"
    try:
        space.check(found.default())
    except AutoRecError as error:
        return f"its default is no point of the whole space: {error}"
    return ""
