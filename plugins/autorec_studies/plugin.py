"""Declares the commands after a search and the exporter of its journal; nothing heavy is imported until one is used."""

from __future__ import annotations

from autorec_kernel.markers import hookimpl
from autorec_kernel.registry.spec import ComponentSpec

__all__ = ["autorec_cli_commands", "autorec_exporters"]

_OPTUNA, _EXTRA = ("optuna",), "bayes"


@hookimpl
def autorec_cli_commands() -> tuple[ComponentSpec, ...]:
    """Return the subcommands of this package."""
    return (
        ComponentSpec("search", "autorec_studies.search_command:search", "Search alone, on a feature set that is there."),
        ComponentSpec("replay", "autorec_studies.replay_command:replay", "Run the search of a run again, and compare."),
        ComponentSpec("refresh", "autorec_studies.refresh_command:refresh", "Score the front of a run again on new data."),
        ComponentSpec("transfer", "autorec_studies.transfer_command:transfer", "Fine-tune what a run has found on new data."),
        ComponentSpec(
            "export-study", "autorec_studies.study_command:export_study", "Write the trials of a run as an Optuna study.", _OPTUNA, _EXTRA
        ),
    )


@hookimpl
def autorec_exporters() -> tuple[ComponentSpec, ...]:
    """Return the exporters of this package."""
    summary = "The trials of a run as an Optuna study in an SQLite file, for its dashboard."
    return (ComponentSpec("optuna-study", "autorec_studies.study:write_file", summary, _OPTUNA, _EXTRA),)
