"""From registered plugins to the tables that a kernel answers from: extension points first, then components kind by kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from autorec_kernel.registry.availability import install_command, missing
from autorec_kernel.registry.discovery import Found
from autorec_kernel.registry.faults import guarded
from autorec_kernel.registry.hooks import KERNEL_HOOKS, Hooks
from autorec_kernel.registry.points import KERNEL_POINTS
from autorec_kernel.registry.rows import ComponentRow, PluginRow
from autorec_kernel.registry.spec import ComponentSpec, ExtensionPoint

__all__ = ["Registry", "assemble"]


@dataclass(frozen=True, slots=True)
class Registry:
    """Everything that is known of the plugins of one kernel; nothing in it changes after it is built."""

    hooks: Hooks
    plugins: tuple[PluginRow, ...]
    points: tuple[ExtensionPoint, ...]
    components: Mapping[str, tuple[ComponentRow, ...]]


def assemble(found: Sequence[Found]) -> Registry:
    """Register plugins and collect what they declare; what goes wrong ends up on the row of the plugin concerned."""
    hooks = Hooks({entry.row.name: entry.plugin for entry in found if entry.row.status == "ok"})
    notes = _Notes(hooks.problems)
    points = _points(hooks, notes)
    kinds = {point.hook: point.kind for point in points}
    rows = {entry.row.name: entry.row for entry in found}
    for name in sorted(rows):
        if rows[name].status == "ok" and name not in hooks.problems:
            wrong, reason = guarded(partial(hooks.check, name, kinds))
            odd, failure = guarded(partial(hooks.undecorated, name, kinds))
            notes.broken(name, *(wrong or ()), *dict.fromkeys(filter(None, (reason, failure))))
            notes.warn(name, *(odd or ()))
    components = {point.kind: _components(hooks, point, rows, notes) for point in points}
    return Registry(hooks, tuple(_finished(entry.row, notes, components) for entry in found), points, components)


class _Notes:
    """What went wrong, by plugin."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        self.reasons: dict[str, list[str]] = {name: [reason] for name, reason in problems.items()}
        self.warnings: dict[str, list[str]] = {}

    def broken(self, plugin: str, *reasons: str) -> None:
        if reasons:
            self.reasons.setdefault(plugin, []).extend(reasons)

    def warn(self, plugin: str, *warnings: str) -> None:
        self.warnings.setdefault(plugin, []).extend(warnings)


def _points(hooks: Hooks, notes: _Notes) -> tuple[ExtensionPoint, ...]:
    """Return the kernel's rows and the plugins'; on a clash the earlier row stays, the kernel's first of all."""
    points = list(KERNEL_POINTS)
    for plugin, declared, reason in hooks.declarations("autorec_extension_points"):
        notes.broken(plugin, *([reason] if reason else []))
        for point in declared:
            if not isinstance(point, ExtensionPoint):
                notes.broken(plugin, f"autorec_extension_points returned {_what(point)}; expected ExtensionPoint")
            elif point.hook in KERNEL_HOOKS and (point.kind, point.hook) not in {(own.kind, own.hook) for own in KERNEL_POINTS}:
                notes.broken(plugin, f"its extension point {point.kind!r} takes over {point.hook!r}, the kernel's own; name another hook")
            elif any(point.kind == other.kind or point.hook == other.hook for other in points):
                notes.warn(plugin, f"its extension point {point.kind!r} ({point.hook}) is already there and is ignored")
            else:
                points.append(point)
    return tuple(points)


def _components(hooks: Hooks, point: ExtensionPoint, rows: Mapping[str, PluginRow], notes: _Notes) -> tuple[ComponentRow, ...]:
    collected: dict[str, ComponentRow] = {}
    for plugin, declared, reason in hooks.declarations(point.hook):
        notes.broken(plugin, *([reason] if reason else []))
        for spec in declared:
            if not isinstance(spec, ComponentSpec):
                notes.broken(plugin, f"{point.hook} returned {_what(spec)}; expected ComponentSpec")
                continue
            row = _row(spec, point.kind, rows[plugin])
            if row.id in collected:
                notes.broken(plugin, f"{point.hook} declares {spec.name!r} twice; the first is used")
            collected.setdefault(row.id, row)
    return tuple(collected[name] for name in sorted(collected))


def _row(spec: ComponentSpec, kind: str, plugin: PluginRow) -> ComponentRow:
    row = ComponentRow(
        id=f"{plugin.name}/{spec.name}", kind=kind, plugin=plugin.name, name=spec.name, summary=spec.summary, target=spec.target,
        requires=spec.requires, extra=spec.extra, tags=spec.tags, distribution=plugin.distribution, version=plugin.version,
    )  # fmt: skip
    absent = missing(spec.requires)
    if not absent:
        return row
    needs = " and ".join(map(repr, absent))
    reason = f"it needs {needs}, which {'is' if len(absent) == 1 else 'are'} not installed"
    return replace(row, status="unavailable", reason=reason, install=install_command(plugin.distribution, spec.extra, absent))


def _finished(row: PluginRow, notes: _Notes, components: Mapping[str, Iterable[ComponentRow]]) -> PluginRow:
    reasons, warnings = notes.reasons.get(row.name, []), notes.warnings.get(row.name, [])
    count = sum(component.plugin == row.name for rows in components.values() for component in rows)
    row = replace(row, warnings=(*row.warnings, *warnings), components=count)
    return replace(row, status="broken", reason="; ".join(reasons)) if reasons and row.status == "ok" else row


def _what(value: Any) -> str:
    return f"a {type(value).__name__}"
