"""The controller network: an LSTM that reads the token it chose last and gives the distribution of the next one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from autorec_reinforce.tokens import Slot

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Draw", "Policy", "Walk", "reinforce_loss"]

Tokens = Sequence[tuple[str, int]]
_SPREAD = 0.1  # first weights are even in ±0.1 (Zoph and Le 2017)


class Policy:
    """π(a) = Π_t π(a_t | a_<t), one softmax head and one embedding table a slot, one LSTM cell for all.

    All weights are float64 tensors, so that the result does not hang on the order of a vectorised sum. Drawing and
    differentiating touch no global generator.

    Args:
        slots: Slot by name.
        width: Size of the hidden state and of the embeddings.
        rng: Source of the first weights.
    """

    def __init__(self, slots: Mapping[str, Slot], width: int, rng: np.random.Generator) -> None:
        self.width = width
        shapes = {"start": (width,), "lstm": (4 * width, 2 * width), "gates": (4 * width,)}
        shapes |= {f"head/{name}": (slot.tokens, width) for name, slot in slots.items()}
        shapes |= {f"bias/{name}": (slot.tokens,) for name, slot in slots.items()}
        shapes |= {f"embed/{name}": (slot.tokens, width) for name, slot in slots.items()}
        self.weights = {name: torch.from_numpy(rng.uniform(-_SPREAD, _SPREAD, shape)) for name, shape in shapes.items()}
        for tensor in self.weights.values():
            tensor.requires_grad_(True)

    def log_prob(self, tokens: Tokens) -> Tensor:
        """Return log π of a whole sequence, float64 []."""
        return self.score(tokens)[0]

    def score(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        """Return log π of a sequence and the sum of the entropies of its steps, both float64 []."""
        walk, log_prob, entropy = Walk(self), torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
        for slot, token in tokens:
            logs = walk.log_probs(slot)
            log_prob = log_prob + logs[token]
            entropy = entropy - (logs.exp() * logs).sum()
            walk.step(slot, token)
        return log_prob, entropy


class Draw:
    """One architecture being drawn: a call draws the token of the next slot and adds to `log_prob`.

    Args:
        policy: What to draw from.
        rng: Source of the draws.
    """

    def __init__(self, policy: Policy, rng: np.random.Generator) -> None:
        self._walk = Walk(policy)
        self._rng = rng
        self.log_prob = 0.0

    def __call__(self, slot: str) -> int:
        """Return the token drawn for `slot`."""
        with torch.no_grad():
            logs = self._walk.log_probs(slot)
            rising = torch.cumsum(logs.exp(), 0).tolist()
            mark = float(self._rng.random()) * rising[-1]
            token = next((i for i, edge in enumerate(rising) if mark < edge), len(rising) - 1)
            self._walk.step(slot, token)
        self.log_prob += logs[token].item()
        return token


class Walk:
    """The state of one pass through the controller.

    Args:
        policy: Whose weights to use.
    """

    def __init__(self, policy: Policy) -> None:
        self._weights = policy.weights
        self._input = policy.weights["start"]
        self._hidden = torch.zeros(policy.width, dtype=torch.float64)
        self._cell = torch.zeros(policy.width, dtype=torch.float64)
        self._advance()

    def log_probs(self, slot: str) -> Tensor:
        """Return the log-probabilities of the slot's tokens, float64 [tokens]."""
        logits = self._weights[f"head/{slot}"] @ self._hidden + self._weights[f"bias/{slot}"]
        return torch.log_softmax(logits, 0)

    def step(self, slot: str, token: int) -> None:
        """Feed the token that was chosen for `slot`."""
        self._input = self._weights[f"embed/{slot}"][token]
        self._advance()

    def _advance(self) -> None:
        gates = self._weights["lstm"] @ torch.cat([self._input, self._hidden]) + self._weights["gates"]
        keep, write, read, new = gates.chunk(4)
        self._cell = torch.sigmoid(keep) * self._cell + torch.sigmoid(write) * torch.tanh(new)
        self._hidden = torch.sigmoid(read) * torch.tanh(self._cell)


def reinforce_loss(policy: Policy, batch: Sequence[tuple[Tokens, float]], entropy: float) -> Tensor:
    """Return the loss whose negative gradient is E[A ∇ log π] + entropy · E[∇H] (Williams 1992), float64 [].

    Args:
        policy: The controller.
        batch: Sequences, each with its advantage (reward minus baseline).
        entropy: Weight of the entropy bonus.
    """
    total = torch.zeros((), dtype=torch.float64)
    for tokens, advantage in batch:
        log_prob, spread = policy.score(tokens)
        total = total - advantage * log_prob - entropy * spread
    return total / max(1, len(batch))
