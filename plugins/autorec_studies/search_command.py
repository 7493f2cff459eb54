"""`autorec search`: the search alone, on the feature set that `autorec features DATA --out DIR` has written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from autorec_kernel.cli.data import parse_options
from autorec_kernel.cli.host import kernel_of
from autorec_kernel.cli.output import emit, emit_json, emit_table
from autorec_kernel.errors import InterruptedRun, UsageError

__all__ = ["search"]

_FEATURES = "Folder of a feature set (autorec features DATA --out DIR), or of a run."
_SET = "Any other key of a recipe (repeatable), e.g. max_params=5000000 or weights.latency=0.1."


def search(
    context: typer.Context,
    features: Annotated[Path, typer.Argument(help=_FEATURES, metavar="FEATURES_DIR")],
    task: Annotated[
        str | None, typer.Option(help="The task; default: what the features were built for.", metavar="recommend|rate|click")
    ] = None,
    budget: Annotated[str | None, typer.Option(help="Time for the search: 90s, 5min, 1h; default: 3min.", metavar="TIME")] = None,
    trials: Annotated[int | None, typer.Option(help="Candidates besides the baselines, instead of a time; repeatable.")] = None,
    blueprint: Annotated[list[str] | None, typer.Option(help="Blueprint that competes (repeatable).", metavar="ID")] = None,
    fix: Annotated[list[str] | None, typer.Option(help="Option of all candidates of a blueprint.", metavar="ID.OPTION=JSON")] = None,
    strategy: Annotated[str | None, typer.Option(help="Search strategy.", metavar="ID")] = None,
    metric: Annotated[str | None, typer.Option(help="What to optimise.", metavar="NAME")] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything random; default: 0.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that evaluate candidates.")] = None,
    device: Annotated[str | None, typer.Option(help="Where networks train; default: auto.", metavar="auto|cpu|cuda")] = None,
    more: Annotated[list[str] | None, typer.Option("--set", help=_SET, metavar="KEY=JSON")] = None,
    recipe: Annotated[Path | None, typer.Option(help="TOML file of options; those given here win.", metavar="FILE")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the search; default: a new one below runs/.", metavar="DIR")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the search in --out.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Search models on features that are there: baselines, best, front and its knee on the validation rows. No test row is read.

    Try: autorec features ratings.csv --task rate --out features; autorec search features --task rate --trials 20
    """
    from autorec_kernel.cli.target import choose_folder
    from autorec_kernel.recipe import read_recipe

    stated: dict[str, Any] = {
        "task": task,
        "budget": budget,
        "trials": trials,
        "strategy": strategy,
        "metric": metric,
        "seed": seed,
        "workers": workers,
    }
    stated |= {"device": device, "blueprints": tuple(blueprint or ()) or None, "fixed": parse_options("--fix", fix or ()) or None}
    if budget is not None and trials is not None:
        raise UsageError("a search has either a budget or a number of trials, not both", hint="leave out --budget or --trials")
    plan = read_recipe(recipe, _with(stated, parse_options("--set", more or ())))
    if task is None and recipe is None:
        plan = plan.model_copy(update={"task": _task_of(features) or plan.task})
    folder = choose_folder(out, features.name, plan.task, resume=resume)
    found = _watched(context, features, plan, folder, resume)
    emit_json({**found, "folder": str(folder)}) if as_json else _print(found, folder)


def _task_of(folder: Path) -> str | None:
    """Return the task that a feature set was built for, if there is one in the folder."""
    path = next((one for one in (folder / "features.json", folder / "features" / "features.json") if one.is_file()), None)
    return None if path is None else str(json.loads(path.read_bytes())["task"])


def _with(stated: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that were given and those of `--set`; `weights.latency` is the entry `latency` of `weights`."""
    found = {name: value for name, value in stated.items() if value is not None}
    for name, value in more.items():
        key, _, entry = name.partition(".")
        if key in found and not entry:
            raise UsageError(f"{key!r} is given twice")
        found[key] = {**found.get(key, {}), entry: value} if entry else value
    return found


def _watched(context: typer.Context, features: Path, plan: Any, folder: Path, resume: bool) -> dict[str, Any]:
    from autorec_kernel.cli.interrupt import stoppable
    from autorec_kernel.cli.progress import reporting
    from autorec_kernel.cli.target import again
    from autorec_kernel.evaluation import default_metric
    from autorec_studies.alone import search_alone

    kernel = kernel_of(context)
    try:
        with stoppable(lambda: again(context, folder)), reporting(plan.metric or default_metric(plan.task), plan.seconds) as shown:
            shown.note(f"the search is in {folder}")
            return search_alone(features, plan, kernel, folder, resume=resume, reporter=shown)
    except (KeyboardInterrupt, InterruptedRun):
        told = "the search was stopped; everything finished is kept"
        raise InterruptedRun(told, where=str(folder), hint=again(context, folder)) from None


def _print(found: Mapping[str, Any], folder: Path) -> None:
    metric, knee = found["metric"], found["knee"]
    rows = [(f"baseline {name}", *_figures(row, metric)) for name, row in found["baselines"].items()]
    rows += [("knee" if row["trial"] == knee else "front", *_figures(row, metric)) for row in found["front"]]
    rows += [("best", *_figures(found["best"], metric))] if found["best"] else []
    emit_table(("WHAT", "TRIAL", f"VALID {metric}", "LATENCY MS", "BYTES", "MODEL"), rows)
    emit("")
    if found["chosen"]:
        emit(f"chosen:  trial {found['chosen']['trial']} ({found['chosen']['chosen']['reason']})")
    ended = ", ".join(f"{count} {status}" for status, count in found["trials"].items())
    emit(f"trials:  {ended}; stopped by {found['search']['stopped_by']}; {found['seconds']:.1f} s")
    emit(f"folder:  {folder}")


def _figures(row: Mapping[str, Any], metric: str) -> tuple[str, ...]:
    value, cost = row["valid"].get(metric), row["cost"]
    shown = row.get("status", "") if value is None else f"{value:.4f}"
    return str(row["trial"]), shown, f"{cost['latency_ms']:.3f}", f"{cost['bytes']:,.0f}", row["architecture"] or row["blueprint"]
