"""What `--format onnx` writes is enough to answer as the bundle does, with numpy and onnxruntime alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from autorec_export.onnx_form import write_onnx
from autorec_kernel.errors import BundleError
from autorec_kernel.records.as_of import AsOfTable
from autorec_kernel.records.program import Program, ReadContext, run_program
from autorec_kernel.serving import Recommender

BLOCKED = ("autorec_kernel", "torch", "pandas", "onnx")


@pytest.fixture(scope="module", params=["retriever", "factors", "scores", "ranker", "packed", "events"])
def exported(request: pytest.FixtureRequest, cases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Recommender]:
    out = tmp_path_factory.mktemp("onnx") / request.param
    write_onnx(cases[request.param], out)
    return out, Recommender.load(cases[request.param])


def facts_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "metadata.json").read_text())
    return found


def run_example(folder: Path, *words: str) -> list[list[str]]:
    """Run the example where neither the kernel nor what made the model can be imported."""
    code = f"""
import runpy, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {BLOCKED!r}:
            raise ImportError(name)
sys.meta_path.insert(0, Blocked())
sys.argv = ["example.py", *{words!r}]
runpy.run_path({str(folder / "example.py")!r}, run_name="__main__")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=os.sep, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    return [line.split() for line in done.stdout.splitlines()]


def test_the_example_answers_as_the_bundle_does(exported: tuple[Path, Recommender]) -> None:
    folder, recommender = exported
    if recommender.role == "retriever":
        for user in ("u1", "u4", "nobody"):
            (expected,) = recommender.recommend([user], k=10)
            found = run_example(folder, user)
            assert [item for item, _ in found] == list(expected.items)
            if user != "nobody":
                assert np.allclose([float(score) for _, score in found], expected.scores, atol=1e-5)
    else:
        items = ["i03", "i01", "strange"]
        for user in ("u2", "nobody"):
            found = run_example(folder, user, *items)
            expected_rows = recommender.predict([user] * 3, items)
            known = [row for row in range(3) if user != "nobody" or row < 2]  # of a pair that nothing is known of the bundle tells the mean
            assert [item for item, _ in found] == items
            assert np.allclose([float(found[row][1]) for row in known], expected_rows.values[known], atol=1e-5)


def test_the_example_is_short(exported: tuple[Path, Recommender]) -> None:
    lines = (exported[0] / "example.py").read_text().splitlines()
    assert len([line for line in lines if line and not line.startswith(("import", "from", '"""'))]) <= 20


def test_every_input_is_told_with_type_shape_and_vocabulary(exported: tuple[Path, Recommender]) -> None:
    folder, recommender = exported
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    told = facts_of(folder)["inputs"]
    assert [one["name"] for one in told] == [entry.name for entry in session.get_inputs()]
    for one, entry in zip(told, session.get_inputs(), strict=True):
        feature = recommender.state.schema[one["name"]]
        assert one["dtype"] == {"tensor(int64)": "int64", "tensor(float)": "float32"}[entry.type]
        assert (one["shape"][0], len(one["shape"])) == ("batch", len(entry.shape))
        assert (one["vocabulary"] is None) == (feature.kind == "numeric")
        if one["vocabulary"]:
            assert one["vocabulary"]["size"] == feature.size
        if one["values"]:
            array = np.load(folder / one["values"])
            assert array.dtype == one["dtype"]
            assert len(array) == (recommender.state.users.size if one["depends"] == "user" else recommender.state.items.size)


def test_golden_rows_come_out_of_the_exported_graph(exported: tuple[Path, Recommender]) -> None:
    folder, recommender = exported
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    golden = recommender.bundle.json("golden.json")["models"][recommender.role]
    feeds = {entry.name: recommender.bundle.array(golden["inputs"][entry.name]) for entry in session.get_inputs()}
    found = session.run(None, feeds)
    assert [one["name"] for one in facts_of(folder)["outputs"]] == list(golden["outputs"])
    for value, parts in zip(found, golden["outputs"].values(), strict=True):
        flat = value.reshape(len(value), -1)[:, recommender.bundle.array(parts["columns"])]
        assert np.allclose(flat, recommender.bundle.array(parts["values"]), atol=1e-5)


def test_ids_stand_at_their_rows(exported: tuple[Path, Recommender]) -> None:
    folder, recommender = exported
    for name in ("users", "items"):
        ids = json.loads((folder / f"{name}.json").read_text())
        assert ids[0] is None
        assert getattr(recommender.state, name).row_of(ids[1:]).tolist() == list(range(1, len(ids)))


def test_item_vectors_come_with_a_factorised_retriever_alone(exported: tuple[Path, Recommender]) -> None:
    folder, recommender = exported
    told = facts_of(folder)["vectors"]
    assert (told is not None) == (recommender.graph.outputs == ("user",))
    if told:
        assert np.load(folder / told).shape[0] == recommender.items


def test_a_program_makes_the_input_from_raw_columns(cases: dict[str, Path], tmp_path: Path) -> None:
    write_onnx(cases["events"], tmp_path / "out")
    (price,) = [one for one in facts_of(tmp_path / "out")["inputs"] if one["name"] == "price"]
    meta = price["program"]
    arrays = {name: np.load(tmp_path / "out" / path) for name, path in meta["arrays_stored"].items()}
    found = run_program(Program.load(meta, arrays), {"price": np.array([1.5, np.nan])}, ReadContext(2, latest=True))
    assert (price["values"], price["depends"], price["unknown"]) == (None, "request", [0.0])
    assert found[meta["output"]].tolist() == [[3.0], [0.0]]


def test_a_program_with_a_running_aggregate_is_stored_whole(cases: dict[str, Path], tmp_path: Path) -> None:
    write_onnx(cases["scores"], tmp_path / "out")
    (history,) = facts_of(tmp_path / "out")["inputs"]
    meta = history["program"]
    arrays = {name: np.load(tmp_path / "out" / path) for name, path in meta["arrays_stored"].items()}
    program = Program.load(meta, arrays)
    assert isinstance(program.tables["history"], AsOfTable)
    users = np.arange(6)
    found = run_program(program, {"@user": users}, ReadContext(6, latest=True))[meta["output"]]
    assert np.array_equal(np.asarray(found), np.load(tmp_path / "out" / history["values"]))


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no bundle"):
        write_onnx(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
