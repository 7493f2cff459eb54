"""What a search of minutes is worth on real data: promise 84."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from autorec_kernel.kernel import Kernel
from autorec_kernel.pipeline import run
from autorec_kernel.recipe import Recipe
from autorec_kernel.search.journal import read_journal

SET = Path(os.environ.get("AUTOREC_DATA", "/nowhere")) / "ml-100k"


def cpu_seconds() -> float:
    """Return what this process and the ended ones it began have used."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


@pytest.mark.slow
@pytest.mark.plugins
@pytest.mark.timeout(600)
@pytest.mark.skipif(not SET.is_dir(), reason="AUTOREC_DATA names no folder with ml-100k")
def test_ten_processor_minutes_find_a_ranker_that_is_better_than_every_baseline(tmp_path: Path) -> None:
    before = cpu_seconds()
    sides = {"users": SET / "users.csv.gz", "items": SET / "items.csv.gz"}
    recipe = Recipe(task="click", positive_threshold=4, budget=200.0, workers=2, device="cpu")
    found = run(SET / "ratings.csv.gz", recipe, Kernel.discover(), tmp_path / "run", **sides)
    assert cpu_seconds() - before <= 600
    assert found["best"]["chosen"]["against_best_baseline"]["low"] > 0, "the paired interval of the validation AUC"
    results = [record for record in read_journal(tmp_path / "run" / "journal.jsonl") if record["kind"] == "result"]
    tried = [one for one in results if one["rung"] == 0 and one["evaluation"]["status"] == "complete"]
    assert len({one["evaluation"]["details"]["architecture_digest"] for one in tried}) >= 12
