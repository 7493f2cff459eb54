"""Searches to judge strategies by: small spaces with every kind of domain, and batches of trials that end in every way."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autorec_kernel.records.trial import STATUSES, Cost, Proposal, Status, Trial
from autorec_kernel.space import Bool, Choice, Float, Floats, Gene, Genotype, Int, Ints, SearchSpace

__all__ = ["SCENARIOS", "Scenario", "batch_rng", "foreign_trials", "spaces", "trials_of"]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One search: which space, how many objectives, how big and how many the batches, and how trials end (in turn)."""

    name: str
    space: str
    objectives: int
    count: int
    batches: int
    endings: tuple[Status, ...]
    foreign: bool = False  # trials of somebody else are told first, and once more in the middle
    constant: bool = False  # all values are equal


SCENARIOS: tuple[Scenario, ...] = (
    Scenario("plain", "tree", 1, 8, 7, ("complete",)),
    Scenario("two objectives", "tree", 2, 6, 5, ("complete", "complete", "stopped"), foreign=True),
    Scenario("every ending", "tree", 1, 9, 5, STATUSES, foreign=True),  # type: ignore[arg-type]
    Scenario("everything fails", "tree", 1, 6, 5, ("failed", "timeout", "oom", "nan", "crashed", "killed", "infeasible")),
    Scenario("one by one", "tree", 1, 1, 14, ("complete", "failed", "complete")),
    Scenario("equal values", "lists", 1, 6, 4, ("complete", "stopped"), constant=True),
    Scenario("more asked than there is", "pair", 1, 9, 3, ("complete",)),
    Scenario("nothing to choose", "single", 2, 3, 3, ("complete",)),
)


def spaces() -> dict[str, SearchSpace]:
    """Return the example spaces by name."""
    tree = (
        Gene("pipeline", Choice(("retriever", "ranker", "none")), "ranker"),
        Gene("ranker.embedding_dim", Int(4, 128, log=True), 16, "pipeline", ("ranker",)),
        Gene("ranker.deep", Bool(), True, "pipeline", ("ranker",)),
        Gene("ranker.hidden_dims", Ints(Int(8, 512, log=True), length=Int(1, 4)), (64, 32), "ranker.deep", (True,)),
        Gene("ranker.dropout", Float(0.0, 0.6), 0.0, "ranker.deep", (True,)),
        Gene("retriever.layers", Int(1, 3), 2, "pipeline", ("retriever",)),
        Gene("retriever.heads", Choice((1, 2, 4)), 2, "retriever.layers", (2, 3)),
        Gene("learning_rate", Float(1e-4, 1e-1, log=True), 1e-3),
        Gene("batch", Int(32, 512, step=32), 128),
        Gene("fixed", Choice(("only",)), "only"),
    )
    lists = (
        Gene("widths", Ints(Int(1, 8), length=Int(1, 3)), (4,)),
        Gene("rates", Floats(Float(0.0, 1.0), length=Int(1, 2)), (0.5,)),
        Gene("point", Float(0.25, 0.25), 0.25),
        Gene("nothing", Choice((None, 1, "1")), None),
    )
    pair = (Gene("flag", Bool(), False),)
    return {"tree": SearchSpace(tree), "lists": SearchSpace(lists), "pair": SearchSpace(pair), "single": SearchSpace([tree[-1]])}


def batch_rng(seed: int, batch: int) -> np.random.Generator:
    """Return the generator of one batch, as the search loop makes it."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(batch, 0)))


def trials_of(scenario: Scenario, proposals: Sequence[Any], first: int) -> tuple[Trial, ...]:
    """Return how the proposals ended, numbered from `first`; values depend on the genotype alone."""
    made = []
    for number, proposal in enumerate(proposals, first):
        ending = scenario.endings[number % len(scenario.endings)]
        made.append(_trial(scenario, number, proposal, ending))
    return tuple(made)


def foreign_trials(scenario: Scenario, space: SearchSpace, first: int) -> Iterator[Trial]:
    """Yield trials that the strategy never proposed: defaults, samples of somebody else, a failed one."""
    rng = np.random.default_rng(99 + first)
    for number, genotype in enumerate((space.default(), space.sample(rng), space.sample(rng)), first):
        yield _trial(scenario, number, Proposal(genotype, reason="baseline"), "failed" if number % 3 == 2 else "complete")


def _trial(scenario: Scenario, number: int, proposal: Any, ending: Status) -> Trial:
    genotype = proposal.genotype
    values = _values(scenario, genotype) if ending in ("complete", "stopped") else ()
    return Trial(
        number=number,
        genotype=genotype,
        status=ending,
        objectives=values,
        metrics={"ndcg@10": values[0]} if values else {},
        rung=number % 2 if ending == "complete" else 0,
        parent=proposal.parent,
        evaluator="kit/evaluator",
        seed=3,
        cost=Cost(parameters=100 * (1 + number)),
        measured={"seconds": 0.1 * number},
        error="" if values else f"{ending} on purpose",
        reason=proposal.reason,
    )


def _values(scenario: Scenario, genotype: Genotype) -> tuple[float, ...]:
    if scenario.constant:
        return (0.5,) * scenario.objectives
    raw = hashlib.sha256(genotype.digest.encode()).digest()
    return tuple(raw[i] / 255 - (i == 1) * 1000.0 for i in range(scenario.objectives))
