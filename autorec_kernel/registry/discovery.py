"""From entry points to loaded declaration modules: one by one, in a guard, a broken one becoming a row with its reason."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from autorec_kernel.registry.entrypoints import Candidate, api_refusal, candidates, normalized
from autorec_kernel.registry.faults import guarded
from autorec_kernel.registry.points import KERNEL_DISTRIBUTION
from autorec_kernel.registry.probe import Verdict
from autorec_kernel.registry.rows import PluginRow
from autorec_kernel.registry.verdicts import verdicts_of

__all__ = ["Found", "discover"]


@dataclass(frozen=True, slots=True)
class Found:
    """One plugin: its row and, where it could be loaded, what the entry point names."""

    row: PluginRow
    plugin: Any = None


def discover(blocked: Collection[str], allowed: Collection[str] | None, path: Sequence[str] | None, seconds: float) -> tuple[Found, ...]:
    """Load every installed plugin that may be loaded.

    Args:
        blocked: Plugin names, `distribution:name` or distributions that are not imported.
        allowed: If given, all others are not imported.
        path: Folders to look for distributions; None = `sys.path`.
        seconds: Wall-clock limit of one import.

    Returns:
        One entry a plugin, sorted by name and distribution.
    """
    listed = candidates(path)
    refused = {candidate: _refusal(candidate, blocked, allowed) for candidate in listed}
    standing = [candidate for candidate in listed if refused[candidate] is None]
    clashes = _clashes(standing)
    loadable = [candidate for candidate in standing if candidate not in clashes]
    verdicts = verdicts_of(loadable, seconds)
    taken = {candidate.name for candidate in loadable}
    found = []
    for candidate in listed:
        row = _row(candidate, listed, candidate in loadable, taken)
        refusal = refused[candidate] or clashes.get(candidate)
        found.append(Found(replace(row, **refusal)) if refusal else _load(candidate, row, verdicts[candidate]))
    return tuple(_with_clash_warning(entry, clashes) for entry in found)


def _refusal(candidate: Candidate, blocked: Collection[str], allowed: Collection[str] | None) -> dict[str, Any] | None:
    """Return status and reason of a plugin that is not to be imported; None when it may be."""
    if _names(candidate) & {normalized(name) for name in blocked}:
        return {"status": "blocked", "reason": "blocked by the host"}
    if allowed is not None and not _names(candidate) & {normalized(name) for name in allowed}:
        return {"status": "blocked", "reason": "not among the plugins that the host allows"}
    if candidate.problem:
        return {"status": "broken", "reason": candidate.problem}
    refusal = api_refusal(candidate.api)
    return {"status": "disabled", "reason": refusal} if refusal else None


def _names(candidate: Candidate) -> set[str]:
    return {normalized(name) for name in (candidate.name, candidate.distribution, candidate.qualified)}


def _clashes(standing: Sequence[Candidate]) -> dict[Candidate, dict[str, Any]]:
    """Return status and reason of plugins whose name several distributions claim; the kernel's own distribution keeps its names."""
    counts = Counter(candidate.name for candidate in standing)
    lost = {}
    for candidate in standing:
        own = normalized(candidate.distribution) == KERNEL_DISTRIBUTION
        rivals = [other for other in standing if other.name == candidate.name]
        if counts[candidate.name] == 1 or (own and sum(normalized(other.distribution) == KERNEL_DISTRIBUTION for other in rivals) == 1):
            continue
        claims = " and ".join(repr(other.distribution) for other in rivals)
        reason = f"the plugin name {candidate.name!r} is claimed by {claims}: block or uninstall one of them"
        lost[candidate] = {"status": "broken", "reason": reason}
    return lost


def _row(candidate: Candidate, listed: Sequence[Candidate], loadable: bool, taken: Collection[str]) -> PluginRow:
    alone = sum(other.name == candidate.name for other in listed) == 1
    name = candidate.name if loadable or (alone and candidate.name not in taken) else candidate.qualified
    notes = () if candidate.api else ("its entry point states no API version; read as [api1]",)
    return PluginRow(name, candidate.distribution, candidate.version, candidate.module, candidate.api or (1,), warnings=notes)


def _with_clash_warning(entry: Found, clashes: Mapping[Candidate, object]) -> Found:
    rivals = [other.distribution for other in clashes if other.name == entry.row.name]
    if not rivals or entry.row.status != "ok":
        return entry
    note = f"its name is also claimed by {', '.join(map(repr, rivals))}, which is not loaded"
    return replace(entry, row=replace(entry.row, warnings=(*entry.row.warnings, note)))


def _load(candidate: Candidate, row: PluginRow, verdict: Verdict) -> Found:
    notes = (*row.warnings, *(_note(effect) for effect in verdict.effects))
    if verdict.outcome in ("raises", "slow", "dies"):
        return Found(replace(row, status="broken", reason=verdict.reason, warnings=notes))
    with _undisturbed(verdict):
        plugin, reason = guarded(lambda: _imported(candidate))
    if reason:
        return Found(replace(row, status="broken", reason=reason, warnings=notes))
    return Found(replace(row, warnings=notes), plugin)


def _note(effect: str) -> str:
    return f"{effect} while it is imported"


def _imported(candidate: Candidate) -> Any:
    plugin: Any = importlib.import_module(candidate.module)
    for name in filter(None, candidate.attribute.split(".")):
        plugin = getattr(plugin, name)
    return plugin


@contextlib.contextmanager
def _undisturbed(verdict: Verdict) -> Iterator[None]:
    """Keep the host's output and working directory from an import that is known to touch them."""
    folder = os.getcwd() if "changes the working directory" in verdict.effects else ""
    try:
        with contextlib.ExitStack() as streams:
            for effect, muted in (("prints", contextlib.redirect_stdout), ("writes to stderr", contextlib.redirect_stderr)):
                if effect in verdict.effects:
                    streams.enter_context(muted(io.StringIO()))
            yield
    finally:
        if folder:
            os.chdir(folder)
