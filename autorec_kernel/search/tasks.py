"""`run_task`: evaluate one genotype, in whatever process it lands. Whatever goes wrong becomes a status."""

from __future__ import annotations

import logging
import math
import re
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autorec_kernel.contracts.evaluator import EvaluationContext, Rung, Task
from autorec_kernel.errors import ContractError
from autorec_kernel.records.trial import Evaluation
from autorec_kernel.space import Genotype

if TYPE_CHECKING:
    from autorec_kernel.features import FeatureSet
    from autorec_kernel.kernel import Kernel

__all__ = ["ARTEFACTS", "FEATURES", "context_of", "load_features", "run_task", "task_from_json", "task_json", "threads_limited"]

_log = logging.getLogger(__name__)
FEATURES, ARTEFACTS = "features", "artefacts"  # folders below the run folder
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}")  # differs between equal runs
_loaded: dict[str, FeatureSet] = {}  # one entry: the feature set this process works on


def load_features(run: str | Path) -> FeatureSet:
    """Return the memory-mapped feature set of a run, opened once a process."""
    from autorec_kernel.features import FeatureSet

    path = Path(run) / FEATURES
    key = str(path.resolve())
    if key not in _loaded:
        _loaded.clear()
        _loaded[key] = FeatureSet.load(path)
    return _loaded[key]


def run_task(task: Task, kernel: Kernel, features: FeatureSet | None = None) -> Evaluation:
    """Evaluate a task.

    Args:
        features: The feature set, when the caller holds it; None = load it from the run folder.

    Returns:
        An evaluation with one of the statuses complete, stopped, failed, nan, oom, infeasible; never raises but for Ctrl-C.
    """
    try:
        with threads_limited(task.threads):
            context = context_of(task, kernel, features or load_features(task.run))
            evaluator = kernel.create("evaluator", task.evaluator, **task.options)
            found = evaluator.evaluate(Genotype(task.genotype), Rung(task.rung, task.share), context)
        return _checked(found, task.metric)
    except ContractError as error:
        return Evaluation("infeasible", error=_plain_text(str(error)))
    except ArithmeticError as error:
        return Evaluation("nan", error=_plain_text(str(error)))
    except MemoryError as error:
        return Evaluation("oom", error=_plain_text(str(error)) or "out of memory")
    except (Exception, SystemExit) as error:
        if "out of memory" in str(error).lower():
            return Evaluation("oom", error=_plain_text(str(error)[:500]))
        _log.debug("trial %d failed", task.trial, exc_info=True)
        return _failed(_plain_text("".join(traceback.format_exception(error)[-6:])[-2000:]))


@contextmanager
def threads_limited(threads: int) -> Iterator[None]:
    """Let torch and the linear algebra libraries of this process use `threads` threads for a while: one and two give different sums."""
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    with threadpool_limits(threads):
        if before != threads:
            torch.set_num_threads(threads)
        try:
            yield
        finally:
            if before != threads:
                torch.set_num_threads(before)


def task_json(task: Task) -> dict[str, Any]:
    """Return plain JSON values of a task."""
    return {name: _plain(getattr(task, name)) for name in Task.__dataclass_fields__}


def task_from_json(value: Mapping[str, Any]) -> Task:
    """Read what `task_json` wrote."""
    return Task(**value)


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value


def context_of(task: Task, kernel: Kernel, features: FeatureSet) -> EvaluationContext:
    """Return what an evaluator may read of a task; makes the folder of its artefacts."""
    folder = Path(task.run) / ARTEFACTS
    folder.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + task.soft_seconds if task.soft_seconds else None
    return EvaluationContext(
        kernel=kernel,
        features=features,
        task=task.task,
        metric=task.metric,
        seed=task.seed,
        trial=task.trial,
        folder=folder,
        device=task.device,
        threads=task.threads,
        deadline=deadline,
        limits=task.limits,
        parent=task.parent,
        artefacts=task.artefacts,
    )


def _checked(found: Any, metric: str) -> Evaluation:
    """Return an evaluation that keeps its word: what calls itself complete has a finite metric."""
    if not isinstance(found, Evaluation):
        return _failed(f"evaluator returned {type(found).__name__}, expected Evaluation")
    value = found.metrics.get(metric)
    if found.status != "complete" or (value is not None and math.isfinite(value)):
        return found
    return replace(found, status="nan", error=f"the validation metric {metric} is {value}")


def _plain_text(error: str) -> str:
    """Return an error text without memory addresses, which differ between equal runs."""
    return _ADDRESS.sub("0x…", error)


def _failed(reason: str) -> Evaluation:
    return Evaluation("failed", error=reason)
