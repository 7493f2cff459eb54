"""REINFORCE over genotypes: a controller proposes, the told objectives reward it."""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import MutableMapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from pydantic import Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.records.trial import Proposal, Trial
from autorec_kernel.space import Genotype, SearchSpace
from autorec_reinforce.policy import Draw, Policy, reinforce_loss
from autorec_reinforce.reward import MovingBaseline, Places
from autorec_reinforce.tokens import decode, encode, slots_of

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Controller", "ControllerSession"]

_REASON = "controller draw"
_DRAWS = 8  # draws before a repeated proposal is moved to a neighbour
_CLIP = 3.0  # largest advantage, in spreads: one outlier does not decide the policy


class Controller:
    """An LSTM that decides gene after gene (Zoph and Le 2017), trained with REINFORCE (Williams 1992) and Adam.

    The reward is the place of the objective among the earlier ones, so that its scale does not matter (`Places`); the advantage is the
    reward minus a moving-average baseline; an entropy bonus keeps the policy from closing early. A failed
    trial earns the worst reward seen so far. Trials that the controller did not draw (baselines, neighbours of repeats) teach it
    only where they were better than the baseline.
    """

    class Config(ComponentConfig):
        """Options of the controller."""

        width: int = Field(32, ge=1, le=4096, description="Size of the LSTM's state.")
        learning_rate: float = Field(0.02, gt=0.0, le=10.0, description="Step size of Adam.")
        entropy: float = Field(0.1, ge=0.0, le=1000.0, description="Weight of the entropy bonus.")
        decay: float = Field(0.8, ge=0.0, lt=1.0, description="Weight of the past in the baseline, per block.")
        steps: int = Field(1, ge=1, le=10_000, description="Gradient steps per block.")
        block: int = Field(12, ge=1, le=100_000, description="Trials that make a gradient: batches are gathered until they are as many.")

    def __init__(self, config: Config) -> None:
        self.config = config

    def start(self, space: SearchSpace, objectives: Sequence[str]) -> ControllerSession:
        """Begin a search; several objectives are rewarded by the mean of their standardised values."""
        return ControllerSession(self.config, space, max(1, len(objectives)))


class ControllerSession:
    """Keeps the weights, which are a function of the space, the config and the told batches, and of nothing else.

    Args:
        config: Options of the controller.
        space: Where to search; its digest seeds the first weights.
        objectives: How many values a usable trial carries.
    """

    def __init__(self, config: Controller.Config, space: SearchSpace, objectives: int) -> None:
        self._config = config
        self._space = space
        self._objectives = objectives
        self._slots = slots_of(space)
        self.policy = Policy(self._slots, config.width, np.random.default_rng(int(space.digest, 16)))
        self._optimizer = torch.optim.Adam(self.policy.weights.values(), lr=config.learning_rate)
        self._baseline = MovingBaseline(objectives, config.decay)
        self._places = Places(objectives)
        self._worst: list[float] = []
        self._waiting: list[tuple[Trial, Sequence[float]]] = []
        self._known: dict[Genotype, None] = {}

    def ask(self, count: int, rng: np.random.Generator) -> tuple[Proposal, ...]:
        """Return `count` draws from the policy; a repeat is drawn again and in the end replaced by a neighbour."""
        taken = ChainMap({}, self._known)
        return tuple(self._draw(taken, rng) for _ in range(count))

    def _draw(self, taken: MutableMapping[Genotype, None], rng: np.random.Generator) -> Proposal:
        for _ in range(_DRAWS):
            drawn = decode(self._space, self._slots, Draw(self.policy, rng), rng)
            if drawn not in taken:
                taken[drawn] = None
                return Proposal(drawn, reason=_REASON)
        for genes in range(1, _DRAWS + 1):
            moved = self._space.mutate(drawn, rng, genes)
            if moved not in taken:
                taken[moved] = None
                return Proposal(moved, reason="neighbour of a repeated draw")
        fresh = self._space.sample_new(rng, taken)
        taken[fresh] = None
        return Proposal(fresh, reason="random draw")

    def log_prob(self, genotype: Genotype) -> Tensor:
        """Return log π(genotype) under the present weights, float64 []: over tokens, numbers count by their bin."""
        return self.policy.log_prob(encode(self._space, self._slots, genotype))

    def tell(self, trials: Sequence[Trial]) -> None:
        """Take a batch and learn once a block is full; the last rung of a number counts, trials of other spaces do not."""
        self._known.update(dict.fromkeys(trial.genotype for trial in trials))
        last = {trial.number: trial for trial in sorted(trials, key=_rung) if self._space.admits(trial.genotype)}
        for _, trial in sorted(last.items()):
            reward = self._reward(trial)
            if reward is not None:
                self._waiting.append((trial, reward))
        if len(self._waiting) >= self._config.block:
            self._learn(self._waiting)
            self._waiting = []

    def _learn(self, block: Sequence[tuple[Trial, Sequence[float]]]) -> None:
        """Do `steps` gradient steps on a block of rewarded trials."""
        advantages = self._baseline.advantages(self._places.scores([reward for _, reward in block]))
        clipped = [(trial, max(-_CLIP, min(_CLIP, value))) for (trial, _), value in zip(block, advantages, strict=True)]
        taught = [(trial, value) for trial, value in clipped if value > 0.0 or trial.reason == _REASON]
        tokens = [(encode(self._space, self._slots, trial.genotype), value) for trial, value in taught]
        for _ in range(self._config.steps if tokens else 0):
            self._optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(reinforce_loss(self.policy, tokens, self._config.entropy))
            self._optimizer.step()

    def _reward(self, trial: Trial) -> Sequence[float] | None:
        """Return the objectives; for a failed trial the worst ones so far, None when there are none yet."""
        if len(trial.objectives) != self._objectives or not all(map(math.isfinite, trial.objectives)):
            return list(self._worst) or None
        self._worst = list(map(min, self._worst or trial.objectives, trial.objectives))
        return trial.objectives


def _rung(trial: Trial) -> int:
    return trial.rung
