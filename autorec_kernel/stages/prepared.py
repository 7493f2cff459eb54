"""What an evaluator prepares for all trials of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from autorec_kernel.errors import PluginError
from autorec_kernel.registry.faults import guarded
from autorec_kernel.search.settings import SearchSettings
from autorec_kernel.search.tasks import ARTEFACTS, context_of
from autorec_kernel.space import SearchSpace

if TYPE_CHECKING:
    from autorec_kernel.features import FeatureSet
    from autorec_kernel.stages.workplace import Workplace

__all__ = ["prepared"]

_SHARED = 2_000_000_000  # trial number of what is prepared for all trials


def prepared(place: Workplace, features: FeatureSet, settings: SearchSettings, space: SearchSpace) -> dict[str, str]:
    """Return the artefacts that all trials share: made once a run, and again where their files are gone; tell its `notes`.

    Its limit of time is that of the run's first session, so that a run that goes on or is replayed makes the same.

    Raises:
        PluginError: The evaluator raised, or named a file that is not there.
    """
    known = next((record["artefacts"] for record in place.journal.records() if record["kind"] == "prepared"), None)
    folder = place.folder / ARTEFACTS
    if known is not None and all((folder / name).is_file() for name in known.values()):
        _tell_notes(place, known)
        return dict(known)
    evaluator = place.kernel.create("evaluator", settings.evaluator, **settings.options)
    timed = replace(settings, trial_seconds=place.first_share("trial") or 0.0)
    context = replace(context_of(timed.task_for(_SHARED, 0, 1.0, {}, None, None), place.kernel, features), space=space)
    found, broken = guarded(lambda: dict(evaluator.prepare(context)))
    lost = sorted(name for name in (found or {}).values() if not (folder / str(name)).is_file())
    if broken or found is None or lost:
        told = broken or f"it named files that are not there: {', '.join(map(str, lost))}"
        raise PluginError(f"evaluator {settings.evaluator!r} cannot prepare: {told}", hint="--set evaluator=ID chooses another")
    if found:
        place.same("prepared", artefacts=found)
    _tell_notes(place, found)
    return found


def _tell_notes(place: Workplace, artefacts: Mapping[str, str]) -> None:
    for line in (place.folder / ARTEFACTS / artefacts["notes"]).read_text("utf-8").splitlines() if "notes" in artefacts else ():
        place.note(line)
