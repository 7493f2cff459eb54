"""The state of first-party features: answered without the package that made it, and equal to the laws of the conformance kit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

import autorec_features.plugin
from autorec_kernel.features import build_features
from autorec_kernel.kernel import Kernel
from autorec_kernel.testing.data import tiny_dataset

OPS = {
    "activity",
    "attributes",
    "bag",
    "bias",
    "bins",
    "counts",
    "dated",
    "factors",
    "groups",
    "history",
    "id",
    "latent",
    "leanings",
    "means",
    "scale",
    "sessions",
    "taste",
    "time-parts",
    "vector",
    "words",
    "years",
}
ASK = """
import sys
for name in ("autorec_features", "autorec_kernel.features", "torch", "pandas", "pydantic"):
    sys.modules[name] = None
import json, numpy as np
from autorec_kernel.records.serving_state import ServingState
folder = sys.argv[1]
meta = json.load(open(folder + "/meta.json"))
state = ServingState.load(meta, dict(np.load(folder + "/state.npz", allow_pickle=False)))
names = [feature.name for feature in state.schema.features]
users, items = np.arange(6), np.arange(6)
found = state.inputs(names, users=users, items=items, clock=1_500_000_000_000_000_000)
given = state.inputs(names, users=users, items=items, histories=[items[:k] for k in range(6)])
np.savez(folder + "/found.npz", *found.values(), *given.values())
"""


def test_the_state_answers_the_same_where_the_ops_cannot_be_imported(tmp_path: Path) -> None:
    features = build_features(tiny_dataset(task="rate"), Kernel({"features": autorec_features.plugin}))
    state = features.state()
    np.savez(tmp_path / "state.npz", **state.arrays())  # type: ignore[arg-type]
    (tmp_path / "meta.json").write_text(json.dumps(state.meta()))
    done = subprocess.run([sys.executable, "-c", ASK, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    names = [feature.name for feature in features.schema.features]
    rows = np.arange(6)
    expected = state.inputs(names, users=rows, items=rows, clock=1_500_000_000_000_000_000)
    given = state.inputs(names, users=rows, items=rows, histories=[rows[:k] for k in range(6)])
    with np.load(tmp_path / "found.npz") as found:
        for place, value in enumerate([*expected.values(), *given.values()]):
            assert found[f"arr_{place}"].tobytes() == value.tobytes()


def test_all_ops_come_in_through_the_plugin() -> None:
    rows = Kernel({"features": autorec_features.plugin}).components("feature-op")
    assert [row.name for row in rows] == sorted(OPS)
    assert all(row.usable for row in rows)


def test_the_planted_data_meets_every_op() -> None:
    features = build_features(tiny_dataset(task="rate"), Kernel({"features": autorec_features.plugin}))
    met = OPS - {"dated", "words", "years"}  # it holds no tags and no free text
    assert {row["op"] for row in features.plan if row["taken"]} == {f"features/{name}" for name in met}
