"""Search strategies with illegal, irreproducible or meddling sessions, each beside a sound one."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from autorec_kernel.config import ComponentConfig
from autorec_kernel.records.trial import Proposal, Trial
from autorec_kernel.space import Genotype, Int, SearchSpace


class Session:
    """Draws at random and counts what it was told."""

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.told: list[Trial] = []

    def ask(self, count: int, rng: np.random.Generator) -> tuple[Proposal, ...]:
        return tuple(self.propose(rng) for _ in range(count))

    def propose(self, rng: np.random.Generator) -> Proposal:
        return Proposal(self.space.sample(rng), reason=f"after {len(self.told)} trials")

    def tell(self, trials: Sequence[Trial]) -> None:
        self.told += trials

    def best(self) -> Trial | None:
        return max(self.told, key=lambda trial: trial.value, default=None)


class Counting:
    """Random draws."""

    class Config(ComponentConfig):
        """No options."""

    session: Any = Session

    def __init__(self, config: Config) -> None:
        self.config = config

    def start(self, space: SearchSpace, objectives: Sequence[str]) -> Any:
        return self.session(space)


class _Marking(Session):
    def tell(self, trials: Sequence[Trial]) -> None:
        super().tell(trials)
        for trial in trials:
            if isinstance(trial.metrics, dict) and trial.metrics:
                trial.metrics["seen"] = 1.0


class MarksTrials(Counting):
    """DEFECT (mutated inputs): writes into the metrics of the trials it is told."""

    session = _Marking


class _Array(Session):
    def propose(self, rng: np.random.Generator) -> Proposal:
        drawn = super().propose(rng)
        return Proposal(drawn.genotype, reason=np.float64(len(self.told))) if self.told else drawn  # type: ignore[arg-type]


class ArrayReason(Counting):
    """DEFECT (unserialisable state): reasons are numpy numbers once something was told."""

    session = _Array


class _Dice(Session):
    def propose(self, rng: np.random.Generator) -> Proposal:
        return super().propose(np.random.default_rng())


class GlobalDice(Counting):
    """DEFECT (non-deterministic proposals): draws from a generator of its own that nobody seeded."""

    session = _Dice


class _Remembering(Session):
    def __init__(self, space: SearchSpace) -> None:
        super().__init__(space)
        self.asked = 0

    def propose(self, rng: np.random.Generator) -> Proposal:
        self.asked += 1
        skipped = rng.integers(0, 2**31, self.asked)
        return super().propose(np.random.default_rng(skipped))


class RemembersAsking(Counting):
    """DEFECT (non-deterministic proposals): depends on how often it was asked, which a replayed journal does not tell."""

    session = _Remembering


class _ByName(Session):
    def names(self) -> list[str]:
        return sorted(set(self.space))

    def propose(self, rng: np.random.Generator) -> Proposal:
        values = dict(self.space.default())
        for name in self.names():
            if name in values:
                values[name] = self.space[name].domain.sample(rng)
        kept = {name: value for name, value in values.items() if self.space[name].parent is None}
        return Proposal(self.space.canonical(kept))


class Sorted(Counting):
    """Draws gene by gene, by name."""

    session = _ByName


class _BySet(_ByName):
    def names(self) -> list[str]:
        return list(set(self.space))


class SetOrder(Sorted):
    """DEFECT (non-deterministic proposals): draws gene by gene in the order of a set of texts, which differs from process to process."""

    session = _BySet


class _Mutating(Session):
    def propose(self, rng: np.random.Generator) -> Proposal:
        best = self.best()
        if best is None or rng.random() < 0.2:
            return super().propose(rng)
        return Proposal(self.space.mutate(best.genotype, rng), best.number, "one gene of the best")


class Mutating(Counting):
    """Mutations of the best trial."""

    session = _Mutating


class _Leftovers(_Mutating):
    def propose(self, rng: np.random.Generator) -> Proposal:
        found, best = super().propose(rng), self.best()
        if best is None:
            return found
        return Proposal(Genotype({**best.genotype, **found.genotype}), best.number, "best with changes")


class KeepsLeftovers(Mutating):
    """DEFECT (invalid genotypes): genes that a change of their parent put to sleep stay in."""

    session = _Leftovers


class _Raw(_Mutating):
    def propose(self, rng: np.random.Generator) -> Proposal:
        found = super().propose(rng)
        if not any(trial.status == "crashed" for trial in self.told):
            return found
        roots = {name: value for name, value in found.genotype.items() if self.space[name].parent is None}
        return Proposal(Genotype(roots), found.parent, "cautious after a crash")


class RawAfterFailure(Mutating):
    """DEFECT (invalid genotypes): after a crash it proposes roots only, without the genes they wake."""

    session = _Raw


class _Stepping(Session):
    def step(self, domain: Int, value: int) -> int:
        return min(domain.high, value + domain.step)

    def propose(self, rng: np.random.Generator) -> Proposal:
        values = dict(self.space.sample(rng))
        best = self.best()
        for name, value in itertools.islice(values.items(), len(values) if best is not None else 0):
            domain = self.space[name].domain
            if isinstance(domain, Int) and not any(gene.parent == name for gene in self.space.genes):
                values[name] = self.step(domain, int(value))  # type: ignore[arg-type]
        return Proposal(Genotype(values))


class Stepping(Counting):
    """Draws, and a step upwards."""

    session = _Stepping


class _Outside(_Stepping):
    def step(self, domain: Int, value: int) -> int:
        return value + domain.step


class StepsOutside(Stepping):
    """DEFECT (invalid genotypes): the step upwards may leave the domain."""

    session = _Outside
