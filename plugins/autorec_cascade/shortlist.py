"""`Shortlist`: the first stage of a cascade hands over the items with its best scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import nn

from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Port, TensorSpec
from autorec_kernel.space import Bool, Int

__all__ = ["Shortlist"]

_STEPS = 1 << 14  # steps between 0 and the largest score of a row: coarser than what two runtimes' sums differ by
_SEEN, _NONE = 1 << 20, 1 << 30  # steps by which items of the history, and row 0, stand behind all others
_TINY = 1e-30  # largest score below which a row has none


class Shortlist:
    """The `count` items with the best scores, best first; items that the history holds come last, and row 0 is no item.

    Scores are compared in steps of a 16,384th of the row's largest one, and equal ones are ordered by item row: two runtimes that add
    the same numbers in another order then choose the same items, but where a sum lies on the edge of a step. Choosing passes no gradient.
    """

    class Config(ComponentConfig):
        """Options."""

        count: Annotated[int, Int(20, 500, log=True), Field(ge=1)] = Field(100, description="Items that are handed over.")
        seen: Annotated[bool, Bool()] = Field(
            False, description="Whether items of the history compete too, as suits data in which users choose items again."
        )

    accepts: ClassVar[tuple[Port, ...]] = ("scores", "sequence")
    variadic: ClassVar[bool] = False
    arrays: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: Config) -> None:
        self.config = config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return fields of item rows; fewer than `count` where the catalogue has no more.

        Raises:
            ContractError: The scores are not those of a catalogue of two items at least, or the history does not come as item rows.
        """
        scores, history = specs
        if scores.rows < 3:
            raise ContractError(f"a shortlist takes scores of a catalogue of two items at least, got {max(0, scores.rows - 1)}")
        if not history.index:
            raise ContractError("a shortlist reads a history of item rows: give its @history source index = true")
        return TensorSpec("fields", scores.axis, fields=min(self.config.count, scores.rows - 1), rows=scores.rows, index=True)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: float32 [A, N] and int64 [A, L] with its mask to int64 [A, count]."""
        return _Shortlist(self.output(specs).fields, specs[0].rows, self.config.seen)


class _Shortlist(nn.Module):
    places: torch.Tensor

    def __init__(self, count: int, items: int, seen: bool) -> None:
        super().__init__()
        self.count, self.items, self.seen = count, items, seen
        places = items - torch.arange(items)  # of two items in one step the one with the lower row goes first
        places[0] = -_NONE * items
        self.register_buffer("places", places, persistent=False)

    @torch.no_grad()
    def forward(self, scores: torch.Tensor, history: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        largest = scores[:, 1:].abs().amax(1, keepdim=True).clamp(min=_TINY)
        steps = torch.round((scores / largest).clamp(-1.0, 1.0) * _STEPS).to(torch.int64)  # row 0 may be anything
        if not self.seen:
            rows, mask = history
            found = torch.zeros_like(scores).scatter_add(1, rows * mask, torch.ones_like(rows, dtype=scores.dtype))
            steps = steps - (found > 0).to(torch.int64) * _SEEN
        return torch.topk(steps * self.items + self.places, self.count, dim=1).indices
