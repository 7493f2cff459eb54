"""Find a component by id or bare name; an error says what is there instead, or what to install."""

from __future__ import annotations

from collections.abc import Sequence

from autorec_kernel.errors import PluginError, UnknownNameError
from autorec_kernel.registry.collect import Registry
from autorec_kernel.registry.rows import ComponentRow

__all__ = ["INSTALL_HINT", "find", "rows_of", "usable"]

INSTALL_HINT = 'pip install "autorec-kernel[all]" brings the first-party plugins; `autorec plugins list` shows what is there'


def rows_of(registry: Registry, kind: str) -> tuple[ComponentRow, ...]:
    """Return the components of a kind, sorted by id.

    Raises:
        UnknownNameError: No extension point is called so.
    """
    if kind not in registry.components:
        raise UnknownNameError("component kind", kind, registry.components, hint=f"kinds: {', '.join(registry.components)}")
    return registry.components[kind]


def find(registry: Registry, kind: str, name: str) -> ComponentRow:
    """Return the component with this id (`plugin/name`) or unambiguous bare name, whatever its status.

    Raises:
        PluginError: Several plugins claim the bare name, its plugin is not ok, or nothing provides the kind.
        UnknownNameError: No component is called so.
    """
    rows = rows_of(registry, kind)
    found = [row for row in rows if name == row.id] or [row for row in rows if name == row.name]
    if len(found) == 1:
        return found[0]
    if found:
        ids = [row.id for row in found]
        raise PluginError(f"{_label(kind)} {name!r} is claimed by {' and '.join(ids)}", hint=f"write {' or '.join(map(repr, ids))}")
    raise _absence(registry, kind, name, rows)


def usable(row: ComponentRow) -> ComponentRow:
    """Return the row if its component can be loaded.

    Raises:
        PluginError: A package that it needs is missing; the hint is the command that brings it.
    """
    if row.usable:
        return row
    raise PluginError(f"{_label(row.kind)} {row.id!r} is {row.status}: {row.reason}", hint=row.install)


def _absence(registry: Registry, kind: str, name: str, rows: Sequence[ComponentRow]) -> PluginError | UnknownNameError:
    owner = name.partition("/")[0] if "/" in name else ""
    for plugin in registry.plugins:
        if owner and plugin.status != "ok" and owner in (plugin.name, plugin.name.partition(":")[2]):
            text = f"{_label(kind)} {name!r} cannot be used: plugin {plugin.name!r} is {plugin.status}: {plugin.reason}"
            return PluginError(text, hint=f"autorec plugins show {plugin.name}")
    if not rows:
        return PluginError(f"{_label(kind)} {name!r} cannot be used: no installed plugin provides a {_label(kind)}", hint=INSTALL_HINT)
    known = {row.id for row in rows} | {row.name for row in rows}
    return UnknownNameError(_label(kind), name, known, hint=f"autorec plugins list --kind {kind}")


def _label(kind: str) -> str:
    return kind.replace("-", " ")
