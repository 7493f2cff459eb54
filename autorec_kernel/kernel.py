"""`Kernel`: the host. It knows its plugins, loads components when they are used and calls hooks; it keeps no global state."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Collection, Mapping, Sequence
from types import ModuleType
from typing import Any, Literal, Self

from autorec_kernel.errors import AutoRecError, PluginError, UsageError
from autorec_kernel.registry.collect import Registry, assemble
from autorec_kernel.registry.discovery import Found, discover
from autorec_kernel.registry.faults import describe, guarded
from autorec_kernel.registry.loading import load_component
from autorec_kernel.registry.lookup import INSTALL_HINT, find, rows_of, usable
from autorec_kernel.registry.rows import ComponentRow, PluginRow
from autorec_kernel.registry.spec import ExtensionPoint

__all__ = ["Event", "Kernel"]

Event = Literal["stage_started", "stage_finished", "trial_finished"]
_EVENTS = ("stage_started", "stage_finished", "trial_finished")
_log = logging.getLogger(__name__)


class Kernel:
    """A set of plugins and what they provide. Several kernels with different plugins live in one process.

    Args:
        plugins: Plugin name to declaration module (or any object that carries `@hookimpl` functions). Nothing else is loaded.
        blocked: Names of `plugins` to leave out; they are listed as blocked.

    Stability: the public methods are stable for callers; the class is not meant to be subclassed.
    """

    def __init__(self, plugins: Mapping[str, Any] | None = None, *, blocked: Collection[str] = ()) -> None:
        found = [_handed(name, plugin, name in blocked) for name, plugin in sorted((plugins or {}).items())]
        self._registry = assemble(found)
        self._origin: dict[str, Any] = {"plugins": {entry.row.name: entry.plugin for entry in found if entry.plugin is not None}}

    @classmethod
    def discover(
        cls,
        blocked: Collection[str] = (),
        allowed: Collection[str] | None = None,
        *,
        path: Sequence[str] | None = None,
        import_seconds: float = 20.0,
    ) -> Self:
        """Build a kernel from the plugins that are installed (entry-point group `autorec.plugins`).

        A plugin that is broken, hangs or asks for another API becomes a row of `plugins()`; the others work.

        Args:
            blocked: Plugin names or distributions that are not imported.
            allowed: If given, the only plugins (or distributions) that are imported.
            path: Folders to look for distributions; None = `sys.path`.
            import_seconds: Wall-clock limit for the import of a plugin that was not seen before.
        """
        kernel = cls.__new__(cls)
        kernel._registry = assemble(discover(blocked, allowed, path, import_seconds))
        kernel._origin = {"blocked": sorted(blocked), "allowed": None if allowed is None else sorted(allowed)}
        kernel._origin |= {"path": None if path is None else list(path), "import_seconds": import_seconds}
        return kernel

    def origin(self) -> dict[str, Any]:
        """Return, as JSON values, how to build this kernel again in another process (`Kernel.rebuild`).

        Raises:
            UsageError: A plugin was handed over as an object that is not an importable module.
        """
        if "plugins" not in self._origin:
            return dict(self._origin)
        loose = [name for name, plugin in self._origin["plugins"].items() if not issubclass(type(plugin), ModuleType)]
        if loose:
            raise UsageError(f"plugins {loose} are objects; another process can only import modules", hint="pass modules to Kernel()")
        return {"plugins": {name: plugin.__name__ for name, plugin in self._origin["plugins"].items()}}

    @classmethod
    def rebuild(cls, origin: Mapping[str, Any]) -> Self:
        """Build the kernel that `origin()` describes."""
        if "plugins" in origin:
            return cls({name: importlib.import_module(module) for name, module in origin["plugins"].items()})
        return cls.discover(**origin)

    # --- what is there ----------------------------------------------------------------------------------------------------------

    def plugins(self) -> tuple[PluginRow, ...]:
        """Return one row per plugin found, sorted by name; broken, disabled and blocked ones too."""
        return self._registry.plugins

    def extension_points(self) -> tuple[ExtensionPoint, ...]:
        """Return the kinds of component: the kernel's, then those of plugins."""
        return self._registry.points

    def components(self, kind: str) -> tuple[ComponentRow, ...]:
        """Return the components of a kind, sorted by id; unavailable ones too.

        Raises:
            UnknownNameError: No extension point is called so.
        """
        return rows_of(self._registry, kind)

    def tagged(self, kind: str, tag: str) -> tuple[ComponentRow, ...]:
        """Return the usable components of a kind that carry a tag, sorted by id."""
        return tuple(row for row in self.components(kind) if row.usable and tag in row.tags)

    def find(self, kind: str, id: str) -> ComponentRow:
        """Return the component with this id (`plugin/name`) or unambiguous bare name, whatever its status.

        Raises:
            PluginError: The name is ambiguous, its plugin is not ok, or nothing provides the kind.
            UnknownNameError: No component, or no kind, is called so; the hint offers the nearest.
        """
        return find(self._registry, kind, id)

    def require(self, *kinds: str) -> None:
        """Check that each kind has a usable component.

        Raises:
            PluginError: The first kind without one; the hint says what to install.
        """
        for kind in kinds:
            rows = self.components(kind)
            if not any(row.usable for row in rows):
                hint = next((row.install for row in rows if row.install), INSTALL_HINT)
                raise PluginError(f"this needs a {kind.replace('-', ' ')}, and no installed plugin provides a usable one", hint=hint)

    # --- use it -----------------------------------------------------------------------------------------------------------------

    def load(self, kind: str, id: str) -> Any:
        """Import a component and return its class (its function, for kinds without a contract).

        Raises:
            PluginError: As `find`; or it is unavailable (the hint is the pip command), or its import raises.
            ContractError: It lacks `Config` or a member of the contract.
        """
        row = usable(self.find(kind, id))
        point = next(point for point in self._registry.points if point.kind == kind)
        return load_component(row, point)

    def create(self, kind: str, id: str, /, **config: Any) -> Any:
        """Return an instance of a component: `class(config)`, the config parsed from keywords.

        Raises:
            UsageError: An option is unknown or has a wrong value.
            PluginError: As `load`; or its constructor raises.
        """
        from autorec_kernel.config import parse_config

        component = self.load(kind, id)
        where = self.find(kind, id).id
        parsed = parse_config(component.Config, config, where=where)
        try:
            return component(parsed)
        except AutoRecError:
            raise
        except Exception as error:
            raise PluginError(f"its constructor raised {describe(error)}", where=f"{kind} {where!r}") from error

    def open_dataset(self, source: Any, **options: Any) -> Any:
        """Open a source as a table or frame through plugins; None when no plugin knows it.

        Hooks are asked first, then the usable readers in order of id whose `accepts` is true.

        Raises:
            DataError: The source is damaged.
        """
        opened = self._registry.hooks.open_dataset(source, options)
        if opened is not None:
            return opened
        for row in self.components("reader"):
            reader = self._reader(row, source)
            if reader is not None:
                return reader.read(source)
        return None

    def _reader(self, row: ComponentRow, source: Any) -> Any:
        """Return the reader if it is usable and accepts the source; a failing one is logged and passed over."""
        if not row.usable:
            return None
        try:
            reader = self.create("reader", row.id)
            return reader if reader.accepts(source) else None
        except Exception as error:
            _log.warning("reader %r cannot be asked: %s; the next one is", row.id, describe(error))
            return None

    def observe(self, event: Event, **arguments: Any) -> None:
        """Tell the observers of plugins; one that raises is logged and the run goes on.

        Args:
            event: stage_started and stage_finished (stage: str, context: Mapping), trial_finished (trial: Trial).
            **arguments: All arguments of the hook; an observer takes those it wants.
        """
        if event not in _EVENTS:
            raise UsageError(f"no event is called {event!r}", hint=f"events: {', '.join(_EVENTS)}")
        self._registry.hooks.observe(f"autorec_{event}", arguments)

    def report_sections(self, result: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
        """Return (component id, Markdown) of every usable report section; one that fails is logged and left out."""
        written = [(row.id, self._section(row, result)) for row in self.components("report-section") if row.usable]
        return tuple((name, text) for name, text in written if text)

    def _section(self, row: ComponentRow, result: Mapping[str, Any]) -> str:
        try:
            return str(self.load(row.kind, row.id)(result) or "")
        except Exception as error:
            _log.warning("report section %r is left out: %s", row.id, describe(error))
            return ""

    _registry: Registry
    _origin: dict[str, Any]


def _handed(name: str, plugin: Any, blocked: bool) -> Found:
    module, reason = guarded(lambda: str(getattr(plugin, "__name__", type(plugin).__name__)))
    module = module or type(plugin).__name__
    if blocked:
        return Found(PluginRow(name, module=module, status="blocked", reason="blocked by the host"))
    if reason:
        return Found(PluginRow(name, module=module, status="broken", reason=f"reading its name raised {reason}"))
    return Found(PluginRow(name, module=module), plugin)
