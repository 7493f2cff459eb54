"""Users whom training never saw are answered in python as they are in serving: by a side table, by a history, by both, by neither."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from autorec_kernel.data import open_dataset
from autorec_kernel.deploy.bundle import BundleFacts, served_model, write_bundle
from autorec_kernel.deploy.export import export_onnx
from autorec_kernel.deploy.plan import serving_sample
from autorec_kernel.features import FeatureSet, build_features
from autorec_kernel.kernel import Kernel
from autorec_kernel.models import FitSettings, train
from autorec_kernel.models.scoring import rank_block
from autorec_kernel.serving import Recommender
from autorec_kernel.serving.requests import concat, read_requests

pytestmark = pytest.mark.slow
ROWS, NONE = 900, np.zeros(0, np.int64)


@pytest.fixture(scope="module")
def kernel() -> Kernel:
    return Kernel.discover()


@pytest.fixture(scope="module")
def features(kernel: Kernel) -> FeatureSet:
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 30, ROWS), rng.integers(0, 40, ROWS)
    names = [*(f"u{number:02d}" for number in range(30)), "u98", "u99"]
    told = pd.DataFrame({"user_id": names, "job": rng.choice(["cook", "clerk", "smith"], 32), "age": rng.integers(18, 80, 32)})
    events = {"user_id": [f"u{u:02d}" for u in users], "item_id": [f"i{i:02d}" for i in items], "timestamp": 10**9 + 600 * np.arange(ROWS)}
    dataset = open_dataset(pd.DataFrame(events), users=told, protocol="temporal")
    return build_features(dataset, kernel)


@pytest.mark.parametrize("blueprint", ["zoo/dssm", "zoo/mf", "zoo/sasrec", "zoo/youtube-dnn", "baselines/popularity", "baselines/ease"])
def test_strangers_are_answered_alike_in_python_and_in_serving(
    kernel: Kernel, features: FeatureSet, tmp_path: Path, blueprint: str
) -> None:
    schema = replace(features.schema, ordered=True)
    architecture = kernel.create("blueprint", blueprint).architecture(schema)
    network, _ = train(architecture, features, schema, kernel, FitSettings(epochs=1), seed=0, trial=0)
    sample, state = serving_sample(network, features), features.state()
    model = served_model(network, export_onnx(network, sample))
    recommender = Recommender(
        write_bundle(tmp_path / "b", model=model, state=state, sample=sample, facts=BundleFacts("recommend", "given"))
    )
    told = state.keys_of("user", ["u98", "u99"])
    assert (told >= state.users.size).all()
    users = np.array([1, *told, told[0], 0, 0])
    given = [None, None, None, ["i01", "i05"], ["i01", "i05"], None]
    histories = [state.history_of(1), NONE, NONE, *([state.items.row_of(["i01", "i05"])] * 2), NONE]
    vectors = network.item_vectors().numpy() if network.serving_outputs == ("user",) else None
    expected = rank_block(network, state, users, concat(histories), vectors)
    names = [state.users.ids_of([1])[0], "u98", "u99", "u98", "nobody", "nobody"]
    found, ways = recommender.scores(read_requests(state, names, given))
    shares = np.where(np.array(ways)[:, None] == "popularity", expected / (state.users.size - 1), expected)  # serving tells shares of users
    np.testing.assert_allclose(found[:, 1:], shares[:, 1:], atol=1e-4)
    assert [ways[place] for place in (1, 2, 5)] == ["popularity"] * 3
    asked = [state.schema[name] for name in network.inputs]
    if any(one.depends == "user" and one.kind != "history" and one.name != "user_id" for one in asked) and network.lengths:
        assert np.abs(found[3] - found[4]).max() > 1e-6  # what the side table says of the one whose history is the same
    alone = features.evaluation("valid").users
    assert alone.max(initial=0) < state.users.size + state.more_users.size - 1
