"""`CARD.md`: what a person should know before using a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autorec_kernel.deploy.bundle import BundleFacts

__all__ = ["model_card"]


def model_card(role: str, facts: BundleFacts, sizes: Mapping[str, int]) -> str:
    """Return the card as Markdown; it depends on nothing but its arguments.

    Args:
        role: retriever | ranker.
        facts: What is known about the run.
        sizes: Member name → bytes.
    """
    lines = [
        "# Model card",
        "",
        f"A {role} for the task `{facts.task}`, made by AutoRec kernel. {sum(sizes.values()):,} bytes in {len(sizes)} members.",
        "",
        "## Model",
        "",
        f"Architecture: `{facts.architecture or 'not stated'}`. Seed {facts.seed}.",
        *(f"- compressed by {step.get('component')} {dict(step.get('config', {}))}" for step in facts.steps if step.get("taken", True)),
        "",
        "## Data",
        "",
        *(f"- {name}: {value}" for name, value in sorted(facts.data.items())),
        "",
        "## Quality",
        "",
        f"Protocol: `{facts.protocol}`. Numbers of another protocol are not comparable.",
        "",
        *_table(facts.metrics),
        "",
        "## Limits",
        "",
        "- It knows the users and items of its training data; others are answered from a history where one is given, else by popularity,"
        " and each answer says which (`answered_by`).",
        "- The state of users and items is that of the end of training.",
        "- Verify a bundle before use: `autorec bundle verify PATH` checks every byte and recomputes the golden rows.",
        *(f"- {note}" for note in facts.notes),
        "",
    ]
    return "\n".join(lines)


def _table(metrics: Mapping[str, Mapping[str, float]]) -> list[str]:
    if not metrics:
        return ["No metrics were recorded."]
    names = sorted({name for values in metrics.values() for name in values})
    rows = [[split, *(_number(values.get(name)) for name in names)] for split, values in metrics.items()]
    head = ["split", *names]
    return ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
