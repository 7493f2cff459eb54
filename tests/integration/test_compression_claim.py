"""What the plan for `edge` makes of a ranker of the packaged ratings: promise 26."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import autorec_kernel.data
from autorec_kernel.kernel import Kernel
from autorec_kernel.pipeline import run
from autorec_kernel.recipe import Recipe

RATINGS = Path(autorec_kernel.data.__file__).parent / "movielens" / "ratings.csv.gz"


@pytest.mark.slow
@pytest.mark.plugins
@pytest.mark.timeout(900)
def test_deepfm_takes_a_fifth_of_its_bytes_at_a_loss_of_two_per_cent_at_most(tmp_path: Path) -> None:
    kernel = Kernel.discover(blocked=["baselines", "workers"])
    recipe = Recipe(task="click", positive_threshold=4, blueprints=("zoo/deepfm",), trials=1, device="cpu", target="edge")
    run(RATINGS, recipe, kernel, tmp_path / "run")
    told = json.loads((tmp_path / "run" / "bundle" / "certificate.json").read_bytes())
    assert told["bytes"]["after"] <= 0.2 * told["bytes"]["before"]
    assert told["gain"] >= -0.021 and told["n"] > 5000
    for batch in ("one", "batch"):  # figures of the machine: told, and promised by nobody
        assert told["measured"][batch]["served"]["p50_ms"] > 0 and told["measured"][f"{batch}_of_torch"] > 0
