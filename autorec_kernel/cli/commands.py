"""The table of the kernel's own subcommands: name, where it lives, one line of help. A row costs no import until it runs."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["COMMANDS", "Command"]


@dataclass(frozen=True, slots=True)
class Command:
    """One subcommand.

    Args:
        target: `module:name` of a function with Typer annotations, or of a `typer.Typer` with subcommands of its own.
        help: One sentence, shown by `autorec --help`.
    """

    name: str
    target: str
    help: str


COMMANDS: tuple[Command, ...] = (
    Command("run", "autorec_kernel.cli.run:run", "Turn a table of interactions into a verified recommender."),
    Command("recommend", "autorec_kernel.cli.answers:recommend", "Recommend items from a bundle."),
    Command("predict", "autorec_kernel.cli.answers:predict", "Score pairs of user and item with a bundle."),
    Command("evaluate", "autorec_kernel.cli.answers:evaluate", "Measure a bundle on data."),
    Command("drift", "autorec_kernel.cli.drift:drift", "Compare new rows with the training rows of a bundle."),
    Command("bundle", "autorec_kernel.cli.bundle:app", "Verify or inspect a bundle."),
    Command("data", "autorec_kernel.cli.data:app", "Show what is understood of a table."),
    Command("features", "autorec_kernel.cli.features:app", "Build the features of a table, or explain those of a run."),
    Command("status", "autorec_kernel.cli.status:status", "Show how a run stands."),
    Command("plugins", "autorec_kernel.cli.plugins:app", "List, show and check plugins and their components."),
    Command("doctor", "autorec_kernel.cli.doctor:doctor", "Report what this installation can do."),
)
