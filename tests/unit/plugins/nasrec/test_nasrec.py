from __future__ import annotations

import runpy
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from autorec_kernel.errors import BundleError, UsageError
from autorec_kernel.kernel import Kernel
from autorec_kernel.recipe import read_recipe
from autorec_kernel.search.journal import read_journal
from autorec_nasrec import NASRec
from autorec_nasrec.options import options, tutorial

KERNEL = Kernel.discover(blocked=("workers", "prune", "quantize", "cells"))

# The calls of the tutorial in their order, on 100 ratings to test and with a search of seconds; only the import line is another.
TUTORIAL = """
model = NASRec(
    name="NASRec_Model",
    search_space='narrow',
    search_iterations=6,
    epochs_per_arch=1,
    max_params=5e6,
    max_latency_ms=50,
    epochs=2,
    batch_size=256,
    learning_rate=0.001,
    verbose=True
)
print(f"Initialized {model.name}")
model.fit(user_ids=train_users, item_ids=train_items, ratings=train_ratings)
score = model.predict(user_id=1, item_id=100)
print(f"Predicted score: {score:.3f}")
test_predictions = model.batch_predict(list(zip(test_users[:100], test_items[:100])))
recommendations = model.recommend(user_id=1, top_k=10)
for rank, item_id in enumerate(recommendations, 1):
    print(f"  {rank}. Item {item_id}")
test_pred = [model.predict(u, i) for u, i in zip(test_users, test_items)]
rmse = np.sqrt(mean_squared_error(test_ratings, test_pred))
model.save('nasrec_model.pkl')
loaded = NASRec.load('nasrec_model.pkl')
test_score = loaded.predict(1, 100)
print(f"Loaded model prediction: {test_score:.3f}")
"""


def ratings() -> pd.DataFrame:
    """Return 1,500 ratings from 1 to 5 of 50 people for 40 films, whose offsets they follow."""
    rng = np.random.default_rng(4)
    pairs = rng.permutation(50 * 40)[:1500]
    users, films = pairs // 40, pairs % 40
    offsets = rng.normal(size=40)
    values = np.clip(np.round(3 + offsets[films] + rng.normal(size=1500) / 3), 1, 5).astype(np.int64)
    return pd.DataFrame({"user_id": users + 1, "movie_id": 2 * films + 100, "rating": values})


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Run the calls of the tutorial and return its names."""
    folder, table = tmp_path_factory.mktemp("nasrec"), ratings()
    train, test = table.iloc[100:], table.iloc[:100]

    class Here(NASRec):
        """The same in this process, with its run kept."""

        def __init__(self, name: str = "NASRec", **options: Any) -> None:
            super().__init__(name, **options, out=folder / "run", plugins=KERNEL)

    names: dict[str, Any] = {"NASRec": Here, "np": np, "folder": folder}
    names["mean_squared_error"] = lambda first, second: float(np.mean((np.asarray(first) - np.asarray(second)) ** 2))
    for part, rows in (("train", train), ("test", test)):
        names |= {
            f"{part}_{name}s": rows[column].values for name, column in (("user", "user_id"), ("item", "movie_id"), ("rating", "rating"))
        }
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        script = folder / "tutorial.py"
        script.write_text(TUTORIAL)
        yield {**names, **runpy.run_path(str(script), init_globals=names)}


def test_the_calls_of_the_tutorial_run_as_they_stand(told: dict[str, Any]) -> None:
    assert told["model"].name == told["loaded"].name == "NASRec_Model"
    assert isinstance(told["score"], float) and 1 <= told["score"] <= 5
    assert told["rmse"] < np.std(told["test_ratings"])
    assert told["test_score"] == told["score"]


def test_it_searches_and_keeps_the_limits(told: dict[str, Any]) -> None:
    records = read_journal(told["folder"] / "run" / "journal.jsonl")
    recipe = next(record["recipe"] for record in records if record["kind"] == "run")
    assert (recipe["search_space"], recipe["max_params"], recipe["max_latency_ms"], recipe["rungs"]) == ("narrow", 5e6, 50.0, [0.5, 1.0])
    proposed = [row for record in records if record["kind"] == "batch" for row in record["proposals"]]
    tried = [row for row in proposed if not row["reason"].startswith("baseline")]
    assert len(tried) == len({str(row["genotype"]) for row in tried}) == 6
    training = [(row["genotype"]["ranker.training.batch_size"], row["genotype"]["ranker.training.learning_rate"]) for row in tried]
    assert set(training) == {(256, 0.001)}
    searched = {row["trial"] for row in tried if not row["reason"].startswith("blueprint")}
    epochs = {(r["trial"], r["rung"]): r["evaluation"]["details"]["epochs"] for r in records if r["kind"] == "result"}
    assert len(searched) >= 3 and {epochs[trial, 0] for trial in searched} == {1}
    assert {epochs[trial, rung] for trial, rung in epochs if trial in searched and rung == 1} == {2}


def test_a_batch_is_predicted_as_one_by_one(told: dict[str, Any]) -> None:
    np.testing.assert_allclose(told["test_predictions"], told["test_pred"], rtol=0, atol=1e-6)
    strange = told["model"].batch_predict([(999, 100), (1, 999), (None, "x")])
    assert np.isfinite(strange).all() and (strange >= 1).all() and (strange <= 5).all()


def test_a_batch_takes_less_than_a_twentieth_of_the_time(told: dict[str, Any]) -> None:
    pairs = [(1 + n % 50, 100 + 2 * (n % 40)) for n in range(3000)]
    began = time.process_time()
    whole = told["model"].batch_predict(pairs).tolist()
    batch = time.process_time() - began
    began = time.process_time()
    single = [told["model"].predict(user, item) for user, item in pairs]
    assert time.process_time() - began > 20 * batch and single == pytest.approx(whole, abs=1e-6)


def test_recommended_are_unseen_items_best_first_with_their_own_ids(told: dict[str, Any]) -> None:
    model, items = told["model"], told["recommendations"]
    seen = set(told["train_items"][told["train_users"] == 1].tolist())
    assert len(set(items)) == len(items) <= 10 and not seen & set(items) and all(type(item) is int for item in items)
    values = model.batch_predict([(1, item) for item in items]).tolist()
    assert values == sorted(values, reverse=True)
    assert seen & set(model.recommend(1, top_k=40, exclude_seen=False))


def test_a_saved_file_is_replaced_and_what_is_no_such_file_is_refused(told: dict[str, Any], tmp_path: Path) -> None:
    path = told["model"].save(tmp_path / "model.pkl")
    told["model"].save(path)
    assert zipfile.is_zipfile(path)
    pairs = list(zip(told["test_users"], told["test_items"], strict=True))
    assert NASRec.load(path).batch_predict(pairs).tolist() == told["model"].batch_predict(pairs).tolist()
    path.write_bytes(b"\x80\x04N.")  # a pickle of None
    with pytest.raises(BundleError, match=r"NASRec\.save"):
        NASRec.load(path)


def test_arguments_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(UsageError, match="epochs_per_arch is 10 and epochs 5"):
        NASRec(epochs=5).fit([1], [1], [1.0])
    with pytest.raises(UsageError, match="different lengths"):
        NASRec().fit([1, 2], [1], [1.0])
    with pytest.raises(UsageError, match="not fitted yet"):
        NASRec("mine").predict(1, 1)
    with pytest.raises(UsageError, match="search_space"):
        NASRec(search_space="deep").fit([1], [1], [1.0])  # type: ignore[arg-type]


def test_the_preset_is_what_the_class_starts_from() -> None:
    mine = NASRec()
    assert read_recipe(None, tutorial()) == read_recipe(None, mine._options())
    assert tutorial() == options("wide", 200, 10, 5e6, 50.0, 20, 256, 0.001)
    assert tutorial()["trials"] == 200 and tutorial()["rungs"] == [0.5, 1.0]
