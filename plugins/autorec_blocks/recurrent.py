"""Recurrent units whose update gate obeys attention: AUGRU and AGRU (Zhou et al. 2019)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn

from autorec_blocks.base import Block
from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Port, TensorSpec
from autorec_kernel.space import Choice, Int

__all__ = ["AttentionGru"]

Steps = tuple[torch.Tensor, torch.Tensor]  # float32 [A, L, E], mask bool [A, L]


class AttentionGru(Block):
    """A gated recurrent unit in which the weight a_t of a step decides how far the state moves (DIEN, Zhou et al. 2019).

    r = σ(W_r i + U_r h + b_r), n = tanh(W_n i + r ∘ U_n h + b_n), h' = (1 - g) ∘ h + g ∘ n (equations 2 to 5), where the gate g is
    `augru`: a_t · σ(W_u i + U_u h + b_u) (equations 9 and 10) | `agru`: a_t (equation 8).
    """

    class Config(ComponentConfig):
        """Options."""

        width: Annotated[int, Int(8, 256, log=True), Field(ge=1)] = Field(64, description="Hidden state dimension.")
        mode: Annotated[Literal["augru", "agru"], Choice("augru", "agru")] = Field("augru", description="What the weight does to the gate.")
        max_length: int = Field(50, ge=1, description="Longest history; an exported graph is unrolled to it.")

    accepts: ClassVar[tuple[Port, ...]] = ("sequence", "sequence")
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return one hidden state a step.

        Raises:
            ContractError: The second input is not one weight a step.
        """
        if specs[0].index or specs[1].index or specs[1].width != 1:
            raise ContractError("an attention GRU takes steps of numbers and one weight a step (blocks/attention-weights)")
        return TensorSpec("sequence", specs[0].axis, width=self.config.width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: [A, L, E] and weights [A, L, 1] to [A, L, width]."""
        return _AttentionGru(specs[0].width, self.config)


class _AttentionGru(nn.Module):
    """Input projections of all steps are one matrix product; the loop over steps holds what depends on the state."""

    def __init__(self, width: int, config: AttentionGru.Config) -> None:
        super().__init__()
        self.gated, self.longest, hidden = config.mode == "augru", config.max_length, config.width
        gates = 3 if self.gated else 2
        self.inputs, self.states = nn.Linear(width, gates * hidden), nn.Linear(hidden, gates * hidden, bias=False)
        bound = 1 / math.sqrt(hidden)  # as torch.nn.GRU starts
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)
        self.hidden = hidden

    def forward(self, value: Steps, attention: Steps) -> Steps:
        steps, mask = value
        weights, length = attention[0], mask.shape[1]
        free = torch.compiler.is_exporting() and not isinstance(length, int)
        if free:  # a graph has no loop over a free length: it runs the longest one, where the last step repeats behind the end
            place = torch.arange(self.longest, device=steps.device).clamp(max=length - 1)
            steps, weights = steps.index_select(1, place), weights.index_select(1, place)
        states = self._run(self.inputs(steps).transpose(0, 1), weights.transpose(0, 1))
        if free:
            states = states.index_select(1, torch.arange(length, device=steps.device))
        return states.masked_fill(~mask.unsqueeze(-1), 0.0), mask

    def _run(self, projected: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Return float32 [A, L, H] from input projections [L, A, G·H] and weights [L, A, 1]."""
        state = projected.new_zeros(projected.shape[1], self.hidden)
        found, rest = [], projected.shape[2] - self.hidden
        for step, weight in zip(projected.unbind(0), weights.unbind(0), strict=True):
            own = self.states(state)
            gates = torch.sigmoid(step[:, :rest] + own[:, :rest])
            candidate = torch.tanh(step[:, rest:] + gates[:, : self.hidden] * own[:, rest:])
            moved = weight * gates[:, self.hidden :] if self.gated else weight
            state = state + moved * (candidate - state)
            found.append(state)
        return torch.stack(found, 1)
