"""Declares the training evaluators and the profile of a training step; nothing heavy is imported until one is used."""

from __future__ import annotations

from autorec_kernel.markers import hookimpl
from autorec_kernel.registry.spec import ComponentSpec

__all__ = ["autorec_cli_commands", "autorec_evaluators"]


@hookimpl
def autorec_evaluators() -> tuple[ComponentSpec, ...]:
    """Return the evaluators of this package."""
    summary = "Trains every candidate and measures it on the validation rows."
    return (
        ComponentSpec("full", "autorec_training.full:FullTraining", summary, tags=("default",)),
        ComponentSpec("fine-tuning", "autorec_training.fine_tuning:FineTuning", "Trains from the weights of an earlier run on."),
    )


@hookimpl
def autorec_cli_commands() -> tuple[ComponentSpec, ...]:
    """Return the subcommands of this package."""
    return (ComponentSpec("profile", "autorec_training.profile_command:profile", "Show where the time of a training step goes."),)
