"""`autorec refresh`: the stored front of a run on new data, without a new search."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from autorec_kernel.cli.host import kernel_of
from autorec_kernel.cli.output import emit, emit_json, emit_table
from autorec_kernel.errors import InfrastructureError

__all__ = ["refresh"]


def refresh(
    context: typer.Context,
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.", metavar="RUN")],
    data: Annotated[str, typer.Option(help="The new table, with the columns of the old one.", metavar="FILE")],
    users: Annotated[str | None, typer.Option(help="New table with one row a user.", metavar="FILE")] = None,
    items: Annotated[str | None, typer.Option(help="New table with one row an item.", metavar="FILE")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that train; default: one a core, at most 4.", min=1)] = None,
    out: Annotated[Path | None, typer.Option(help="A new folder; default: RUN-refresh.", metavar="DIR")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Train the front and the baselines of a run on new data, and say which wins now. Try: autorec refresh run --data new.csv."""
    from autorec_kernel.cli.interrupt import stoppable
    from autorec_kernel.cli.progress import reporting
    from autorec_studies.original import read_original
    from autorec_studies.refresh import refresh as refresh_run

    folder = out or run.with_name(f"{run.resolve().name}-refresh")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InfrastructureError("the folder is not empty", where=str(folder), hint="choose a new folder for --out")
    kernel = kernel_of(context)
    with stoppable(lambda: "a refresh starts anew"), reporting(read_original(run).metric, None) as shown:
        found = refresh_run(run, kernel, folder, data, users=users, items=items, workers=workers, reporter=shown)
    emit_json({**found, "folder": str(folder)}) if as_json else _print(found)


def _print(found: Mapping[str, Any]) -> None:
    metric, served, best = found["metric"], found["served"], found["best"]
    rows = [
        (
            str(row["trial"]),
            _figure(row["old"]),
            _figure(row["new"]) if row["status"] == "complete" else row["status"],
            "baseline" if row["baseline"] else "front" if row["trial"] in found["front"] else "",
            row["architecture"] or row["blueprint"] or row["baseline"],
        )
        for row in sorted(found["candidates"], key=lambda row: row["trial"])
    ]
    emit_table(("TRIAL", f"OLD {metric}", f"NEW {metric}", "NOW", "MODEL"), rows)
    emit("")
    emit(f"best metric:  trial {best['was']} then, trial {best['is']} now")
    emit(f"to serve:     trial {served['was']} then, trial {served['is']} now ({served['reason']})")


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
