"""Which feature ops are fitted: every op proposes itself, the cheapest come first, and what does not fit is told with its reason.

A plan can be fitted again as it stands: the ops that were taken, with the decisions that they wrote down, and nobody is asked.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from autorec_kernel.config import ComponentConfig, parse_config
from autorec_kernel.contracts.features import DataProfile, FeatureOp, FeatureProposal, FittedFeatureOp, RejectColumn
from autorec_kernel.errors import AutoRecError, ContractError, PluginError
from autorec_kernel.features.compute import Fitted
from autorec_kernel.records.table import Table, read_only

__all__ = ["Budget", "Candidate", "Chosen", "candidates", "fit_candidates", "free_disk", "free_memory", "planned"]

_FREE = ("id",)  # names of ops that no budget leaves out: without ids there is nothing to recommend
_MEMORY = 0.5  # share of the memory, and of the disk, available that features may take
_FITTING = 2  # times the bytes of its values and tables that an op needs while it is fitted (measured: 1.4 to 2.1)
_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
Plan = list[dict[str, Any]]
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One op at one place of the data."""

    op: str
    kind: type[FeatureOp]
    proposal: FeatureProposal
    kept: Mapping[str, Any] | None = None  # the row of an earlier plan that left it out

    @property
    def free(self) -> bool:
        """Whether it is taken whatever it costs."""
        return self.op.split("/")[-1] in _FREE

    def row(self, taken: bool, reason: str, seconds: float, size: int = 0, config: ComponentConfig | None = None) -> dict[str, Any]:
        """Return its row of the plan; `config` says more than the proposal's where the op decided something."""
        told = (config or self.proposal.config).model_dump(mode="json")
        return {"op": self.op, "config": told, "seconds": round(seconds, 4), "bytes": size, "taken": taken, "reason": reason}


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """A fitted op with the training values that its program must not give, where it has any."""

    candidate: Candidate
    fitted: Fitted
    op: FittedFeatureOp
    seconds: float
    training: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def config(self) -> ComponentConfig:
        """Return the op's config with every decision written down, where it wrote one."""
        stated = getattr(self.op, "config", None)
        return stated if isinstance(stated, ComponentConfig) else self.candidate.proposal.config


@dataclass(slots=True)
class Budget:
    """What the ops may cost, by their estimates.

    Args:
        seconds: Limit of all ops together; None = none.
        bytes: Limit of their values and tables together or, with `disk`, of the memory that any one of them needs while it is fitted.
        disk: Limit of values and tables that are kept in files; None = they stay in memory.
    """

    seconds: float | None = None
    bytes: float | None = None
    disk: float | None = None

    def refuses(self, candidate: Candidate) -> str:
        """Return why there is no room for a candidate; "" when there is, and it is counted."""
        cost, size = candidate.proposal.seconds, candidate.proposal.bytes
        if candidate.free:
            return ""
        if self.seconds is not None and cost > self.seconds:
            return f"needs about {cost:.2f} s, {max(self.seconds, 0):.2f} s are left"
        fitting = size if self.disk is None else _FITTING * size
        if self.bytes is not None and fitting > self.bytes:
            return f"needs about {_size(fitting)} of memory, {_size(max(self.bytes, 0))} are left"
        if self.disk is not None and size > self.disk:
            return f"needs about {_size(size)} of files, {_size(max(self.disk, 0))} are left"
        self.seconds = None if self.seconds is None else self.seconds - cost
        self.bytes = self.bytes - size if self.disk is None and self.bytes is not None else self.bytes
        self.disk = None if self.disk is None else self.disk - size
        return ""


def free_disk(folder: Path) -> int:
    """Return the bytes that files of features may take: half of what is free where `folder` is, or will be."""
    place = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    return int(_MEMORY * shutil.disk_usage(place).free)


def free_memory() -> int:
    """Return the bytes that features may take: half of what this machine has available now."""
    import psutil

    return int(_MEMORY * psutil.virtual_memory().available)


def planned(ops: Mapping[str, type[FeatureOp]], plan: Iterable[Mapping[str, Any]]) -> list[Candidate]:
    """Return the candidates of an earlier plan, in its order; those that it left out stay out.

    Raises:
        PluginError: An op that it took is not there.
    """
    found = []
    for row in plan:
        kind = ops.get(row["op"])
        if row["taken"] and kind is None:
            raise PluginError(f"the plan takes feature op {row['op']!r}, which is not installed", hint="install its plugin")
        config = parse_config(kind.Config, row["config"], where=row["op"]) if kind and row["taken"] else ComponentConfig()
        proposal = FeatureProposal(config, row["seconds"], row["reason"], row.get("bytes", 0))
        found.append(Candidate(row["op"], kind or FeatureOp, proposal, None if row["taken"] else row))
    return found


def candidates(ops: Mapping[str, type[FeatureOp]], profile: DataProfile) -> tuple[list[Candidate], Plan]:
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
            failed.append(
                {"op": name, "config": {}, "seconds": 0.0, "bytes": 0, "taken": False, "reason": f"propose raised {_told(error)}"}
            )
    order = sorted(range(len(found)), key=lambda i: (not found[i].free, found[i].proposal.seconds, found[i].op, i))
    return [found[i] for i in order], failed


def fit_candidates(
    wanted: Iterable[Candidate],
    train: Table,
    tables: Mapping[str, Table],
    *,
    seed: int,
    budget: Budget,
    check: Callable[[Chosen], int],
    plan: Plan,
) -> Iterator[Chosen]:
    """Yield the fitted ops; every candidate adds one row to `plan`. An op draws from its place in the plan.

    Args:
        budget: Limits of the estimated costs.
        check: Called with a fitted op, returns the bytes of its values; what it raises turns the op down.
    """
    names = set[str]()
    train, tables = read_only(train), {name: read_only(table) for name, table in tables.items()}
    for candidate in wanted:
        refused = budget.refuses(candidate) if candidate.kept is None else "left out before"
        if refused:
            rejected = candidate.row(False, refused, 0.0, candidate.proposal.bytes)
            plan.append(rejected if candidate.kept is None else dict(candidate.kept))
            continue
        start = time.perf_counter()
        try:
            rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(len(plan),)))
            chosen = _fit(candidate, train, tables, rng, names)
            size = check(chosen) + sum(array.nbytes for array in chosen.fitted.program.stored().values())
        except (Exception, SystemExit) as error:
            plan.append(candidate.row(False, _reason(candidate, error), time.perf_counter() - start))
            continue
        names |= {feature.name for feature in chosen.fitted.features}
        plan.append(candidate.row(True, candidate.proposal.reason, time.perf_counter() - start, size, chosen.config))
        yield chosen
        del chosen  # nobody holds the tables of an op while the next one is fitted


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


def _size(count: float) -> str:
    unit, name = next(((unit, name) for unit, name in _UNITS if count >= unit), (1.0, "bytes"))
    return f"{count / unit:.3g} {name}"
