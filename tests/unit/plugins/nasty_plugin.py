"""A plugin of evaluators that misbehave, each in one way; workers import it by name."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import threadpoolctl

from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.evaluator import EvaluationContext, Rung
from autorec_kernel.markers import hookimpl
from autorec_kernel.records.trial import Evaluation
from autorec_kernel.registry.spec import ComponentSpec
from autorec_kernel.space import Genotype, SearchSpace

MIB = 2**20


def good(context: EvaluationContext, value: float = 0.5, **details: Any) -> Evaluation:
    return Evaluation("complete", {context.metric: value}, measured={"pid": float(os.getpid())}, details=details)


def report(context: EvaluationContext) -> Any:
    """Return what the worker's surroundings look like."""
    pools = [pool["num_threads"] for pool in threadpoolctl.threadpool_info()]
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "PYTHONHASHSEED")
    return good(
        context,
        pools=pools,
        environment={name: os.environ.get(name) for name in names},
        stdin=sys.stdin.read(),
        rows=len(context.features.rows("train")),
        session=os.getsid(0) == os.getpid(),
        cwd=os.getcwd(),
        deaf=signal.getsignal(signal.SIGTERM) == signal.SIG_IGN,
        hash=hash("a text"),
    )


def nan_metric(context: EvaluationContext) -> Any:
    return good(context, float("nan"))


def nan_loss(context: EvaluationContext) -> Any:
    raise FloatingPointError("the loss is nan at step 3")


def raises(context: EvaluationContext) -> Any:
    raise ValueError("raised on purpose")


def exits(context: EvaluationContext) -> Any:
    sys.exit(0)


def hang(context: EvaluationContext) -> Any:
    time.sleep(3600)


def hang_deaf(context: EvaluationContext) -> Any:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(3600)


def hang_native(context: EvaluationContext) -> Any:
    """Hang in C code that holds the interpreter's lock."""
    ctypes.PyDLL(None).sleep(3600)


def hang_with_child(context: EvaluationContext) -> Any:
    """Hang beside a child that ignores SIGTERM; leave its id in a file."""
    child = subprocess.Popen([sys.executable, "-S", "-c", "import signal, time; signal.signal(15, 1); time.sleep(3600)"])
    (context.folder / "child").write_text(str(child.pid))
    time.sleep(3600)


def die_with_child(context: EvaluationContext) -> Any:
    """Die while a child holds every descriptor open."""
    if os.fork() == 0:
        (context.folder / "child").write_text(str(os.getpid()))
        time.sleep(3600)
    time.sleep(0.3)
    os._exit(7)


def fork_and_return(context: EvaluationContext) -> Any:
    """Return twice: in the parent and in a copy."""
    os.fork()
    return good(context, 0.25)


def segfault(context: EvaluationContext) -> Any:
    ctypes.string_at(0)


def abort(context: EvaluationContext) -> Any:
    os.abort()


def exit_zero(context: EvaluationContext) -> Any:
    os._exit(0)


def kill_itself(context: EvaluationContext) -> Any:
    """Do what the system's out-of-memory killer or an administrator would do."""
    with (context.folder / "attempts").open("a") as attempts:
        attempts.write(f"{context.seed}\n")
    os.kill(os.getpid(), signal.SIGKILL)


def killed_once(context: EvaluationContext) -> Any:
    mark = context.folder / "was-here"
    if mark.exists():
        return good(context, 0.75)
    mark.write_text("")
    return kill_itself(context)


def hog(context: EvaluationContext) -> Any:
    held = []
    for _ in range(100):
        held.append(np.ones(16 * MIB // 8))
        time.sleep(0.02)
    return good(context, float(len(held)))


def memory_error(context: EvaluationContext) -> Any:
    raise MemoryError("cannot allocate 4 TB")


def keeps_much(context: EvaluationContext) -> Any:
    """Leak half of the cap that the tests use, in each trial."""
    _leaked.append(np.ones(300 * MIB // 8))
    time.sleep(0.6)
    return good(context)


def chatty(context: EvaluationContext) -> Any:
    """Write 200 MB to stdout and stderr, from Python and from below, then answer."""
    line = b"x" * 99 + b"\n"
    for descriptor in (1, 2):
        block = line * 10_000
        for _ in range(100):
            os.write(descriptor, block)
    print("from Python")
    print('{"evaluation": {}}', flush=True)
    return good(context)


def mutters(context: EvaluationContext) -> Any:
    """Write a line to stderr, then answer."""
    os.write(2, b"old words\n")
    return good(context)


def last_words(context: EvaluationContext) -> Any:
    print("these are my last words", flush=True)
    os._exit(9)


def wrong_type(context: EvaluationContext) -> Any:
    return {"status": "complete"}


def wrong_status(context: EvaluationContext) -> Any:
    return Evaluation("splendid")  # type: ignore[arg-type]


def wrong_metric(context: EvaluationContext) -> Any:
    return Evaluation("complete", {context.metric: 0.5, "other": "high"})  # type: ignore[dict-item]


def wrong_details(context: EvaluationContext) -> Any:
    return Evaluation("complete", {context.metric: 0.5}, details={"what": object()})


def moves(context: EvaluationContext) -> Any:
    os.chdir("/")
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return good(context)


def closes_everything(context: EvaluationContext) -> Any:
    os.closerange(3, 256)
    return good(context)


def waits(context: EvaluationContext) -> Any:
    """Answer after a while, in an order of its own."""
    time.sleep(0.05 * ((context.trial * 7) % 4))
    rng = np.random.default_rng(np.random.SeedSequence(context.seed, spawn_key=(context.trial, 0)))
    return good(context, float((rng.normal(size=(64, 64)) @ rng.normal(size=64)).sum()), words=list({"a", "b", "c", "d", "e"}))


def quick(context: EvaluationContext) -> Any:
    return good(context)


def slow(context: EvaluationContext) -> Any:
    (context.folder / "slow").write_text("")
    time.sleep(1.5)
    return good(context)


_leaked: list[np.ndarray] = []
_HABITS: dict[str, Callable[[EvaluationContext], Any]] = {
    function.__name__.replace("_", "-"): function
    for function in (
        report, nan_metric, nan_loss, raises, exits, hang, hang_deaf, hang_native, hang_with_child, die_with_child, fork_and_return,
        segfault, abort, exit_zero, kill_itself, killed_once, hog, memory_error, keeps_much, chatty, mutters, last_words, wrong_type,
        wrong_status, wrong_metric, wrong_details, moves, closes_everything, waits, quick, slow,
    )
}  # fmt: skip


class Nasty:
    """An evaluator with the habit that its option names."""

    class Config(ComponentConfig):
        habit: str = "quick"

    def __init__(self, config: Config) -> None:
        self.config = config

    def subspace(self, space: SearchSpace) -> SearchSpace:
        return space

    def prepare(self, context: EvaluationContext) -> Mapping[str, str]:
        return {}

    def evaluate(self, genotype: Genotype, rung: Rung, context: EvaluationContext) -> Evaluation:
        Path(context.folder).mkdir(exist_ok=True)
        return _HABITS[self.config.habit](context)  # type: ignore[no-any-return]

    def refit(self, *arguments: Any) -> Any:
        raise NotImplementedError

    def restore(self, *arguments: Any) -> Any:
        raise NotImplementedError


@hookimpl
def autorec_evaluators() -> tuple[ComponentSpec, ...]:
    return (ComponentSpec("evaluator", "nasty_plugin:Nasty", "Misbehaves."),)
