"""The one place that talks to pluggy: registration, checks of hook names and signatures, and guarded calls."""

from __future__ import annotations

import inspect
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import pluggy

from autorec_kernel import hookspecs
from autorec_kernel.errors import AutoRecError, ContractError, DataError, nearest
from autorec_kernel.markers import PROJECT
from autorec_kernel.registry.faults import describe, guarded

__all__ = ["KERNEL_HOOKS", "Hooks"]

_log = logging.getLogger(__name__)
_QUARANTINE = 3


class Hooks:
    """Registered plugins and typed, guarded calls of their hooks.

    Invariant: implementations run in order of plugin name (pluggy's `tryfirst` and `trylast` apply), each in a guard.
    """

    def __init__(self, plugins: Mapping[str, Any]) -> None:
        self._pluggy = pluggy.PluginManager(PROJECT)
        self._pluggy.add_hookspecs(hookspecs)
        self._failures: Counter[str] = Counter()
        self.problems: dict[str, str] = {}
        for name in sorted(plugins, reverse=True):  # pluggy calls the last registered first
            self._register(name, plugins[name])

    def _register(self, name: str, plugin: Any) -> None:
        _, reason = guarded(lambda: self._pluggy.register(plugin, name=name))
        if reason:
            guarded(lambda: self._pluggy.unregister(name=name))
            self.problems[name] = reason.removeprefix("PluginValidationError: ")

    def check(self, name: str, kinds: Mapping[str, str]) -> tuple[str, ...]:
        """Return what is wrong with the hooks of a plugin: unknown names with the nearest one, wrong signatures, wrappers.

        Args:
            name: The plugin.
            kinds: Declaration hook to kind, those of third parties included.
        """
        plugin = self._pluggy.get_plugin(name)
        known = {*kinds, *KERNEL_HOOKS}
        found = []
        for hook, implementation in self._implementations_of(plugin):
            if hook not in known and not implementation.optionalhook:
                close = nearest(hook, known)
                found.append(f"no hook is called {hook!r}" + (f"; did you mean {close!r}?" if close else ""))
            elif implementation.wrapper or implementation.hookwrapper:
                found.append(f"hook {hook!r} is a wrapper; hooks are called one by one and cannot be wrapped")
            elif hook in kinds and implementation.argnames:
                found.append(f"hook {hook!r} takes {', '.join(implementation.argnames)}; a declaration hook takes no arguments")
        return tuple(found)

    def undecorated(self, name: str, kinds: Mapping[str, str]) -> tuple[str, ...]:
        """Return warnings for what is named like a hook and is not taken for one: it lacks `@hookimpl` or is no function."""
        plugin = self._pluggy.get_plugin(name)
        named = {hook: getattr(plugin, hook, None) for hook in sorted({*kinds, *KERNEL_HOOKS} & set(dir(plugin)))}
        ignored = [hook for hook in named if self._pluggy.parse_hookimpl_opts(plugin, hook) is None]
        own = [hook for hook in ignored if getattr(named[hook], "__module__", "") != hookspecs.__name__]
        return tuple(_ignored(hook, named[hook]) for hook in own)

    def _implementations_of(self, plugin: Any) -> Iterator[tuple[str, pluggy.HookImpl]]:
        for caller in self._pluggy.get_hookcallers(plugin) or []:
            yield from ((caller.name, one) for one in caller.get_hookimpls() if one.plugin is plugin)

    def _implementations(self, hook: str) -> list[pluggy.HookImpl]:
        caller = getattr(self._pluggy.hook, hook, None)
        found = reversed(caller.get_hookimpls()) if caller is not None else ()
        return [one for one in found if not (one.wrapper or one.hookwrapper)]

    def declarations(self, hook: str) -> Iterator[tuple[str, tuple[Any, ...], str]]:
        """Call a declaration hook implementation by implementation.

        Yields:
            (plugin, what it returned, reason): with a reason the result is empty.
        """
        for one in self._implementations(hook):
            declared, reason = guarded(partial(_declared, one))
            yield one.plugin_name, declared or (), f"{hook} failed: {reason}" if reason else ""

    def observe(self, hook: str, arguments: Mapping[str, Any]) -> None:
        """Tell every observer; one that raises is logged, one that raises three times in a row is not called again."""
        for one in self._implementations(hook):
            if self._failures[one.plugin_name] >= _QUARANTINE:
                continue
            _, reason = guarded(partial(_call, one, arguments))
            self._failures[one.plugin_name] = self._failures[one.plugin_name] + 1 if reason else 0
            if reason:
                silenced = "; it is not called again" if self._failures[one.plugin_name] >= _QUARANTINE else ""
                _log.warning("plugin %r: %s raised %s; the run goes on%s", one.plugin_name, hook, reason, silenced)

    def open_dataset(self, source: Any, options: Mapping[str, Any]) -> Any:
        """Return the first answer that is not None, or None.

        Raises:
            DataError: An implementation says that the source is damaged.
        """
        for one in self._implementations("autorec_open_dataset"):
            try:
                opened = _call(one, {"path": source, "options": options})
            except DataError as error:
                raise DataError(error.message, hint=error.hint, where=error.where or f"plugin {one.plugin_name!r}") from error
            except (KeyboardInterrupt, AutoRecError):
                raise
            except BaseException as error:
                _log.warning("plugin %r: autorec_open_dataset raised %s; the next opener is asked", one.plugin_name, describe(error))
                continue
            if opened is not None:
                return opened
        return None


KERNEL_HOOKS = frozenset(name for name in vars(hookspecs) if name.startswith("autorec_"))


def _ignored(hook: str, value: Any) -> str:
    if inspect.isroutine(value):
        return f"function {hook!r} lacks @hookimpl and is ignored"
    return f"{hook!r} is named like a hook; it is no function but a {type(value).__name__} and is ignored"


def _call(implementation: pluggy.HookImpl, arguments: Mapping[str, Any]) -> Any:
    return implementation.function(**{name: arguments[name] for name in implementation.argnames})


def _declared(implementation: pluggy.HookImpl) -> tuple[Any, ...]:
    """Call a declaration hook and return what it gave as a tuple; None counts as nothing declared."""
    declared: Any = implementation.function()
    if inspect.iscoroutine(declared):
        declared.close()
        raise ContractError("it returned a coroutine; expected a tuple")
    if declared is None:
        return ()
    if isinstance(declared, (str, bytes, Mapping)) or not hasattr(declared, "__iter__"):
        raise ContractError(f"it returned a {type(declared).__name__}; expected a tuple")
    return tuple(declared)
