"""Laws of search strategies: exact, legal, repeatable proposals, whatever happened to the trials before."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from autorec_kernel.errors import AutoRecError
from autorec_kernel.records.trial import Proposal, Trial
from autorec_kernel.space import Genotype, SearchSpace
from autorec_kernel.testing.fresh import in_fresh_process
from autorec_kernel.testing.search_cases import SCENARIOS, Scenario, batch_rng, foreign_trials, spaces, trials_of
from autorec_kernel.testing.snapshots import digest, first_difference, leaves
from autorec_kernel.testing.surroundings import another_world, globals_kept
from autorec_kernel.testing.violation import demand, violated

__all__ = [
    "check_ask_gives_exactly_what_is_asked",
    "check_ask_uses_no_global_state",
    "check_failures_are_data",
    "check_proposals_are_explained",
    "check_proposals_are_legal",
    "check_proposals_repeat_in_another_process",
    "check_sessions_are_pure",
    "check_sessions_share_nothing",
    "check_trials_stay_as_they_were",
    "recorded_proposals",
]

Told = list[tuple[Trial, ...]]


def check_ask_gives_exactly_what_is_asked(component: Any, config: Any, kernel: Any = None) -> None:
    """`ask(n)` returns a tuple of n proposals, for every n and however small the space."""
    for name, space in spaces().items():
        for count in (1, 2, 5, 33):
            found = component(config).start(space, ("ndcg@10",)).ask(count, batch_rng(0, 0))
            demand(isinstance(found, tuple), f"ask returned a {type(found).__name__}, expected a tuple")
            demand(len(found) == count, f"ask({count}) on the space {name!r} returned {len(found)} proposals")
            strange = [type(p).__name__ for p in found if not isinstance(p, Proposal)]
            demand(not strange, f"ask returned {strange}, expected Proposal records")


def check_proposals_are_legal(component: Any, config: Any, kernel: Any = None) -> None:
    """Every genotype is canonical and legal in its space, also after trials that failed, stopped or came from elsewhere."""
    for scenario in SCENARIOS:
        _search(component(config), scenario)


def check_failures_are_data(component: Any, config: Any, kernel: Any = None) -> None:
    """Batches of only failures, empty batches and batches of strangers are taken, and proposals go on."""
    space = spaces()["tree"]
    for scenario in SCENARIOS:
        if scenario.space != "tree":
            continue
        session = component(config).start(space, _objectives(scenario))
        session.tell(tuple(foreign_trials(scenario, space, 0)))
        session.tell(())
        for batch in range(3):
            _demand_legal(session.ask(4, batch_rng(2, batch)), space, 4, f"after strangers only ({scenario.name})")
            session.tell(trials_of(scenario, [Proposal(space.sample(batch_rng(5, batch)))] * 4, 3 + 4 * batch))


def check_sessions_are_pure(component: Any, config: Any, kernel: Any = None) -> None:
    """A fresh session told the same batches proposes the same, under other global seeds and clocks; asking twice changes nothing."""
    for scenario in SCENARIOS:
        strategy, space = component(config), spaces()[scenario.space]
        proposals, told = _search(strategy, scenario)
        for batch in sorted({0, len(proposals) // 2, len(proposals) - 1}):
            with another_world(1 + batch):
                session = component(config).start(space, _objectives(scenario))
                for trials in told[batch]:
                    session.tell(trials)
                again = session.ask(scenario.count, batch_rng(7, batch))
                twice = session.ask(scenario.count, batch_rng(7, batch))
            demand(_plain(again) == _plain(proposals[batch]), _impure("telling the journal again", scenario, batch))
            demand(_plain(twice) == _plain(again), _impure("asking twice with equal generators", scenario, batch))


def check_proposals_repeat_in_another_process(component: Any, config: Any, kernel: Any = None) -> None:
    """Fresh processes with other hash seeds propose the same: nothing depends on the order of sets, on addresses or on the process."""
    expected = recorded_proposals(component, config)
    for hash_seed in (1, 2):
        found = in_fresh_process("autorec_kernel.testing.checks.strategies:recorded_proposals", component, config, hash_seed)
        demand(found == expected, f"a process with another hash seed ({hash_seed}) proposes differently: order of sets, or the process")


def check_sessions_share_nothing(component: Any, config: Any, kernel: Any = None) -> None:
    """Two sessions of one strategy, over two spaces in turn, propose what each proposes alone."""
    one, two = SCENARIOS[0], SCENARIOS[1]
    alone = [[_plain(batch) for batch in _search(component(config), scenario)[0]] for scenario in (one, two)]
    strategy = component(config)
    turns = [_Turns(strategy, one), _Turns(strategy, two)]
    for _ in range(min(one.batches, two.batches)):
        for turn in turns:
            turn.step()
    for turn, expected in zip(turns, alone, strict=True):
        found = [_plain(batch) for batch in turn.proposals]
        demand(found == expected[: len(found)], "two sessions of one strategy influence each other: state outside the session")


def check_ask_uses_no_global_state(component: Any, config: Any, kernel: Any = None) -> None:
    """Neither start, ask nor tell draws from or seeds the process-wide generators."""
    for scenario in SCENARIOS[:4]:
        with globals_kept("the search session"):
            _search(component(config), scenario)


def check_trials_stay_as_they_were(component: Any, config: Any, kernel: Any = None) -> None:
    """The space, the told trials and the proposals of earlier batches are left as they were."""
    for scenario in SCENARIOS[:4]:
        space = spaces()[scenario.space]
        turn = _Turns(component(config), scenario, space)
        before = digest(space)
        for _ in range(scenario.batches):
            marks = list(leaves([turn.told, turn.proposals]))
            kept = len(turn.told), len(turn.proposals)
            turn.step()
            changed = first_difference(marks, list(leaves([turn.told[: kept[0]], turn.proposals[: kept[1]]])))
            demand(changed is None, f"the session changed trials it was told or proposals it made: {changed}")
        demand(digest(space) == before, "the session changed the space")


def check_proposals_are_explained(component: Any, config: Any, kernel: Any = None) -> None:
    """Reasons are plain text, parents are numbers of told trials, and everything goes into the journal as JSON."""
    for scenario in SCENARIOS[:4]:
        proposals, told = _search(component(config), scenario)
        for batch, (given, known) in enumerate(zip(proposals, told, strict=True)):
            numbers = {trial.number for trials in known for trial in trials}
            for proposal in given:
                good = proposal.parent is None or (type(proposal.parent) is int and proposal.parent in numbers)
                demand(good, f"batch {batch}: parent {proposal.parent!r} is the number of no trial told so far")
                demand(isinstance(proposal.reason, str), f"batch {batch}: the reason is a {type(proposal.reason).__name__}, expected text")
                _demand_json(proposal)


def recorded_proposals(component: Any, config: Any) -> list[Any]:
    """Return all proposals of two searches as plain values."""
    return [_plain(batch) for scenario in (SCENARIOS[1], SCENARIOS[2]) for batch in _search(component(config), scenario)[0]]


class _Turns:
    """One search, a batch a step."""

    def __init__(self, strategy: Any, scenario: Scenario, space: SearchSpace | None = None) -> None:
        self.scenario = scenario
        self.space = space or spaces()[scenario.space]
        self.session = strategy.start(self.space, _objectives(scenario))
        self.told: Told = []
        self.proposals: list[tuple[Proposal, ...]] = []
        self.number = 0
        if scenario.foreign:
            self.tell(tuple(foreign_trials(scenario, self.space, 0)))

    def tell(self, trials: tuple[Trial, ...]) -> None:
        before = list(leaves(trials))
        self.session.tell(trials)
        changed = first_difference(before, list(leaves(trials)))
        demand(changed is None, f"tell changed the trials it was told: {changed}")
        self.told.append(trials)
        self.number += len(trials)

    def step(self) -> None:
        batch = len(self.proposals)
        found = self.session.ask(self.scenario.count, batch_rng(7, batch))
        _demand_legal(found, self.space, self.scenario.count, f"batch {batch} of the search {self.scenario.name!r}")
        self.proposals.append(found)
        trials = trials_of(self.scenario, found, self.number)
        middle = self.scenario.foreign and batch == 1
        self.tell((*trials, *foreign_trials(self.scenario, self.space, self.number + len(trials))) if middle else trials)


def _search(strategy: Any, scenario: Scenario) -> tuple[list[tuple[Proposal, ...]], list[Told]]:
    """Run a search; return the proposals of each batch and what had been told before each."""
    turns = _Turns(strategy, scenario)
    before: list[Told] = []
    for _ in range(scenario.batches):
        before.append(list(turns.told))
        turns.step()
    return turns.proposals, before


def _objectives(scenario: Scenario) -> tuple[str, ...]:
    return ("ndcg@10", "-parameters")[: scenario.objectives]


def _demand_legal(found: Sequence[Any], space: SearchSpace, count: int, where: str) -> None:
    demand(len(found) == count, f"{where}: {len(found)} proposals instead of {count}")
    for position, proposal in enumerate(found):
        genotype = proposal.genotype
        demand(isinstance(genotype, Genotype), f"{where}: proposal {position} holds a {type(genotype).__name__}, expected a Genotype")
        try:
            space.check(genotype)
        except AutoRecError as error:
            violated(f"{where}: proposal {position} is not a legal canonical genotype: {error}")
        demand(
            list(genotype) == list(space.canonical(genotype)), f"{where}: proposal {position} has its genes in another order than the space"
        )


def _demand_json(proposal: Proposal) -> None:
    try:
        text = json.dumps([proposal.genotype.to_json(), proposal.parent, proposal.reason], allow_nan=False)
    except (TypeError, ValueError) as error:
        violated(f"a proposal cannot be written to the journal: {error}")
    demand(Genotype.from_json(json.loads(text)[0]) == proposal.genotype, "a genotype is not the same after a trip through JSON")


def _plain(proposals: Sequence[Proposal]) -> list[Any]:
    return [[proposal.genotype.to_json(), proposal.parent, proposal.reason] for proposal in proposals]


def _impure(how: str, scenario: Scenario, batch: int) -> str:
    return (
        f"{how} gives other proposals in batch {batch} of the search {scenario.name!r}: the session is no pure function of what it was told"
    )
