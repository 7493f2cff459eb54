"""The line protocol of a worker process: it builds a model, then answers `epoch`, `scores FILE [PART]` and `quit` with one JSON line each.

A worker lives in its library's own environment, so this file needs the standard library and numpy only. CPU seconds are those of the
process and its children, user and system.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Options", "Session", "columns", "cpu_seconds", "serve", "split"]


class Options(NamedTuple):
    """What a worker is asked for: equal for all libraries.

    Args:
        data: Folder that `data.py` wrote.
    """

    data: str
    model: str
    batch: int = 1024
    width: int = 16
    hidden: tuple[int, ...] = (256, 128, 64)
    attention: tuple[int, ...] = (64, 32)
    dropout: float = 0.0
    rate: float = 1e-3
    seed: int = 1
    work: str = "/tmp"


class Session(NamedTuple):
    """A model being trained.

    Args:
        epoch: Trains one epoch.
        scores: Predictions of the test rows; a ranker's worker takes the part, `valid` or `test`, as an argument that may be left out.
        facts: What to tell about it.
    """

    epoch: Callable[[], Any]
    scores: Callable[..., np.ndarray]
    facts: dict[str, Any]


def cpu_seconds() -> float:
    """Return user and system seconds of this process and of its children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def columns(given: Options) -> tuple[list[str], dict[str, int], str]:
    """Return the id columns, their vocabulary sizes (row 0 = unknown) and the name of the item column."""
    told = json.loads((Path(given.data) / "sizes.json").read_text())
    return list(told["sizes"]), told["sizes"], told["item"]


def split(given: Options, name: str) -> dict[str, np.ndarray]:
    """Return the columns of a split."""
    return dict(np.load(Path(given.data) / f"{name}.npz"))


def serve(build: Callable[[Options], Session], **versions: str) -> None:
    """Build what the command line asks for and answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints goes to the error stream
    warnings.filterwarnings("ignore")
    import torch

    torch.set_num_threads(1)
    given = Options(**json.loads(sys.argv[1]))
    given = given._replace(hidden=tuple(given.hidden), attention=tuple(given.attention))
    torch.manual_seed(given.seed)
    begin = cpu_seconds()
    session = build(given)
    told = {"prepare_cpu_s": cpu_seconds() - begin, "torch": torch.__version__, "numpy": np.__version__, **versions, **session.facts}
    print(json.dumps(told), file=answers, flush=True)
    for line in sys.stdin:
        verb, _, rest = line.strip().partition(" ")
        if verb == "quit":
            break
        used, wall = cpu_seconds(), time.perf_counter()
        if verb == "scores":
            path, *part = rest.split()
            np.save(path, np.asarray(session.scores(*part), dtype=np.float64).ravel())
        else:
            session.epoch()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        told = {"cpu_s": cpu_seconds() - used, "wall_s": time.perf_counter() - wall, "peak_mib": peak}
        print(json.dumps(told), file=answers, flush=True)
