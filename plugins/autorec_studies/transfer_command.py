"""`autorec transfer`: a found architecture and its weights on new data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from autorec_kernel.cli.host import kernel_of
from autorec_kernel.cli.output import emit, emit_json, emit_table
from autorec_kernel.errors import InfrastructureError

__all__ = ["transfer"]

_EPOCHS = "Passes over the new rows; default: half of those that the trial's best weights took, at least 2."
_UNRELATED = "Vocabulary whose ids mean something else in the new data, such as user (repeatable)."
_SCRATCH = "Leave out training from scratch, which is there to compare with."


def transfer(
    context: typer.Context,
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.", metavar="RUN")],
    data: Annotated[str, typer.Option(help="The new table, with the columns of the old one.", metavar="FILE")],
    users: Annotated[str | None, typer.Option(help="New table with one row a user.", metavar="FILE")] = None,
    items: Annotated[str | None, typer.Option(help="New table with one row an item.", metavar="FILE")] = None,
    task: Annotated[str, typer.Option(help="To be sure of the task; default: that of the run.", metavar="recommend|rate|click")] = "",
    trial: Annotated[int | None, typer.Option(help="Whose weights; default: the trial that the run serves.", min=0)] = None,
    epochs: Annotated[int | None, typer.Option(help=_EPOCHS, min=1)] = None,
    rate: Annotated[float, typer.Option(help="Share of the trial's learning rate.", min=0.0001, max=10.0)] = 0.5,
    unrelated: Annotated[list[str] | None, typer.Option(help=_UNRELATED, metavar="VOCABULARY")] = None,
    no_scratch: Annotated[bool, typer.Option("--no-scratch", help=_SCRATCH)] = False,
    workers: Annotated[int | None, typer.Option(help="Processes that train; default: one a core, at most 4.", min=1)] = None,
    out: Annotated[Path | None, typer.Option(help="A new folder; default: RUN-transfer.", metavar="DIR")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Fine-tune what a run has found on new data, and write a bundle that serves. Try: autorec transfer run --data new.csv."""
    from autorec_kernel.cli.interrupt import stoppable
    from autorec_kernel.cli.progress import reporting
    from autorec_studies.original import read_original
    from autorec_studies.transfer import Tuning
    from autorec_studies.transfer import transfer as transfer_run

    folder = out or run.with_name(f"{run.resolve().name}-transfer")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InfrastructureError("the folder is not empty", where=str(folder), hint="choose a new folder for --out")
    kernel, metric = kernel_of(context), read_original(run).metric
    tuning = Tuning(trial, epochs, rate, tuple(unrelated or ()), not no_scratch)
    with stoppable(lambda: "a transfer starts anew"), reporting(metric, None) as shown:
        found = transfer_run(run, kernel, folder, data, users=users, items=items, task=task, tuning=tuning, workers=workers, reporter=shown)
    emit_json({**found, "folder": str(folder)}) if as_json else _print(found, folder)


def _print(found: Mapping[str, Any], folder: Path) -> None:
    metric, carried = found["metric"], found["carried"]
    rows = [(name, *_figures(found[name], metric)) for name in ("transferred", "scratch") if found[name]]
    emit_table(("START", f"BEFORE {metric}", f"VALID {metric}", f"TEST {metric}", "BEST EPOCH"), rows)
    emit("")
    for name, row in (carried or {"vocabularies": {}})["vocabularies"].items():
        emit(f"{name}: {row['carried']} rows carried over, {row['new']} new, {row['gone']} gone")
    if carried is None:
        emit("nothing of this model is learnt by gradient: it was solved again on the new data")
    else:
        emit(f"tensors carried over: {carried['tensors']}")
        for name, reason in carried["left"].items():
            emit(f"not carried over: {name}: {reason}")
    if found["reached"] is not None:
        at, of = found["reached"]["transferred"], found["reached"]["scratch"]
        told = "not reached" if at is None else "reached before the first step" if at == 0 else f"reached in epoch {at}"
        emit(f"the best of training from scratch (epoch {of} of {found['epochs']}): {told}")
    emit(f"served:  {found['served']['what']} ({found['served']['reason']})")
    emit(f"verdict: {found['verdict']}")
    emit(f"bundle:  {folder / found['bundle']['path']}")


def _figures(row: Mapping[str, Any], metric: str) -> tuple[str, ...]:
    if row["status"] != "complete":
        return "", row["status"], "", ""
    values = [(row[name] or {}).get(metric) for name in ("before", "valid", "test")]
    return (*("" if value is None else f"{value:.4f}" for value in values), str(row["best_epoch"] or ""))
