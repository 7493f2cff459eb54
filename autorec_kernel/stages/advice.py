"""Advice: what an adviser among the strategies makes of the search before it, for what the recipe leaves open."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import TYPE_CHECKING, Any

from autorec_kernel.config import parse_config
from autorec_kernel.contracts.search import ADVISED, Advice, SearchProfile
from autorec_kernel.errors import AutoRecError, ContractError
from autorec_kernel.recipe import Recipe
from autorec_kernel.registry.faults import guarded
from autorec_kernel.stages.search import evaluator_of, predicted_seconds, space_of, workers_of

if TYPE_CHECKING:
    from autorec_kernel.features import FeatureSet
    from autorec_kernel.stages.workplace import Workplace

__all__ = ["advised"]


def advised(place: Workplace, features: FeatureSet) -> Recipe:
    """Return the recipe with what an adviser fills in; the recipe itself where another strategy was named or nobody advises.

    What was advised once is in the journal, and holds for whoever goes on with the run. An adviser that fails, or names what the
    recipe cannot hold, is left out and said.
    """
    records = place.journal.records()
    known = next((record for record in records if record["kind"] == "advice"), None)
    if known is None and any(record["kind"] == "batch" for record in records):
        return place.recipe  # the search began without
    if known is None:
        found = _asked(place, features)
        if found is None:
            return place.recipe
        known = place.journal.append("advice", changes=dict(found.changes), reason=found.reason)
    if not known["changes"]:
        return place.recipe
    place.note(known["reason"])
    return with_advice(place.recipe, known["changes"])


def with_advice(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """Return the recipe with advised keys.

    Raises:
        ContractError: A key is not for an adviser to fill in.
        UsageError: A value is none of its key's.
    """
    strange = sorted(set(changes) - set(ADVISED))
    if strange:
        raise ContractError(f"an adviser may fill in {', '.join(ADVISED)}, not {', '.join(strange)}")
    return parse_config(Recipe, {**recipe.model_dump(), **changes}, where="advice")


def _asked(place: Workplace, features: FeatureSet) -> Advice | None:
    """Return the advice of the first usable adviser on what the recipe does not say, empty where it failed; None without one."""
    recipe, kernel = place.recipe, place.kernel
    rows = [row.id for row in kernel.components("search-strategy") if row.usable and "adviser" in row.tags]
    named = recipe.strategy if recipe.strategy == "auto" else kernel.find("search-strategy", recipe.strategy).id
    name = named if named in rows else rows[0] if rows and named == "auto" and not recipe.strategy_options else None
    if name is None:
        return None
    advice, broken = guarded(lambda: kernel.create("search-strategy", name, **recipe.strategy_options).advise(_profile(place, features)))
    if broken or not isinstance(advice, Advice):
        return _none(place, f"{name} gave no advice: {broken or 'it returned none'}")
    fixed = recipe.model_fields_set - {"strategy", "strategy_options"}  # which name the adviser, or nothing
    said = {key: value for key, value in {"strategy_options": {}, **advice.changes}.items() if key not in fixed}
    try:
        with_advice(recipe, said)
    except AutoRecError as error:
        return _none(place, f"{name} gave advice that cannot be followed: {error.message}")
    return Advice(said, f"{name}: {advice.reason}")


def _none(place: Workplace, why: str) -> Advice:
    """Return advice of nothing: nobody is asked again in a later session either."""
    place.note(why)
    return Advice({}, why)


def _profile(place: Workplace, features: FeatureSet) -> SearchProfile:
    recipe, schema = place.recipe, features.schema
    fitting, space = space_of(place.kernel, recipe, schema)
    starts = [space.canonical({"pipeline": offer.role, offer.role: offer.id}) for offer in fitting if not offer.reason and offer.trained]
    seconds = [predicted_seconds(genotype, place, features) for genotype in starts]
    return SearchProfile(
        task=recipe.task,
        space=space,
        evaluator=evaluator_of(place.kernel, recipe),
        options=recipe.evaluator_options,
        rows=len(features.rows("train")),
        users=schema.users,
        items=schema.items,
        objectives=max(1, len(recipe.objectives)),
        trials=recipe.trials,
        seconds=place.share("search"),
        workers=workers_of(place),
        candidate_seconds=median(seconds) if seconds else 0.0,
        strategies=tuple(row.id for row in place.kernel.components("search-strategy") if row.usable),
        evaluators=tuple(row.id for row in place.kernel.components("evaluator") if row.usable),
    )
