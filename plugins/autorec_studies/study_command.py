"""`autorec export-study`: the trials of a run as an Optuna study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autorec_kernel.cli.output import emit, emit_json

__all__ = ["export_study"]


def export_study(
    run: Annotated[Path, typer.Argument(help="Folder of a run, or of a search alone.", metavar="RUN")],
    storage: Annotated[str, typer.Option(help="URL of an Optuna storage, e.g. sqlite:///study.db.", metavar="URL")],
    name: Annotated[str | None, typer.Option(help="Name of the study; default: the name of the folder.", metavar="NAME")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write the trials of a run as an Optuna study. Try: autorec export-study run --storage sqlite:///study.db; optuna-dashboard sqlite:///study.db."""
    import optuna

    from autorec_studies.study import write_study

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = write_study(run, storage, name or run.resolve().name)
    finally:
        optuna.logging.set_verbosity(before)
    states = [trial.state.name.lower() for trial in study.get_trials(deepcopy=False)]
    found = {"study": study.study_name, "storage": storage, "trials": {state: states.count(state) for state in sorted(set(states))}}
    if as_json:
        emit_json(found)
        return
    emit(f"study {study.study_name}: {', '.join(f'{count} {state}' for state, count in found['trials'].items())}")  # type: ignore[attr-defined]
    emit(f"next: optuna-dashboard {storage}")
