"""`autorec profile`: where the time of a training step of a blueprint goes, on a table."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autorec_kernel.cli.data import parse_options, parse_pairs
from autorec_kernel.cli.host import kernel_of
from autorec_kernel.cli.output import emit, emit_json, emit_table, note
from autorec_kernel.cli.target import packaged
from autorec_kernel.errors import UsageError

if TYPE_CHECKING:
    from autorec_kernel.kernel import Kernel
    from autorec_kernel.recipe import Recipe

__all__ = ["profile"]

_DATA = "CSV, TSV or Parquet file (plain or gzip), or what a reader plugin opens; default: the MovieLens ratings of the package."


def profile(
    context: typer.Context,
    data: Annotated[str | None, typer.Argument(help=_DATA, metavar="[DATA]", show_default=False)] = None,
    users: Annotated[str | None, typer.Option(help="Table with one row a user.", metavar="FILE")] = None,
    items: Annotated[str | None, typer.Option(help="Table with one row an item.", metavar="FILE")] = None,
    task: Annotated[str | None, typer.Option(help="Default: the first of the blueprint.", metavar="recommend|rate|click")] = None,
    blueprint: Annotated[str, typer.Option(help="What is trained (autorec plugins list --kind blueprint).", metavar="ID")] = "zoo/deepfm",
    option: Annotated[list[str] | None, typer.Option(help="Option of the blueprint (repeatable).", metavar="NAME=JSON")] = None,
    role: Annotated[list[str] | None, typer.Option(help="Overrule a role (repeatable).", metavar="COLUMN=ROLE")] = None,
    kind: Annotated[list[str] | None, typer.Option(help="Overrule a kind (repeatable).", metavar="COLUMN=KIND")] = None,
    positive_threshold: Annotated[float | None, typer.Option(help="Label at or above which a row is positive.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps that are timed.")] = 20,
    batch_size: Annotated[int, typer.Option(min=1, help="Rows a step.")] = 1024,
    top: Annotated[int, typer.Option(min=1, help="Operators listed.")] = 20,
    threads: Annotated[int, typer.Option(min=1, help="Threads a step uses.")] = 1,
    device: Annotated[str, typer.Option(help="Where the network trains.", metavar="auto|cpu|cuda")] = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Train a few steps and tell where their time goes: by phase, by operator, and against the machine's matrix products."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # torch's profiler tells of itself on stderr otherwise
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    kernel = kernel_of(context)
    chosen = _task(kernel, blueprint, task)
    given = {"task": chosen, "device": device, "seed": seed, "threads": threads}
    from autorec_kernel.recipe import read_recipe

    stated = {
        "roles": parse_pairs("--role", role or ()) or None,
        "kinds": parse_pairs("--kind", kind or ()) or None,
        "positive_threshold": positive_threshold,
    }
    plan = read_recipe(None, {**given, **{name: value for name, value in stated.items() if value is not None}})
    source, items = (data, items) if data is not None else packaged(users, items)
    found = _measure(kernel, source, plan, blueprint, parse_options("--option", option or ()), users, items, steps, batch_size)
    emit_json(found) if as_json else _print(found, top)


def _task(kernel: Kernel, blueprint: str, task: str | None) -> str:
    tasks = kernel.load("blueprint", blueprint).tasks
    if task is not None and task not in tasks:
        raise UsageError(f"blueprint {blueprint!r} does not do the task {task!r}", hint=f"--task {tasks[0]}")
    return task or str(tasks[0])


def _measure(
    kernel: Kernel,
    source: Any,
    plan: Recipe,
    blueprint: str,
    options: dict[str, Any],
    users: Any,
    items: Any,
    steps: int,
    batch_size: int,
) -> dict[str, Any]:
    graph = kernel.create("blueprint", blueprint, **options)
    from autorec_kernel.features import build_features
    from autorec_kernel.models import FitSettings, build_network, train
    from autorec_kernel.search.tasks import threads_limited
    from autorec_kernel.stages.prepare import HISTORY, device_of, open_table
    from autorec_training.step_profile import profile_steps

    note(f"reading {source}")
    dataset = open_table(source, plan, kernel, users, items)
    note("building features")
    features = build_features(dataset, kernel, seed=plan.seed, history_length=HISTORY, task=plan.task)
    architecture = graph.architecture(features.schema)
    if not build_network(architecture, features.schema, kernel).trainable:  # told before what it needs is solved
        raise UsageError(f"blueprint {blueprint!r} is a closed form: it takes no training steps", hint="--blueprint zoo/deepfm")
    network, _ = train(architecture, features, features.schema, kernel, FitSettings(epochs=0), seed=plan.seed, trial=0)
    where = device_of(plan)
    note(f"training {steps} steps")
    with threads_limited(plan.threads):
        found = profile_steps(network, features, FitSettings(batch_size=batch_size), steps=steps, device=where, seed=plan.seed)
    about = {"blueprint": blueprint, "task": plan.task, "device": where, "threads": plan.threads, "rows_of_data": dataset.train.rows}
    return {**about, **found.to_json()}


def _print(found: dict[str, Any], top: int) -> None:
    where = f"{found['device']}, {found['threads']} thread{'s' if found['threads'] > 1 else ''}"
    emit(f"{found['blueprint']}, task {found['task']}, {found['parameters']:,} parameters, {found['rows']:,.0f} rows a step, {where}")
    emit("")
    total = found["step_seconds"]
    phases = {**found["seconds"], "step": total}
    emit_table(("PHASE", "MS A STEP", "SHARE"), [(name, f"{1e3 * value:.3f}", f"{value / total:.1%}") for name, value in phases.items()])
    emit("")
    emit(f"{found['samples_per_second']:,.0f} rows a second")
    least = found["gflop"] / found["gflops"]
    emit(
        f"matrix products: {1e3 * found['gflop']:,.1f} MFLOP a step; at the {found['gflops']:,.0f} GFLOP/s measured here they need "
        f"{1e3 * least:.3f} ms, {found['limit_share']:.0%} of the step"
    )
    emit("")
    self_time = "device_us" if found["device"] != "cpu" else "cpu_us"
    whole = sum(row[self_time] for row in found["operators"]) or 1.0
    emit_table(
        ("OPERATOR", "CALLS A STEP", "US A STEP", "SHARE", "KB A STEP"),
        [
            (row["name"], f"{row['calls']:g}", f"{row[self_time]:.1f}", f"{row[self_time] / whole:.1%}", f"{row['bytes'] / 1024:,.0f}")
            for row in found["operators"][:top]
        ],
    )
