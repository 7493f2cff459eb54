"""`autorec replay`: the search of a run once more, from its journal and the data alone; says whether all is equal, or what is not."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autorec_kernel.cli.host import kernel_of
from autorec_kernel.cli.output import emit, emit_json
from autorec_kernel.errors import InfrastructureError

if TYPE_CHECKING:
    from autorec_studies.again import Replayed

__all__ = ["DIFFERS", "replay"]

DIFFERS = 8  # exit code of a replay that is not equal to its run
_SHOWN = 10
_DATA = "The table of the run, if it is not where it was."
_OUT = "A new folder that keeps the replay; default: a temporary one."
_WHOLE = "Go on to the bundle: refit, compress, measure on the test rows; its digest is compared too."


def replay(
    context: typer.Context,
    run: Annotated[Path, typer.Argument(help="Folder of a run.", metavar="RUN")],
    data: Annotated[str | None, typer.Option(help=_DATA, metavar="FILE")] = None,
    users: Annotated[str | None, typer.Option(help="Its table with one row a user.", metavar="FILE")] = None,
    items: Annotated[str | None, typer.Option(help="Its table with one row an item.", metavar="FILE")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that train; default: one a core, at most 4.", min=1)] = None,
    whole: Annotated[bool, typer.Option("--whole", help=_WHOLE)] = False,
    to_the_end: Annotated[bool, typer.Option("--to-the-end", help="Do not stop at the first difference.")] = False,
    out: Annotated[Path | None, typer.Option(help=_OUT, metavar="DIR")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Train every candidate of a run again, make every proposal and promotion again, and compare them with its journal.

    The weights that the run left are not read. Exit code 8 says that something differs. Try: autorec replay runs/ratings-recommend-…
    """
    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InfrastructureError("the folder is not empty", where=str(out), hint="choose a new folder for --out")
    with ExitStack() as stack:
        folder = out or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="autorec-replay-", ignore_cleanup_errors=True)))
        told = {"data": data, "users": users, "items": items, "workers": workers, "whole": whole, "to_the_end": to_the_end}
        found = _watched(context, run, folder, told)
    shown = {**found.to_json(), "folder": None if out is None else str(out)}
    emit_json(shown) if as_json else _print(found)
    if not found.equal:
        raise typer.Exit(DIFFERS)


def _watched(context: typer.Context, run: Path, folder: Path, told: dict[str, Any]) -> Replayed:
    from autorec_kernel.cli.interrupt import stoppable
    from autorec_kernel.cli.progress import reporting
    from autorec_studies.again import replay as replay_run
    from autorec_studies.original import read_original

    kernel = kernel_of(context)
    with stoppable(lambda: "a replay starts anew"), reporting(read_original(run).metric, None) as shown:
        return replay_run(run, kernel, folder, reporter=shown, **told)


def _print(found: Replayed) -> None:
    for text in found.notes:
        emit(f"note: {text}")
    for trial, rung, why in found.taken:
        emit(f"taken from the journal: trial {trial}, rung {rung} ({why.splitlines()[0]})")
    emit(f"{found.trials} trials, {found.trained} trainings done again, in {found.seconds:.1f} s")
    if found.equal:
        weights = found.best.get("replay", {}).get("weights")
        digest = f", weights {weights}" if weights else ""
        emit(f"equal: proposals, promotions, metrics and weights (best trial {found.best.get('replay', {}).get('trial')}{digest})")
        return
    emit(f"first difference: {found.differences[0]}")
    for one in found.differences[1:_SHOWN]:
        emit(f"                  {one}")
    if len(found.differences) > _SHOWN:
        emit(f"                  and {len(found.differences) - _SHOWN} more")
