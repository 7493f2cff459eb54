"""A run from a table to a bundle with the encoder: it is audited, served, and read where neither the plugin nor the model is there."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from autorec_kernel.estimator import AutoRec
from autorec_text.files import VARIABLE

pytestmark = pytest.mark.slow
ASK = """
import sys
for name in ("autorec_text", "autorec_features", "autorec_kernel.features", "tokenizers", "torch", "pandas", "pydantic"):
    sys.modules[name] = None
from autorec_kernel.serving import Recommender
recommender = Recommender.load(sys.argv[1])
print(" ".join(f"{score:.7f}" for score in recommender.predict(["u01"] * 20, [f"i{number:02d}" for number in range(20)]).values))
"""
SIDES = ("rocket", "moon", "star"), ("bread", "baker", "oven")


def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return ratings that depend on whether a title is about space, and titles that all differ."""
    rng = np.random.default_rng(0)
    about = np.arange(20) % 2
    titles = [" ".join([*rng.permutation(SIDES[side]), "of", "the", str(1960 + 5 * (number % 9))]) for number, side in enumerate(about)]
    users, items = rng.integers(0, 40, 1500), rng.integers(0, 20, 1500)
    rating = np.clip(2.5 + 1.5 * about[items] + rng.normal(0, 0.5, 1500), 1, 5).round(1)
    events = {"user_id": [f"u{u:02d}" for u in users], "item_id": [f"i{i:02d}" for i in items], "rating": rating}
    frame = pd.DataFrame(events | {"timestamp": 10**9 + 3600 * np.arange(1500)})
    return frame, pd.DataFrame({"item_id": [f"i{i:02d}" for i in range(20)], "title": titles})


def test_a_run_serves_the_meaning_of_texts_without_the_plugin_and_the_model(
    fake: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(fake.folder))
    events, items = tables()
    run = tmp_path / "run"
    model = AutoRec(task="rate", trials=1, workers=1, out=run, kinds={"items.title": "text"}).fit(events, items=items)
    (row,) = (row for row in json.loads((run / "features" / "features.json").read_text())["plan"] if row["op"] == "text/encoder")
    assert row["taken"], row["reason"]
    assert "items.title.meaning" in (Path(model.bundle_path_) / "programs.json").read_text()  # the served model reads it
    shutil.rmtree(fake.folder)
    monkeypatch.delenv(VARIABLE)
    names = [f"i{number:02d}" for number in range(20)]
    expected = model.recommender_.predict(["u01"] * 20, names).values
    done = subprocess.run([sys.executable, "-c", ASK, str(model.bundle_path_)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert np.allclose([float(score) for score in done.stdout.split()], expected, atol=1e-6)
    assert not any(str(tmp_path).encode() in path.read_bytes() for path in Path(model.bundle_path_).rglob("*") if path.is_file())
