"""`autorec features`: the feature stage alone, from a table to an audited feature set; `explain` says why each feature is there."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from autorec_kernel.cli.data import parse_pairs
from autorec_kernel.cli.host import kernel_of
from autorec_kernel.cli.output import emit, emit_json
from autorec_kernel.cli.target import packaged
from autorec_kernel.errors import DataError, InfrastructureError, UsageError

if TYPE_CHECKING:
    from autorec_kernel.kernel import Kernel
    from autorec_kernel.recipe import Recipe

__all__ = ["app", "read_explanation"]

_DATA = "CSV, TSV or Parquet file (plain or gzip), or what a reader plugin opens; default: the MovieLens ratings of the package."
_ACCEPT = "A column that may explain the label alone, because it is known when an answer is needed (repeatable)."
_FEATURES, _AUDIT, _SELECTION = "features.json", "audit.json", "selection.json"


class _BuildByDefault(TyperGroup):
    """`autorec features DATA` means `autorec features build DATA`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = bool(args) and (args[0] in self.commands or args[0] in ("--help", "-h"))
        return super().parse_args(ctx, args if named else ["build", *args])


app = typer.Typer(cls=_BuildByDefault, help="Build the features of a table (autorec features DATA --out DIR), or explain those of a run.")


@app.callback()
def _group() -> None:
    """Build the features of a table (autorec features DATA --out DIR), or explain those of a run."""


@app.command("build")
def build(
    context: typer.Context,
    data: Annotated[str | None, typer.Argument(help=_DATA, metavar="[DATA]", show_default=False)] = None,
    users: Annotated[str | None, typer.Option(help="Table with one row a user.", metavar="FILE")] = None,
    items: Annotated[str | None, typer.Option(help="Table with one row an item.", metavar="FILE")] = None,
    task: Annotated[str | None, typer.Option(help="What to predict; default: recommend.", metavar="recommend|rate|click")] = None,
    budget: Annotated[str | None, typer.Option(help="Time for the features: 90s, 5min, 1h; default: no limit.", metavar="TIME")] = None,
    memory: Annotated[float | None, typer.Option(help="GB for the features; default: half of what is available.", min=0)] = None,
    features: Annotated[str | None, typer.Option(help="All that pay, or columns as they are; default: auto.", metavar="auto|raw")] = None,
    protocol: Annotated[str | None, typer.Option(help="given, temporal, leave-one-out or random.", metavar="P")] = None,
    role: Annotated[list[str] | None, typer.Option(help="Overrule a role (repeatable).", metavar="COLUMN=ROLE")] = None,
    kind: Annotated[list[str] | None, typer.Option(help="Overrule a kind (repeatable).", metavar="COLUMN=KIND")] = None,
    positive_threshold: Annotated[float | None, typer.Option(help="Label at or above which a row is positive.")] = None,
    deduplicate: Annotated[str | None, typer.Option(help="What happens to repeated pairs of user and item.", metavar="none|last")] = None,
    accept_leak: Annotated[list[str] | None, typer.Option(help=_ACCEPT, metavar="COLUMN")] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything random; default: 0.")] = None,
    recipe: Annotated[Path | None, typer.Option(help="TOML file of options; those given here win.", metavar="FILE")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder that the feature set is written to; default: none is.", metavar="DIR")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Build the features of a table, audit them for leaks, and say why each op is in or out.

    Try: autorec features ratings.csv --task rate --out features
    """
    from autorec_kernel.recipe import parse_budget, read_recipe

    stated = {
        "task": task,
        "features": features,
        "protocol": protocol,
        "roles": parse_pairs("--role", role or ()) or None,
        "kinds": parse_pairs("--kind", kind or ()) or None,
        "positive_threshold": positive_threshold,
        "deduplicate": deduplicate,
        "accept_leak": tuple(accept_leak or ()) or None,
        "seed": seed,
    }
    plan = read_recipe(recipe, {name: value for name, value in stated.items() if value is not None})
    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InfrastructureError("the folder is not empty", where=str(out), hint="choose a new folder for --out")
    source, items = (data, items) if data is not None else packaged(users, items)
    limits = (None if budget is None else parse_budget(budget), None if memory is None else memory * 1e9)
    fresh = out is not None and not out.exists()
    try:
        found = _watched(kernel_of(context), plan, source, users, items, limits, out)
    except (DataError, UsageError):
        if fresh and out is not None:
            shutil.rmtree(out, ignore_errors=True)
        raise
    emit_json(found) if as_json else _print(found)
    if out is not None and not as_json:
        emit(f"next: autorec features explain {out}")


@app.command("explain")
def explain(
    run: Annotated[Path, typer.Argument(help="Folder of a run, or of a feature set.", metavar="RUN_OR_DIR")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say why each op is in or out, what each feature is and what a selector thought of it, and what the audit looked at.

    Try: autorec features explain runs/ratings-recommend-20260101-120000
    """
    found = read_explanation(run)
    emit_json(found) if as_json else _print(found)


def read_explanation(run: Path) -> dict[str, Any]:
    """Return plan, features, audit and selection of a feature set as JSON values; `null` where there is none.

    Args:
        run: The folder of a feature set, or of a run that holds one.

    Raises:
        UsageError: There is none.
    """
    folder = next((one for one in (run, run / "features") if (one / _FEATURES).is_file()), None)
    if folder is None:
        hint = "name the folder given as --out of autorec run or autorec features"
        raise UsageError("there is no feature set in this folder", where=str(run), hint=hint)
    stored, audit, chosen = (_read(folder / name) for name in (_FEATURES, _AUDIT, _SELECTION))
    assert stored is not None
    return _explained(stored["plan"], stored["schema"]["features"], stored["task"], stored["seconds"], audit, chosen, str(folder))


def _explained(
    plan: Any, features: Any, task: str, seconds: float, audit: Any, chosen: Mapping[str, Any] | None, folder: str | None
) -> dict[str, Any]:
    told = chosen or {}
    rows = [
        {**one, "score": told.get("scores", {}).get(one["name"]), "reason": told.get("reasons", {}).get(one["name"], "")}
        for one in features
    ]
    selection = {name: told.get(name, empty) for name, empty in (("selector", ""), ("note", ""), ("dropped", {}), ("curve", []))}
    return {"folder": folder, "task": task, "seconds": seconds, "plan": plan, "features": rows, "selection": selection, "audit": audit}


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InfrastructureError(f"cannot be read: {error}", where=str(path)) from error
    return found if isinstance(found, dict) else None


def _watched(
    kernel: Kernel, plan: Recipe, source: Any, users: Any, items: Any, limits: tuple[Any, Any], out: Path | None
) -> dict[str, Any]:
    from dataclasses import asdict

    from autorec_kernel.cli.progress import Warnings, reporting
    from autorec_kernel.features import build_features
    from autorec_kernel.stages.log import log_to
    from autorec_kernel.stages.prepare import HISTORY, audited, open_table, ops_of, selected
    from autorec_kernel.stages.workplace import make_folder

    kernel.require("feature-op")
    with ExitStack() as stack:
        shown = stack.enter_context(reporting("", limits[0]))
        shown.stage("data", "reading the table")
        dataset = open_table(source, plan, kernel, users, items)
        if out is not None:
            make_folder(out)
            stack.enter_context(log_to(out, kernel, Warnings(shown), level=logging.INFO))
        shown.stage("features", "building features")
        found = build_features(
            dataset,
            ops_of(kernel, plan),
            folder=out,
            seed=plan.seed,
            budget_seconds=limits[0],
            budget_bytes=limits[1],
            history_length=HISTORY,
            report=lambda row: shown.stage("features", f"{row['op']} {_of(row['config'])}".rstrip()),
            task=plan.task,
        )
        shown.stage("features", "looking for leaks")
        report = audited(dataset, found, kernel, plan, out).to_json()
        shown.stage("features", "asking which are worth keeping")
        chosen = asdict(selected(found, kernel, plan, out))
        features = [asdict(feature) for feature in found.schema.features]
    return _explained(found.plan, features, plan.task, found.seconds, report, chosen, None if out is None else str(out))


def _of(config: Mapping[str, Any]) -> str:
    """Return what a config is about: the column or entity it names, else its first option."""
    return str(next((config[name] for name in ("column", "columns", "entity") if config.get(name)), ""))


def _print(found: Mapping[str, Any]) -> None:
    from autorec_kernel.cli.explain import print_features

    print_features(found)
