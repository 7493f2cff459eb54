"""`autorec compress`: another bundle of a finished run, for another target or other limits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from autorec_kernel.cli.host import kernel_of
from autorec_kernel.cli.output import emit, emit_json, emit_table

__all__ = ["compress"]

_TARGET = "Where the bundle will run: sets its limits; default: that of the run, with its limits."
_MINUTES = "Time for all of it; students and fine-tuning get what is left of it."
_TO = "A new folder; default: RUN/compressed/TARGET, then TARGET-2 and so on."


def compress(
    context: typer.Context,
    run: Annotated[Path, typer.Argument(help="Folder of a run that has ended, even one that ended with code 9.", metavar="RUN")],
    minutes: Annotated[float, typer.Option(help=_MINUTES, min=0.1)] = 10.0,
    target: Annotated[str, typer.Option(help=_TARGET, metavar="device|edge|cloud|FILE.toml")] = "",
    max_bytes: Annotated[float | None, typer.Option(help="Bytes of what is served, instead of the target's.", min=1)] = None,
    max_latency_ms: Annotated[float | None, typer.Option(help="Median of one call of --batch rows, instead of the target's.")] = None,
    max_drop: Annotated[float | None, typer.Option(help="Relative loss of the metric, instead of the target's.")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of one answer, instead of the target's.", min=1)] = None,
    batch: Annotated[int | None, typer.Option(help="Rows of the call that is timed, instead of the target's.", min=1)] = None,
    data: Annotated[str | None, typer.Option(help="The table of the run, if it is not where it was.", metavar="FILE")] = None,
    users: Annotated[str | None, typer.Option(help="Its table with one row a user.", metavar="FILE")] = None,
    items: Annotated[str | None, typer.Option(help="Its table with one row an item.", metavar="FILE")] = None,
    to: Annotated[Path | None, typer.Option(help=_TO, metavar="DIR")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Compress what a run has found for another target, without a search, and write a bundle beside the run's own.

    Every compressor is tried on the validation rows, the best plans are built and timed, and the one that keeps to the limits is applied to
    the refitted model. Exit code 9 says that nothing keeps to them, and tells of the closest plan.
    Try: autorec compress runs/ratings-recommend-… --target device --max-bytes 500000
    """
    from autorec_kernel.cli.interrupt import stoppable
    from autorec_kernel.cli.progress import reporting
    from autorec_planner.alone import compress as compress_run
    from autorec_planner.finished import read_finished

    stated = {"max_bytes": max_bytes, "max_latency_ms": max_latency_ms, "max_drop": max_drop}
    stated |= {"serve_threads": threads, "serve_batch": batch}
    limits = {name: value for name, value in stated.items() if value is not None}
    read_finished(run)
    with stoppable(lambda: "a compression starts anew"), reporting("", minutes * 60) as shown:
        tables = {"data": data, "users": users, "items": items}
        found = compress_run(run, kernel_of(context), to, seconds=minutes * 60, target=target, limits=limits, reporter=shown, **tables)
    emit_json(found) if as_json else _print(found)


def _print(found: Mapping[str, Any]) -> None:
    steps = [(step["component"], "yes" if step["taken"] else "no", step["reason"]) for step in found["compressed"]["steps"]]
    emit_table(("STEP", "TAKEN", "WHY"), steps)
    emit("")
    certificate, sizes = found["certificate"], found["compressed"]["bytes"]
    emit(f"size:     {sizes['before']:,} bytes before, {sizes['after']:,} after ({sizes['after'] / sizes['before']:.1%})")
    if certificate:
        measured = certificate["measured"]
        for name, rows in (("one", 1), ("batch", measured["batch_rows"])):
            times = ", ".join(f"{which} {row['p50_ms']:.3f} / {row['p99_ms']:.3f}" for which, row in measured[name].items())
            emit(f"latency:  {rows} row(s), p50 / p99 ms: {times}")
        before, after = certificate["before"], certificate["after"]
        emit(f"quality:  {certificate['metric']} {before:.4f} before, {after:.4f} after: {certificate['verdict']}")
    emit(f"bundle:   {Path(found['folder']) / found['bundle']['path']}")
