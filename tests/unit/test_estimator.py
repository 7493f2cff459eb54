"""`AutoRec` with a road that writes a known bundle: parameters, answers, keeping, and what it refuses."""

from __future__ import annotations

import copy
import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from autorec_kernel import AutoRec, AutoRecError, Kernel
from autorec_kernel.errors import BundleError, DataError, InfrastructureError, InterruptedRun, UnknownNameError, UsageError
from autorec_kernel.serving import Recommender
from tests.unit.serving.serving_toys import ITEMS, write_toy

FRAME = pd.DataFrame({"user_id": ["u1", "u2"], "item_id": ["i01", "i02"], "rating": [4.0, 3.0]})


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with one bundle of each kind."""
    folder = tmp_path_factory.mktemp("toys")
    for kind in ("factors", "ranker"):
        write_toy(folder / kind, kind)
    return folder


@pytest.fixture(params=["factors"])
def road(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, toys: Path) -> list[dict[str, Any]]:
    """Put a road in place that writes a toy bundle."""
    calls: list[dict[str, Any]] = []

    def fake(source: Any, recipe: Any, kernel: Any, folder: Path, **options: Any) -> dict[str, Any]:
        calls.append({"source": source, "recipe": recipe, "kernel": kernel, "folder": folder, **options})
        shutil.rmtree(folder / "bundle", ignore_errors=True)
        shutil.copytree(toys / request.param, folder / "bundle")
        (folder / "journal.jsonl").write_text("")
        options["reporter"].note("hello")
        return {"bundle": {"path": "bundle"}, "seed": recipe.seed}

    monkeypatch.setattr("autorec_kernel.pipeline.run", fake)
    return calls


def model(**parameters: Any) -> AutoRec:
    return AutoRec(plugins=Kernel(), **parameters)


# --- parameters ---------------------------------------------------------------------------------------------------------------------


def test_parameters_are_stored_as_given_and_come_back() -> None:
    roles = {"a": "user"}
    estimator = AutoRec(task="guess", budget="soon", roles=roles)
    assert estimator.get_params()["roles"] is roles
    assert (estimator.task, estimator.budget) == ("guess", "soon")
    assert AutoRec(**estimator.get_params()).get_params() == estimator.get_params()


def test_setting_an_unknown_parameter_changes_nothing_and_offers_the_nearest() -> None:
    estimator = AutoRec()
    with pytest.raises(UnknownNameError) as caught:
        estimator.set_params(seed=3, trails=2)
    assert "'trials'" in caught.value.hint
    assert estimator.seed == 0
    assert estimator.set_params(seed=3) is estimator
    assert estimator.seed == 3


def test_a_clone_has_the_parameters_and_nothing_learnt(road: list[dict[str, Any]]) -> None:
    fitted = model(seed=4, roles={"a": "user"}).fit(FRAME)
    twin = clone(fitted)
    assert twin.get_params() == fitted.get_params()
    assert twin.roles is not fitted.roles
    assert not hasattr(twin, "recommender_")


def test_it_shows_what_differs_from_the_defaults() -> None:
    assert repr(AutoRec(task="rate", trials=5)) == "AutoRec(task='rate', trials=5)"


def test_every_recipe_key_that_is_a_parameter_has_its_default() -> None:
    from autorec_kernel.recipe import Recipe

    defaults, recipe = AutoRec().get_params(), Recipe().model_dump()
    shared = set(defaults) & set(recipe)
    assert len(shared) == len(defaults) - len({"out", "resume", "plugins"})
    assert {name for name in shared if (defaults[name] or None) != (recipe[name] or None)} == set()


@pytest.mark.parametrize(
    ("parameters", "told"),
    [({"task": "guess"}, "task"), ({"budget": 5, "trials": 5}, "not both"), ({"plugins": "blocks"}, "a list")],
)
def test_a_wrong_parameter_is_told_by_fit(parameters: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        AutoRec(**parameters).fit(FRAME)


def test_without_plugins_fit_names_what_to_install() -> None:
    with pytest.raises(AutoRecError) as caught:
        model().fit(FRAME)
    assert "autorec-kernel[all]" in caught.value.hint


# --- fit ----------------------------------------------------------------------------------------------------------------------------


def test_fit_passes_parameters_and_tables_on_and_returns_itself(road: list[dict[str, Any]], tmp_path: Path) -> None:
    more = {"features": "raw", "accept_leak": ["refund"]}
    estimator = model(task="rate", budget="2min", seed=5, evaluator_options={"epochs": 2}, out=tmp_path / "run", **more)
    assert estimator.fit(FRAME, users="u.csv", items=FRAME) is estimator
    call = road[0]
    assert (call["source"] is FRAME, call["users"], call["items"] is FRAME, call["resume"]) == (True, "u.csv", True, False)
    recipe = call["recipe"]
    assert (recipe.task, recipe.seconds, recipe.seed, recipe.evaluator_options) == ("rate", 120.0, 5, {"epochs": 2})
    assert (recipe.features, recipe.accept_leak) == ("raw", ("refund",))
    assert estimator.bundle_path_ == tmp_path / "run" / "bundle"
    assert estimator.result_ == {"bundle": {"path": "bundle"}, "seed": 5}
    assert isinstance(estimator.recommender_, Recommender)
    assert json.loads((tmp_path / "run" / "log.jsonl").read_text())["message"] == "hello"


def test_a_folder_with_a_run_needs_resume(road: list[dict[str, Any]], tmp_path: Path) -> None:
    estimator = model(out=tmp_path).fit(FRAME)
    with pytest.raises(InfrastructureError, match="holds a run") as caught:
        estimator.fit(FRAME)
    assert "resume=True" in caught.value.hint
    estimator.set_params(resume=True).fit(FRAME)
    assert road[-1]["resume"] is True


def test_a_temporary_run_goes_with_the_next_fit(road: list[dict[str, Any]]) -> None:
    estimator = model()
    first = estimator.fit(FRAME).bundle_path_
    second = estimator.fit(FRAME).bundle_path_
    assert (first.exists(), second.exists()) == (False, True)


def test_a_temporary_run_goes_with_the_process(toys: Path) -> None:
    script = f"""
import shutil
from autorec_kernel import AutoRec, Kernel, pipeline
def run(source, recipe, kernel, folder, **options):
    shutil.copytree({str(toys / "factors")!r}, folder / "bundle")
    return {{"bundle": {{"path": "bundle"}}}}
pipeline.run = run
model = AutoRec(plugins=Kernel()).fit("nothing")
print(model.bundle_path_, model.bundle_path_.is_dir())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    path, there = done.stdout.split()
    assert (there, Path(path).parent.exists()) == ("True", False)


def test_a_failed_fit_leaves_the_earlier_model_and_no_folder(road: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    estimator = model().fit(FRAME)
    before = estimator.recommend("u1", k=2)
    folders: list[Path] = []

    def refuse(source: Any, recipe: Any, kernel: Any, folder: Path, **options: Any) -> Any:
        folders.append(folder)
        raise DataError("no rows")

    monkeypatch.setattr("autorec_kernel.pipeline.run", refuse)
    with pytest.raises(DataError):
        estimator.fit(FRAME)
    assert estimator.recommend("u1", k=2).equals(before)
    assert estimator.bundle_path_.is_dir()
    assert not folders[0].exists()


@pytest.mark.parametrize("kept", [True, False])
def test_an_interrupted_fit_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kept: bool) -> None:
    def stop(*arguments: Any, **options: Any) -> Any:
        raise InterruptedRun("stopped", hint="autorec run …")

    monkeypatch.setattr("autorec_kernel.pipeline.run", stop)
    with pytest.raises(InterruptedRun) as caught:
        model(out=tmp_path if kept else None).fit(FRAME)
    assert ("resume=True" if kept else "out=FOLDER") in caught.value.hint


# --- answers ------------------------------------------------------------------------------------------------------------------------


def test_recommendations_are_a_frame_in_the_order_asked(road: list[dict[str, Any]]) -> None:
    estimator = model().fit(FRAME)
    found = estimator.recommend(["u2", "nobody"], k=3)
    assert list(found.columns) == ["user", "item", "score", "rank", "answered_by"]
    assert found["user"].tolist() == ["u2"] * 3 + ["nobody"] * 3
    assert found["rank"].tolist() == [1, 2, 3] * 2
    expected = estimator.recommender_.recommend(["u2", "nobody"], k=3)
    assert found["item"].tolist() == [item for answer in expected for item in answer.items]
    assert found["answered_by"].unique().tolist() == ["model", "popularity"]


@pytest.mark.parametrize("users", ["u1", ["u1"], pd.Series(["u1"]), np.array(["u1"])])
def test_users_come_alone_or_in_any_list(road: list[dict[str, Any]], users: Any) -> None:
    found = model().fit(FRAME).recommend(users, k=500)
    assert (found["user"].unique().tolist(), len(found) < ITEMS, found["item"].is_unique) == (["u1"], True, True)


def test_ids_are_read_as_the_table_reader_reads_them() -> None:
    from autorec_kernel.estimator import _id

    assert [_id(value) for value in (7, 7.0, np.int64(7), np.float64(7), "007", 2**60, None, float("nan"), 1.5)] == [
        *["7"] * 4,
        "007",
        str(2**60),
        None,
        None,
        "1.5",
    ]


@pytest.mark.parametrize("road", ["ranker"], indirect=True)
def test_predictions_are_one_number_a_row_for_frames_files_and_pairs(road: list[dict[str, Any]], tmp_path: Path) -> None:
    estimator = model(task="rate").fit(FRAME)
    FRAME.to_csv(tmp_path / "pairs.csv", index=False)
    values = estimator.predict(FRAME)
    assert (values.dtype, values.shape) == (np.float64, (2,))
    assert (
        values.tolist() == estimator.predict(tmp_path / "pairs.csv").tolist() == estimator.predict([("u1", "i01"), ("u2", "i02")]).tolist()
    )
    assert len(set(values)) == 2


def test_pairs_without_the_columns_of_the_data_are_refused(road: list[dict[str, Any]]) -> None:
    with pytest.raises(DataError, match="user_id"):
        model().fit(FRAME).predict(pd.DataFrame({"a": ["u1"], "b": ["i01"]}))


@pytest.mark.parametrize("ask", [lambda m: m.recommend(["u1"]), lambda m: m.predict(FRAME), lambda m: m.save("x")])
def test_an_estimator_that_is_not_fitted_says_so(ask: Any) -> None:
    with pytest.raises(UsageError, match="not fitted") as caught:
        ask(AutoRec())
    assert "fit(frame)" in caught.value.hint


# --- keeping ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["kept", "kept.zip"])
def test_a_saved_model_answers_as_before(road: list[dict[str, Any]], tmp_path: Path, name: str) -> None:
    estimator = model(seed=3).fit(FRAME)
    assert estimator.save(tmp_path / name) == tmp_path / name
    loaded = AutoRec.load(tmp_path / name)
    assert loaded.recommend(["u1", "x"]).equals(estimator.recommend(["u1", "x"]))
    assert (loaded.task, loaded.result_) == (estimator.recommender_.task, None)
    loaded.save(tmp_path / "again")
    assert AutoRec.load(tmp_path / "again").recommender_.bundle.digest == estimator.recommender_.bundle.digest


def test_saving_overwrites_nothing_and_loading_refuses_damage(road: list[dict[str, Any]], tmp_path: Path) -> None:
    estimator = model().fit(FRAME)
    with pytest.raises(UsageError, match="already"):
        estimator.save(tmp_path)
    estimator.save(tmp_path / "kept")
    graph = next((tmp_path / "kept").glob("*.onnx"))
    graph.write_bytes(graph.read_bytes()[:-1] + b"!")
    with pytest.raises(BundleError):
        AutoRec.load(tmp_path / "kept")


@pytest.mark.parametrize("keep", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_fitted_estimator_is_not_pickled(road: list[dict[str, Any]], keep: Any) -> None:
    with pytest.raises(UsageError, match="not pickled") as caught:
        keep(model().fit(FRAME))
    assert "save(path)" in caught.value.hint


def test_an_estimator_that_is_not_fitted_can_be_copied() -> None:
    estimator = AutoRec(seed=3, roles={"a": "user"})
    assert copy.deepcopy(estimator).get_params() == pickle.loads(pickle.dumps(estimator)).get_params() == estimator.get_params()


def test_naming_it_imports_nothing_heavy() -> None:
    heavy = "('torch', 'pandas', 'numpy', 'sklearn')"
    code = f"import sys; from autorec_kernel import AutoRec; AutoRec(); print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
