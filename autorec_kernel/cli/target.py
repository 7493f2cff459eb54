"""Where a run stands and how its command is typed again."""

from __future__ import annotations

import re
import shlex
from datetime import datetime
from pathlib import Path
from typing import Any

import typer

from autorec_kernel.errors import InfrastructureError, UsageError

__all__ = ["again", "choose_folder", "command_line", "packaged"]

_ROOT = Path("runs")


def packaged(users: str | None, items: str | None) -> tuple[str, str]:
    """Return the packaged ratings and their table of films.

    Raises:
        UsageError: A side table is given without data that it belongs to.
    """
    if users is not None or items is not None:
        raise UsageError("--users and --items belong to a table of interactions", hint="autorec run DATA --items FILE")
    import autorec_kernel.data

    folder = Path(autorec_kernel.data.__file__).parent / "movielens"
    return str(folder / "ratings.csv.gz"), str(folder / "items.csv.gz")


def choose_folder(out: Path | None, data: str, task: str, *, resume: bool, now: datetime | None = None) -> Path:
    """Return the folder of the run: `out`, or a new name below `runs/`.

    Raises:
        UsageError: A run is to be resumed and no folder is named.
        InfrastructureError: The folder holds something else.
    """
    if out is None:
        if resume:
            raise UsageError("--resume needs the folder of the run", hint="autorec run … --out DIR --resume")
        return _new_folder(data, task, now or datetime.now())
    if out.exists() and not out.is_dir():
        raise InfrastructureError("a file stands where the run folder should be", where=str(out), hint="choose another --out")
    if (out / "journal.jsonl").exists() or resume:
        return out
    if out.is_dir() and any(out.iterdir()):
        raise InfrastructureError("the folder is not empty and holds no run", where=str(out), hint="choose a new folder for --out")
    return out


def _new_folder(data: str, task: str, now: datetime) -> Path:
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(data).name.partition(".")[0]).strip("-") or "data"
    base = f"{stem[:40]}-{task}-{now:%Y%m%d-%H%M%S}"
    names = (base, *(f"{base}-{number}" for number in range(2, 1000)))
    return next(_ROOT / name for name in names if not (_ROOT / name).exists())


def again(context: typer.Context, folder: Path) -> str:
    """Return the command that goes on with this run: the words that were typed, with the folder and `--resume`."""
    words = command_line(context)
    if "out" not in _typed(context):
        words += ["--out", str(folder)]
    return shlex.join([*words, *([] if context.params.get("resume") else ["--resume"])])


def command_line(context: typer.Context) -> list[str]:
    """Return the words of an invocation, as they could be typed again."""
    chain: list[Any] = [context]
    while chain[0].parent is not None:
        chain.insert(0, chain[0].parent)
    words = ["autorec"]
    for place, one in enumerate(chain):
        words += [str(one.info_name)] if place else []
        given = _typed(one)
        for parameter in one.command.params:
            if parameter.name in given:
                words += _words(parameter, one.params[parameter.name])
    return words


def _typed(context: typer.Context) -> set[str]:
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}


def _words(parameter: Any, value: Any) -> list[str]:
    """Return a parameter as words."""
    values = value if isinstance(value, (list, tuple)) else [value]
    if parameter.param_type_name == "argument":
        return [str(one) for one in values]
    option = next(name for name in parameter.opts if name.startswith("-"))
    if getattr(parameter, "is_flag", False):
        return [option] if value else []
    return [word for one in values for word in (option, str(one))]
