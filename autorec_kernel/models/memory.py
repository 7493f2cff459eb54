"""`Memory`: what `~` inputs read, the values of the previous step of each batch slot (session-parallel training)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from autorec_kernel.records.architecture import Node, TensorSpec

__all__ = ["RESET", "Memory"]

RESET = "@reset"  # batch entry bool [A]: slots where a session begins


class Memory:
    """Values of the last training batch, detached.

    Args:
        nodes: The graph.
        specs: Node id → spec.
    """

    def __init__(self, nodes: Sequence[Node], specs: Mapping[str, TensorSpec]) -> None:
        names = dict.fromkeys(name[1:] for node in nodes for name in node.inputs if name.startswith("~"))
        self.widths = {name: specs[name].width for name in names}
        self._values: dict[str, torch.Tensor] = {}

    def read(self, name: str, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return float32 [A, D]: the previous value of each slot, zeros where a session begins; zeros for a batch without sessions."""
        first = next(iter(batch.values()))
        before = self._values.get(name)
        if RESET not in batch or before is None or before.shape[0] != first.shape[0]:
            return torch.zeros(first.shape[0], self.widths[name], device=first.device)
        return before.masked_fill(batch[RESET].bool().unsqueeze(1), 0.0)

    def keep(self, values: Mapping[str, Any], batch: Mapping[str, torch.Tensor]) -> None:
        """Remember the values of a batch of sessions."""
        if RESET in batch:
            self._values = {name: values[name].detach() for name in self.widths if name in values}

    def clear(self) -> None:
        """Forget everything."""
        self._values = {}
