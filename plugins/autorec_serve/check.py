"""Verification of a bundle in a process of its own: what crashes onnxruntime or an index, or eats memory, ends that process alone.

`python -m autorec_serve.check BUNDLE [DIGEST [KERNEL]]` prints one JSON line.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from autorec_kernel.errors import AutoRecError, BundleError

if TYPE_CHECKING:
    from autorec_kernel.kernel import Kernel
    from autorec_kernel.records.bundle import Bundle

__all__ = ["verified_digest"]

_SECONDS = 60
_MEMORY = 4 << 30  # bytes of address space beside six times the bundle
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_HINT = "autorec bundle verify BUNDLE says more"


def verified_digest(path: Path, require_digest: str = "", *, kernel: Kernel | None = None, seconds: float = _SECONDS) -> str:
    """Return the content digest of the bundle at `path`, after a process of its own has verified it and run its golden rows.

    Args:
        kernel: Where the index of the bundle, if it has one, is looked for; it is opened and asked there too.

    Raises:
        BundleError: It is refused, or its process crashed or took too long.
    """
    command = [sys.executable, "-P", "-m", "autorec_serve.check", str(path), require_digest]
    command += [json.dumps(kernel.origin())] if kernel is not None else []
    environment = {name: value for name, value in os.environ.items() if name != "AUTOREC_TOKEN"}
    environment |= dict.fromkeys(_THREADS, "1")
    try:
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        raise BundleError(f"verifying the bundle took more than {seconds:g} s", where=str(path), hint=_HINT) from None
    try:
        told = json.loads(done.stdout)
    except ValueError:
        ending = f"signal {-done.returncode}" if done.returncode < 0 else f"code {done.returncode}"
        raise BundleError(f"the process that verified the bundle ended with {ending}", where=str(path), hint=_HINT) from None
    if "digest" not in told:
        raise BundleError(told["error"], where=told["where"], hint=told["hint"] or _HINT)
    return str(told["digest"])


def main(path: str, require_digest: str, origin: str = "") -> None:
    """Print the digest of a bundle, or why it is refused."""
    from autorec_kernel.records.bundle import SCHEMA
    from autorec_kernel.serving.verify import check_golden, load_graphs, open_bundle

    try:
        bundle = open_bundle(path, require_digest=require_digest)
        _limit_memory(_MEMORY + 6 * bundle.size)
        check_golden(bundle, load_graphs(bundle))
        if origin and "index" in bundle.json(SCHEMA):
            _open_whole(bundle, origin)
        told = {"digest": bundle.digest}
    except AutoRecError as error:
        told = {"error": error.message, "where": error.where, "hint": error.hint}
    sys.stdout.write(json.dumps(told) + "\n")


def _open_whole(bundle: Bundle, origin: str) -> None:
    from autorec_kernel.kernel import Kernel
    from autorec_kernel.serving.recommender import Recommender

    Recommender(bundle, create=Kernel.rebuild(json.loads(origin)).create)


def _limit_memory(size: int) -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource  # not on Windows

        resource.setrlimit(resource.RLIMIT_AS, (size, resource.getrlimit(resource.RLIMIT_AS)[1]))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main(*sys.argv[1:4])
