"""Which feature ops are fitted: every op proposes itself, the cheapest come first, and what does not fit is told with its reason."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from autorec_kernel.contracts.features import DataProfile, FeatureOp, FeatureProposal, FittedFeatureOp, RejectColumn
from autorec_kernel.errors import AutoRecError, ContractError
from autorec_kernel.features.compute import Fitted
from autorec_kernel.records.table import Table, read_only

__all__ = ["Candidate", "Chosen", "candidates", "fit_candidates"]

_FREE = ("id",)  # names of ops that no budget leaves out: without ids there is nothing to recommend
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One op at one place of the data."""

    op: str
    kind: type[FeatureOp]
    proposal: FeatureProposal

    @property
    def free(self) -> bool:
        """Whether it is taken whatever it costs."""
        return self.op.split("/")[-1] in _FREE

    def row(self, taken: bool, reason: str, seconds: float) -> dict[str, Any]:
        """Return its row of the plan."""
        config = self.proposal.config.model_dump(mode="json")
        return {"op": self.op, "config": config, "seconds": round(seconds, 4), "taken": taken, "reason": reason}


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """A fitted op with the training values that its program must not give, where it has any."""

    candidate: Candidate
    fitted: Fitted
    op: FittedFeatureOp
    seconds: float
    training: Mapping[str, np.ndarray] = field(default_factory=dict)


def candidates(ops: Mapping[str, type[FeatureOp]], profile: DataProfile) -> tuple[list[Candidate], list[dict[str, Any]]]:
    """Ask every op where it applies.

    Returns:
        Candidates, ids first, then the cheapest first, and plan rows of ops that failed to answer.
    """
    found, failed = [], []
    for name, kind in sorted(ops.items()):
        try:
            found += [Candidate(name, kind, proposal) for proposal in kind.propose(profile)]
        except (Exception, SystemExit) as error:
            _log.warning("feature op %r cannot propose: %s", name, error)
            failed.append({"op": name, "config": {}, "seconds": 0.0, "taken": False, "reason": f"propose raised {_told(error)}"})
    order = sorted(range(len(found)), key=lambda i: (not found[i].free, found[i].proposal.seconds, found[i].op, i))
    return [found[i] for i in order], failed


def fit_candidates(
    wanted: Iterable[Candidate],
    train: Table,
    tables: Mapping[str, Table],
    *,
    seed: int,
    budget: float | None,
    check: Callable[[Chosen], None],
    plan: list[dict[str, Any]],
) -> Iterator[Chosen]:
    """Yield the fitted ops; every candidate adds one row to `plan`.

    Args:
        budget: Seconds for estimated costs; None = no limit.
        check: Called with a fitted op; what it raises turns the op down.
    """
    spent, names = 0.0, set[str]()
    train, tables = read_only(train), {name: read_only(table) for name, table in tables.items()}
    for number, candidate in enumerate(wanted):
        cost = candidate.proposal.seconds
        if budget is not None and not candidate.free and spent + cost > budget:
            plan.append(candidate.row(False, f"needs about {cost:.2f} s, {max(budget - spent, 0):.2f} s are left", 0.0))
            continue
        spent += 0.0 if candidate.free else cost
        start = time.perf_counter()
        try:
            chosen = _fit(candidate, train, tables, np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,))), names)
            check(chosen)
        except (Exception, SystemExit) as error:
            plan.append(candidate.row(False, _reason(candidate, error), time.perf_counter() - start))
            continue
        names |= {feature.name for feature in chosen.fitted.features}
        plan.append(candidate.row(True, candidate.proposal.reason, time.perf_counter() - start))
        yield chosen


def _fit(candidate: Candidate, train: Table, tables: Mapping[str, Table], rng: np.random.Generator, names: set[str]) -> Chosen:
    start = time.perf_counter()
    op = candidate.kind(candidate.proposal.config).fit(train, tables, rng)  # type: ignore[call-arg]
    program, features = op.program(), tuple(replace(feature, op=candidate.op) for feature in op.outputs)
    if len(program.outputs) != len(features):
        raise ContractError(f"{len(features)} features, but its program has {len(program.outputs)} outputs")
    twice = sorted(names & {feature.name for feature in features})
    if twice:
        raise RejectColumn(f"features {twice} exist already")
    training = {name: np.asarray(value) for name, value in (op.training_values(train) or {}).items()}
    return Chosen(candidate, Fitted(features, program), op, time.perf_counter() - start, training)


def _reason(candidate: Candidate, error: BaseException) -> str:
    if isinstance(error, RejectColumn):
        return f"rejected: {error.message}"
    _log.warning("feature op %r is left out: %s", candidate.op, error)
    return f"failed: {_told(error)}"


def _told(error: BaseException) -> str:
    return error.message if isinstance(error, AutoRecError) else f"{type(error).__name__}: {error}"
