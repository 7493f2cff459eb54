"""SIGKILL at random moments, then `--resume`, until every run has ended: how many kills, trials lost, processes left, differences.

python benchmarks/kill_resume.py --total-kills 20 --scope mix --workers 1
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/integration"))

from resume_kit import SCOPES, campaign, differences, run_once, write_table


def main() -> int:
    """Print one JSON line; the exit code is 1 when anything was lost, left over or different."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--total-kills", type=int, default=20)
    parser.add_argument(
        "--scope", choices=[*SCOPES, "mix"], default="mix", help="whole process group, main process, one worker, or all in turn"
    )
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--trials", type=int, default=6)
    parser.add_argument("--strategy", default="evolution")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    asked = parser.parse_args()
    scopes = SCOPES if asked.scope == "mix" else (asked.scope,)
    order = {"workers": asked.workers, "trials": asked.trials, "strategy": asked.strategy}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        table, began = write_table(root / "table.csv"), time.monotonic()
        assert run_once(root / "undisturbed", table, **order) == 0, (root / "undisturbed.stderr").read_text()
        length = time.monotonic() - began
        found = campaign(root, table, kills=asked.total_kills, seed=asked.seed, length=length, scopes=scopes, **order)
        different = [difference for run in found.runs for difference in differences(root / "undisturbed", run)]
    told = {
        "kills": len(found.kills),
        "by_scope": dict(Counter(scope for scope, _ in found.kills)),
        "runs": len(found.runs),
        "sessions": found.sessions,
        "finished_trials_lost": found.lost,
        "processes_left": found.orphans,
        "differences": different,
        "seconds": round(time.monotonic() - began),
    }
    print(json.dumps(told))
    return int(bool(found.lost or found.orphans or different))


if __name__ == "__main__":
    sys.exit(main())
