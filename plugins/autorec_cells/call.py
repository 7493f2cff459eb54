"""What an operation is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autorec_cells.draft import Draft, Value
from autorec_cells.joining import as_steps, as_vector
from autorec_kernel.records.architecture import Port

__all__ = ["Call"]

_ROOM = 8  # steps that may join a history behind its newest one


@dataclass(frozen=True, slots=True)
class Call:
    """One operation on its inputs.

    Args:
        draft: Where nodes are added.
        inputs: At least one; the first is the left one.
        options: The node's options by name (`size`, `layers`, …).
        causal: Whether attention sees older steps alone.
        length: Longest history.
        dropout: Share of units dropped while training.
        widest: Most units of a layer that is applied to every step.
    """

    draft: Draft
    inputs: tuple[Value, ...]
    options: Mapping[str, Any]
    causal: bool
    length: int
    dropout: float
    widest: int

    @property
    def size(self) -> int:
        """Return the width that the operation is to have."""
        return int(self.options["size"] if "size" in self.options else self.options["states"])

    @property
    def layers(self) -> int:
        """Return how many layers it is to have."""
        return int(self.options["layers"])

    @property
    def room(self) -> int:
        """Return how many steps any sequence may have that positions or ages tell apart."""
        return max(self.length, 32) + _ROOM

    @property
    def sequential(self) -> bool:
        """Return whether an input is a sequence."""
        return any(value.port == "sequence" for value in self.inputs)

    @property
    def others(self) -> tuple[Value, ...]:
        """Return all inputs but the main one: the first sequence, or the left one."""
        return tuple(value for value in self.inputs if value is not self.main)

    @property
    def main(self) -> Value:
        """Return the first sequence, or the left input where there is none."""
        return next((value for value in self.inputs if value.port == "sequence"), self.inputs[0])

    def steps(self, *, append: bool = True) -> Value:
        """Return all inputs as one sequence."""
        return as_steps(self.draft, self.inputs, append=append)

    def vector(self) -> Value:
        """Return all inputs as one vector."""
        return as_vector(self.draft, self.inputs)

    def add(self, block: str, *inputs: Value, port: Port, width: int, fields: int = 0, **config: Any) -> Value:
        """Return the value of a new node with these options."""
        return self.draft.add(block, inputs, config, port=port, width=width, fields=fields)
