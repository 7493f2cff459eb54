"""`autorec`: global options, the lazy table of subcommands, and the one place where errors become exit codes."""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from autorec_kernel.cli.lazy import LazyGroup
from autorec_kernel.cli.output import emit, note, report_error
from autorec_kernel.errors import AutoRecError

__all__ = ["main"]

_BROKEN_PIPE = 141  # what a shell reports for a process that SIGPIPE ended
_INTERRUPTED = 130

app = typer.Typer(cls=LazyGroup, add_completion=False, invoke_without_command=True)


def _version(asked: bool) -> None:
    if asked:
        from autorec_kernel import __version__

        emit(__version__)
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    plugins: Annotated[str | None, typer.Option(help="Load only these plugins (comma-separated).", metavar="A,B")] = None,
    no_plugins: Annotated[bool, typer.Option("--no-plugins", help="Load no plugin.")] = False,
    block: Annotated[list[str] | None, typer.Option(help="Do not load this plugin or distribution (repeatable).", metavar="NAME")] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Turn a table of interactions into a small, fast, verified recommender; every step is a plugin."""  # options: `host_of`
    if context.invoked_subcommand is None:
        emit(context.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; nothing escapes as a traceback unless `--debug` is given."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    _robust_streams()
    try:
        code = _guarded(words)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        _silence_stdout()
        return _BROKEN_PIPE
    except SystemExit as ended:  # what rich makes of a broken pipe
        if isinstance(ended.__context__, BrokenPipeError):
            return _BROKEN_PIPE
        raise


def _guarded(words: list[str]) -> int:
    debug = "--debug" in words[: words.index("--")] if "--" in words else "--debug" in words
    words = ["--debug", *(word for word in words if word != "--debug")] if debug else words
    try:
        return _invoke(words)
    except BrokenPipeError:
        raise
    except AutoRecError as error:
        _trace(debug)
        report_error(f"{error.where}: {error.message}" if error.where else error.message, error.hint)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        note("interrupted")
        return _INTERRUPTED
    except _USAGE_ERRORS as error:
        return _usage(error)
    except Exception as error:
        _trace(debug)
        report_error(f"unexpected {type(error).__name__}: {error}", "run the command again with --debug and report what it prints")
        return 1


def _invoke(words: list[str]) -> int:
    command = typer.main.get_command(app)
    try:
        with command.make_context("autorec", words) as context:
            command.invoke(context)
    except typer.Exit as ended:
        return int(ended.exit_code)
    return 0


# Typer brings its own copy of click or depends on it, by version; its base of usage errors is the same class either way.
_USAGE_ERRORS: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def _usage(error: Any) -> int:
    text = error.format_message()
    if type(error).__name__ == "NoArgsIsHelpError":
        note(text)
        return 2
    context = getattr(error, "ctx", None)
    report_error(text, f"{context.command_path} --help" if context is not None else "autorec --help")
    return int(error.exit_code)


def _trace(debug: bool) -> None:
    if debug:
        note(traceback.format_exc().rstrip())


def _robust_streams() -> None:
    """Write the same bytes under every locale; a file name that is not text passes through unharmed."""
    for stream, errors in ((sys.stdout, "surrogateescape"), (sys.stderr, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors=errors)


def _silence_stdout() -> None:
    """Keep the interpreter's last flush from failing again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
