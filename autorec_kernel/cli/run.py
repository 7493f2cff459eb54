"""`autorec run`: from a table to a verified bundle, with progress on stderr and the result on stdout."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autorec_kernel.cli.data import parse_options, parse_pairs
from autorec_kernel.cli.host import kernel_of
from autorec_kernel.cli.interrupt import stoppable
from autorec_kernel.cli.output import emit_json
from autorec_kernel.cli.target import again, choose_folder, packaged
from autorec_kernel.errors import AutoRecError, DataError, InterruptedRun, PluginError, UsageError

if TYPE_CHECKING:
    from autorec_kernel.kernel import Kernel
    from autorec_kernel.recipe import Recipe

__all__ = ["run"]

_DATA = "CSV, TSV or Parquet file (plain or gzip), or what a reader plugin opens; default: the MovieLens ratings of the package."
_PROTOCOL = "How data is split: given, temporal, leave-one-out or random; default: the first that the columns allow."
_PRESET = "Ready-made options of a plugin (autorec plugins list --kind preset); a recipe and options given here win."
_ACCEPT = "A column that may explain the label alone, because it is known when an answer is needed (repeatable)."
_TARGET = "Where the bundle will run: sets its limits; default: cloud."
_BLUEPRINT = "Blueprint that competes with the baselines (repeatable); default: all that fit."
_FIX = "Option that all candidates of a blueprint have (repeatable), e.g. zoo/sasrec.loss=gbce."
_SET = "Any other key of a recipe (repeatable), e.g. max_params=5000000 or weights.latency=0.1."
_SPACE = "First blueprints with few options, all blueprints, or free cells too; default: wide."
_STRATEGY = "Search strategy (autorec plugins list --kind search-strategy); default: Bayesian optimisation if it is installed."


def run(
    context: typer.Context,
    data: Annotated[str | None, typer.Argument(help=_DATA, metavar="[DATA]", show_default=False)] = None,
    users: Annotated[str | None, typer.Option(help="Table with one row a user.", metavar="FILE")] = None,
    items: Annotated[str | None, typer.Option(help="Table with one row an item.", metavar="FILE")] = None,
    task: Annotated[str | None, typer.Option(help="What to predict; default: recommend.", metavar="recommend|rate|click")] = None,
    target: Annotated[str | None, typer.Option(help=_TARGET, metavar="device|edge|cloud|FILE.toml")] = None,
    max_bytes: Annotated[float | None, typer.Option(help="Bytes of what is served, instead of the target's.", min=1)] = None,
    max_latency_ms: Annotated[float | None, typer.Option(help="Median of one call of --batch rows, instead of the target's.")] = None,
    max_drop: Annotated[float | None, typer.Option(help="Relative loss of the metric by compression, instead of the target's.")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of one answer, instead of the target's.", min=1)] = None,
    batch: Annotated[int | None, typer.Option(help="Rows of the call that is timed, instead of the target's.", min=1)] = None,
    budget: Annotated[str | None, typer.Option(help="Time for the whole run: 90s, 5min, 1h; default: 3min.", metavar="TIME")] = None,
    trials: Annotated[int | None, typer.Option(help="Candidates besides the baselines, instead of a time; repeatable.")] = None,
    blueprint: Annotated[list[str] | None, typer.Option(help=_BLUEPRINT, metavar="ID")] = None,
    fix: Annotated[list[str] | None, typer.Option(help=_FIX, metavar="ID.OPTION=JSON")] = None,
    strategy: Annotated[str | None, typer.Option(help=_STRATEGY, metavar="ID")] = None,
    search_space: Annotated[str | None, typer.Option(help=_SPACE, metavar="narrow|wide|full")] = None,
    metric: Annotated[str | None, typer.Option(help="What to optimise; default: ndcg@10, rmse or auc, by task.", metavar="NAME")] = None,
    protocol: Annotated[str | None, typer.Option(help=_PROTOCOL, metavar="P")] = None,
    role: Annotated[list[str] | None, typer.Option(help="Overrule a role (repeatable).", metavar="COLUMN=ROLE")] = None,
    kind: Annotated[list[str] | None, typer.Option(help="Overrule a kind (repeatable).", metavar="COLUMN=KIND")] = None,
    positive_threshold: Annotated[float | None, typer.Option(help="Label at or above which a row is positive.")] = None,
    deduplicate: Annotated[str | None, typer.Option(help="What happens to repeated pairs of user and item.", metavar="none|last")] = None,
    features: Annotated[str | None, typer.Option(help="All that pay, or columns as they are; default: auto.", metavar="auto|raw")] = None,
    accept_leak: Annotated[list[str] | None, typer.Option(help=_ACCEPT, metavar="COLUMN")] = None,
    live: Annotated[bool, typer.Option("--live", help="Keep in the bundle what later events are folded into.")] = False,
    seed: Annotated[int | None, typer.Option(help="Of everything random; default: 0.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that evaluate candidates; default: one a core, at most 4.")] = None,
    device: Annotated[str | None, typer.Option(help="Where networks train; default: auto.", metavar="auto|cpu|cuda")] = None,
    more: Annotated[list[str] | None, typer.Option("--set", help=_SET, metavar="KEY=JSON")] = None,
    preset: Annotated[str | None, typer.Option(help=_PRESET, metavar="NAME")] = None,
    recipe: Annotated[Path | None, typer.Option(help="TOML file of options; those given here win.", metavar="FILE")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; default: a new one below runs/.", metavar="DIR")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and stop.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Turn a table of interactions into a small, fast, verified recommender.

    Baselines are fitted first, then candidates are searched, the best one is compressed, tested once on held-out rows, and written as a
    bundle that `autorec recommend` answers from. Try: autorec run --budget 1min
    """
    stated = {
        "task": task,
        "target": target,
        "max_bytes": max_bytes,
        "max_latency_ms": max_latency_ms,
        "max_drop": max_drop,
        "serve_threads": threads,
        "serve_batch": batch,
        "budget": budget,
        "trials": trials,
        "blueprints": tuple(blueprint or ()) or None,
        "fixed": parse_options("--fix", fix or ()) or None,
        "strategy": strategy,
        "search_space": search_space,
        "metric": metric,
        "protocol": protocol,
        "positive_threshold": positive_threshold,
        "deduplicate": deduplicate,
        "features": features,
        "accept_leak": tuple(accept_leak or ()) or None,
        "live": live or None,
        "seed": seed,
        "workers": workers,
        "device": device,
        "roles": parse_pairs("--role", role or ()) or None,
        "kinds": parse_pairs("--kind", kind or ()) or None,
    }
    plan = _recipe(recipe, _and_more(stated, parse_options("--set", more or ())), _preset(context, preset))
    source, items = (data, items) if data is not None else packaged(users, items)
    if dry_run:
        _dry_run(source, plan, kernel_of(context), users, items, as_json)
        return
    folder = choose_folder(out, data or "movielens", plan.task, resume=resume)
    result = _run(context, source, plan, folder, users, items, resume)
    if as_json:
        emit_json(result)
        return
    from autorec_kernel.cli.summary import print_summary

    print_summary(result, data or "MovieLens latest-small", folder)


def _preset(context: typer.Context, name: str | None) -> Mapping[str, Any]:
    """Return the options of a preset; none when no preset is named."""
    from autorec_kernel.registry.faults import guarded

    if name is None:
        return {}
    function = kernel_of(context).load("preset", name)
    options, broken = guarded(lambda: dict(function()))
    if broken or options is None:
        raise PluginError(f"preset {name!r} gave no options: {broken}", hint="autorec plugins list --kind preset")
    return options


def _and_more(stated: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with those of `--set`; `weights.latency` is the entry `latency` of the key `weights`.

    Raises:
        UsageError: A key was given by its own option too.
    """
    found = dict(stated)
    for name, value in more.items():
        key, _, entry = name.partition(".")
        if stated.get(key) is not None:
            raise UsageError(f"{key!r} is given twice, by its own option and by --set")
        found[key] = {**(found.get(key) or {}), entry: value} if entry else value
    return found


def _recipe(path: Path | None, stated: Mapping[str, Any], preset: Mapping[str, Any]) -> Recipe:
    """Return the recipe of the file with the options that were given on top, and the preset below."""
    from autorec_kernel.recipe import read_recipe

    given = {name: value for name, value in stated.items() if value is not None}
    if "budget" in given and "trials" in given:
        raise UsageError("a run has either a budget or a number of trials, not both", hint="leave out --budget or --trials")
    return read_recipe(path, given, preset)


def _dry_run(source: Any, plan: Recipe, kernel: Kernel, users: Any, items: Any, as_json: bool) -> None:
    from autorec_kernel.cli.summary import print_plan
    from autorec_kernel.pipeline import plan_run

    found = plan_run(source, plan, kernel, users=users, items=items)
    emit_json(found) if as_json else print_plan(found)


def _run(context: typer.Context, source: Any, plan: Recipe, folder: Path, users: Any, items: Any, resume: bool) -> dict[str, Any]:
    """Run the road with progress and a log; what stops it early says how to go on."""
    fresh = not folder.exists()
    try:
        with stoppable(lambda: again(context, folder)):
            return _watched(source, plan, kernel_of(context), folder, users, items, resume)
    except (KeyboardInterrupt, InterruptedRun):
        told = "the run was stopped; everything finished is kept"
        raise InterruptedRun(told, where=str(folder), hint=again(context, folder)) from None
    except (DataError, UsageError):
        if fresh:
            _forget(folder)
        raise


def _watched(source: Any, plan: Recipe, kernel: Kernel, folder: Path, users: Any, items: Any, resume: bool) -> dict[str, Any]:
    from autorec_kernel.cli.progress import Warnings, reporting
    from autorec_kernel.evaluation import default_metric
    from autorec_kernel.pipeline import run as run_road
    from autorec_kernel.stages.log import Logged, log_to

    if plan.strategy != "auto":
        kernel.find("search-strategy", plan.strategy)  # a wrong name is told before the data is read
    spent, known = _earlier(folder) if resume else (0.0, set())
    with ExitStack() as stack:
        shown = stack.enter_context(reporting(plan.metric or default_metric(plan.task), plan.seconds, spent, known))
        log = stack.enter_context(log_to(folder, kernel, Warnings(shown), level=logging.INFO))
        shown.note(f"the run is in {folder}")
        return run_road(source, plan, kernel, folder, users=users, items=items, resume=resume, reporter=Logged(shown, log))


def _earlier(folder: Path) -> tuple[float, set[tuple[int, int]]]:
    """Return the seconds that earlier sessions used and the (trial, rung) that they finished."""
    from autorec_kernel.search.journal import read_journal
    from autorec_kernel.stages.identity import spent_seconds

    path = folder / "journal.jsonl"
    records = read_journal(path) if path.exists() else ()
    return spent_seconds(records), {(record["trial"], record["rung"]) for record in records if record["kind"] == "result"}


def _forget(folder: Path) -> None:
    """Remove the new folder of a run that never began, because its table, a feature or an option was refused: nothing was searched."""
    from autorec_kernel.search.journal import read_journal

    path = folder / "journal.jsonl"
    try:
        began = path.exists() and any(record["kind"] == "features" for record in read_journal(path))
    except AutoRecError:
        return
    if not began:
        shutil.rmtree(folder, ignore_errors=True)
