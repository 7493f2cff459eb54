"""A Typer group whose subcommands are imported when they run, so that `autorec --help` costs no import of what they need."""

from __future__ import annotations

import logging
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from autorec_kernel.cli.commands import COMMANDS, Command
from autorec_kernel.cli.host import kernel_of
from autorec_kernel.errors import AutoRecError, InfrastructureError, PluginError

__all__ = ["LazyGroup"]

_log = logging.getLogger(__name__)


class LazyCommand(TyperCommand):
    """A name and a line of help that becomes the real command when it is invoked or asked for its own help."""

    def __init__(self, row: Command) -> None:
        super().__init__(row.name, help=row.help, short_help=row.help)
        self._row = row

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        if self._row.target.startswith("plugin:"):
            _, kind, name = self._row.target.split(":", 2)
            loaded = kernel_of(parent).load(kind, name)
        else:
            loaded = _load(self._row)
        return _as_command(self._row, loaded).make_context(info_name, args, parent=parent, **extra)


class LazyGroup(TyperGroup):
    """The root group: the kernel's own table first, then the subcommands of plugins."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands.update({row.name: LazyCommand(row) for row in COMMANDS})

    def list_commands(self, ctx: Any) -> list[str]:
        self._add_plugin_commands(ctx)
        return list(self.commands)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in self.commands:
            self._add_plugin_commands(ctx)
        return self.commands.get(cmd_name)

    def _add_plugin_commands(self, ctx: Any) -> None:
        """Add what plugins declare; the kernel's own names stay, and two plugins that claim one name are told apart by id."""
        try:
            rows = [row for row in kernel_of(ctx).components("cli-command") if row.usable]
        except AutoRecError as error:  # `--help` must work when a global option is wrong; the command itself will say so
            _log.warning("subcommands of plugins are not listed: %s", error)
            return
        names = [row.name for row in rows]
        for row in rows:
            name = row.name if names.count(row.name) == 1 else row.id
            if name not in self.commands:
                self.commands[name] = LazyCommand(Command(name, f"plugin:cli-command:{row.id}", row.summary))


def _load(row: Command) -> Any:
    module, _, name = row.target.partition(":")
    if find_spec(module) is None:
        hint = 'pip install --upgrade "autorec-kernel"'
        raise InfrastructureError(f"the command {row.name!r} is not part of this installation (no module {module!r})", hint=hint)
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        raise PluginError(f"the command {row.name!r} needs {package!r}, which is not installed", hint=f"pip install {package}") from error


def _as_command(row: Command, loaded: Any) -> Any:
    """Return the Typer command of an application or a function."""
    if isinstance(loaded, typer.Typer):
        command: Any = typer.main.get_command(loaded)
        command.params = [one for one in command.params if one.name not in ("install_completion", "show_completion")]
        return command
    app = typer.Typer(add_completion=False)
    app.command(row.name)(loaded)
    return typer.main.get_command(app)
