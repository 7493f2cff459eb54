"""A run in a process of its own, to be killed: from outside, or by itself at a named point.

python run_child.py '{"out": "...", "table": "...", "workers": 1, "trials": 3, "crash": "result.json"}'
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any


def main(order: dict[str, Any]) -> int:
    """Run, resuming what is there; return the exit code."""
    from autorec_kernel.errors import AutoRecError
    from autorec_kernel.kernel import Kernel
    from autorec_kernel.pipeline import run
    from autorec_kernel.recipe import Recipe

    if order.get("crash"):
        arrange(order["crash"])
    recipe = Recipe(
        **{
            "trials": order["trials"],
            "workers": order["workers"],
            "strategy": order.get("strategy", "evolution"),
            "evaluator_options": {"epochs": 2},
            "seed": order.get("seed", 3),
            "device": "cpu",
            **order.get("recipe", {}),
        }
    )
    blocked = order.get("blocked", [])
    try:
        run(Path(order["table"]), recipe, Kernel.discover(blocked=blocked), Path(order["out"]), resume=order.get("resume", True))
    except AutoRecError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def arrange(point: str) -> None:
    """Make this process kill itself at a point: `name:count`, or `after:kind of record`."""
    name, _, count = point.partition(":")
    left = [int(count) if count.isdigit() else 1]

    def die(*_: Any, **__: Any) -> None:
        left[0] -= 1
        if left[0] <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    if name == "after":
        after_record(die, count)
        return
    points = {"torn": at_torn_append, "unwritten": before_result, "result.json": at_result, "member": at_member, "swap": at_swap}
    points[name](die)


def after_record(die: Any, kind: str) -> None:
    """Die right after the first record of a kind was written."""
    from autorec_kernel.search.journal import Journal

    original = Journal._write

    def write(self: Any, line: bytes, record: Any) -> None:
        original(self, line, record)
        if record["kind"] == kind:
            die()

    Journal._write = write  # type: ignore[method-assign]


def at_torn_append(die: Any) -> None:
    """Die with half of the n-th record written."""
    from autorec_kernel.search.journal import Journal

    original = Journal._write

    def write(self: Any, line: bytes, record: Any) -> None:
        os.write(self._descriptor, line[: len(line) // 2])
        die()
        os.ftruncate(self._descriptor, self._size)
        original(self, line, record)

    Journal._write = write  # type: ignore[method-assign]


def before_result(die: Any) -> None:
    """Die when the artefacts of the n-th result are there and its record is not."""
    from autorec_kernel.search.replay import Replay

    original = Replay.write

    def write(self: Any, *arguments: Any) -> Any:
        die()
        return original(self, *arguments)

    Replay.write = write  # type: ignore[method-assign]


def at_result(die: Any) -> None:
    """Die before result.json, written beside its place, is moved there (1), or after it was, before the journal says so (2)."""
    original = os.replace

    def replace(source: Any, target: Any) -> None:
        if Path(target).name == "result.json":
            die()
        original(source, target)
        if Path(target).name == "result.json":
            die()

    os.replace = replace


def at_member(die: Any) -> None:
    """Die after the n-th member of the bundle was written."""
    from autorec_kernel.deploy import bundle

    original = bundle._write

    def write(path: Path, data: bytes) -> None:
        original(path, data)
        die()

    bundle._write = write


def at_swap(die: Any) -> None:
    """Die right after the n-th rename that puts a bundle into place."""
    original = os.replace

    def replace(source: Any, target: Any) -> None:
        original(source, target)
        if Path(target).name == "bundle" or str(target).endswith(".old"):
            die()

    os.replace = replace


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
