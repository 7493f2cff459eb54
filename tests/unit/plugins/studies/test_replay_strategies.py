"""Runs of every strategy, killed and resumed, replayed by one worker and by two, without anything but the journal and the table."""

from __future__ import annotations

import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
from studies_kit import KERNEL, write_table

from autorec_kernel.kernel import Kernel
from autorec_kernel.search.journal import compare, read_journal
from autorec_studies.again import AFTER_SEARCH, replay

sys.path.insert(0, str(Path(__file__).parents[3] / "integration"))

from resume_kit import kill, run_once, start

RECIPE = {"blueprints": ["zoo/mf", "zoo/dssm"], "features": "raw"}
STRATEGIES = [row.id for row in KERNEL.components("search-strategy") if row.usable]


def killed_and_resumed(out: Path, table: Path, strategy: str) -> Path:
    """Run with two workers, kill everything in the middle of the search, and go on to the end."""
    order = {"workers": 2, "trials": 8, "strategy": strategy, "recipe": RECIPE}
    process = start(out, table, **order)
    try:
        while process.poll() is None and results(out) < 9:
            time.sleep(0.01)
        assert kill(process, "group")
    finally:
        kill(process, "group")
    assert 9 <= results(out) < 14
    assert run_once(out, table, **order) == 0, Path(f"{out}.stderr").read_text()[-2000:]
    return out


def test_every_strategy_of_the_first_party_is_among_those_replayed() -> None:
    assert {"search/random", "bayes/tpe", "evolution/evolution", "reinforce/controller", "progressive/progressive"} <= set(STRATEGIES)


def results(out: Path) -> int:
    path = out / "journal.jsonl"
    return sum(record["kind"] == "result" for record in read_journal(path)) if path.exists() else 0


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="processes are killed with POSIX signals")
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_killed_and_resumed_run_of_every_strategy_is_replayed_bit_for_bit_by_one_worker_and_by_two(tmp_path: Path, strategy: str) -> None:
    table = write_table(tmp_path / "table.csv")
    run = killed_and_resumed(tmp_path / "run", table, strategy)
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.move(run / "journal.jsonl", bare)
    shutil.rmtree(run)
    for workers, whole in ((1, False), (2, True)):
        out = tmp_path / f"replay-{workers}"
        found = replay(bare, Kernel.discover(), out, workers=workers, whole=whole)
        assert found.equal, [str(one) for one in found.differences]
        assert found.best["run"] == found.best["replay"] and found.best["run"]["weights"]
        assert compare(bare / "journal.jsonl", out / "journal.jsonl", ignore_kinds=() if whole else AFTER_SEARCH) == ()
