"""Workers and what trials have started end when their parent does, however it ends, and not before the parent wants it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from autorec_kernel.features import build_features
from autorec_kernel.kernel import Kernel
from autorec_kernel.search.tasks import FEATURES
from autorec_kernel.testing.data import tiny_dataset

pytestmark = pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs process groups")

PARENT = """
import signal, sys, time
from autorec_workers.local import LocalWorkers
from autorec_kernel.contracts.evaluator import Task

run, habits = sys.argv[1], sys.argv[2:]
signal.signal(signal.SIGINT, lambda *_: None)
executor = LocalWorkers(LocalWorkers.Config())
executor.start({"plugins": {"nasty": "nasty_plugin"}}, len(habits))
futures = [executor.submit(Task(run, n, 0, 1.0, {}, "nasty/evaluator", 0, options={"habit": habit})) for n, habit in enumerate(habits)]
print(*[future.result().status for future in futures], flush=True)
executor.close() if "leave-open" not in run else None
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    build_features(tiny_dataset(), Kernel.discover(allowed=["features"]), folder=tmp_path / FEATURES)
    return tmp_path


def parent(run: Path, *habits: str) -> subprocess.Popen[str]:
    """Start a process that runs habits in as many workers, in a group of its own."""
    here = str(Path(__file__).parent)
    paths = os.pathsep.join([here, *sys.path])
    return subprocess.Popen(
        [sys.executable, "-c", PARENT, str(run), *habits],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
        start_new_session=True,
    )


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def family(process: subprocess.Popen[str], run: Path) -> list[psutil.Process]:
    """Return every descendant once the trial's own child is there."""
    assert wait_for((run / "artefacts" / "child").exists, 60)
    time.sleep(0.5)
    return psutil.Process(process.pid).children(recursive=True)


def finish(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_all_end_within_five_seconds_when_the_parent_is_killed(run: Path) -> None:
    process = parent(run, "hang-with-child", "hang-native")
    everyone = family(process, run)
    assert len(everyone) >= 4  # the guard, two workers and a trial's child
    finish(process)
    assert wait_for(lambda: not any(map(lives, everyone)), 5)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent is gone")
def test_workers_end_with_their_parent_also_without_the_guard(run: Path) -> None:
    process = parent(run, "hang-with-child", "hang-native")
    everyone = family(process, run)
    workers = [one for one in everyone if "autorec_workers.worker" in " ".join(one.cmdline())]
    guard = next(one for one in everyone if one.cmdline()[-1].endswith("guard.py"))
    assert len(workers) == 2
    guard.kill()
    finish(process)
    assert wait_for(lambda: not any(map(lives, workers)), 5)
    for one in filter(lives, everyone):
        one.kill()


def test_an_interrupt_of_the_terminal_reaches_the_parent_only(run: Path) -> None:
    process = parent(run, "slow")
    assert wait_for((run / "artefacts" / "slow").exists, 60)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert output == "complete\n"


def test_a_parent_that_ends_without_closing_leaves_nothing_behind(tmp_path: Path) -> None:
    run = tmp_path / "leave-open"
    build_features(tiny_dataset(), Kernel.discover(allowed=["features"]), folder=run / FEATURES)
    process = parent(run, "slow")
    assert wait_for((run / "artefacts" / "slow").exists, 60)
    everyone = psutil.Process(process.pid).children(recursive=True)
    output, _ = process.communicate(timeout=60)
    assert (output, process.returncode) == ("complete\n", 0)
    assert wait_for(lambda: not any(map(lives, everyone)), 5)
