"""The kit's own plugin: evaluators that behave, hang, raise and die on purpose, to judge executors by."""

from __future__ import annotations

from autorec_kernel.markers import hookimpl
from autorec_kernel.registry.spec import ComponentSpec

__all__ = ["autorec_evaluators"]


@hookimpl
def autorec_evaluators() -> tuple[ComponentSpec, ...]:
    """Return the evaluators of the kit."""
    home = "autorec_kernel.testing.kit_evaluators"
    return (
        ComponentSpec("steady", f"{home}:Steady", "Answers with a number computed from the genotype and the trial."),
        ComponentSpec("hanging", f"{home}:Hanging", "Never returns."),
        ComponentSpec("raising", f"{home}:Raising", "Raises an error of its own."),
        ComponentSpec("exiting", f"{home}:Exiting", "Ends its process without a word."),
        ComponentSpec("greedy", f"{home}:Greedy", "Takes memory until it is stopped."),
    )
