"""A cold start: a fresh process imports what serves, opens a bundle, verifies it and answers once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ["cold_start"]

_SECONDS = 120
_CODE = """
import json, resource, sys, time
from autorec_kernel.errors import AutoRecError
from autorec_kernel.serving import Recommender
try:
    opened = Recommender.load(sys.argv[1])
    if sys.argv[2] == "retriever":
        opened.recommend([None], histories=[[]], k=10)
    else:
        opened.predict([None], [None])
except AutoRecError as error:
    sys.exit(f"{error.where}: {error.message}")
try:
    lines = open("/proc/self/status").read().splitlines()
    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
except (OSError, StopIteration):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # on Linux it would hold that of the parent
print(json.dumps({"cpu_seconds": round(time.process_time(), 4), "peak_bytes": peak * 1024, "torch": "torch" in sys.modules}))
"""


def cold_start(bundle: Path, role: str) -> dict[str, Any]:
    """Return CPU seconds from the start of the interpreter to the first answer, wall seconds, peak memory and whether torch was imported.

    Args:
        role: retriever: a list for a stranger is the answer; ranker: the score of a pair.

    Returns:
        {"cpu_seconds", "seconds", "peak_bytes", "torch"}; {"error"} where the process failed.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    began = os.times().elapsed
    done = subprocess.run(
        [sys.executable, "-c", _CODE, str(bundle), role], env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    seconds = os.times().elapsed - began
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["it ended without a word"])[-1][:300]}
    return {**json.loads(done.stdout), "seconds": round(seconds, 3)}
