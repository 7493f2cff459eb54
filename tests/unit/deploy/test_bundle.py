from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from serving_toys import TOYS, profiled, sample, state, write_toy

from autorec_kernel.deploy.bundle import ServedModel, pack, served_model, verify_bundle, write_bundle
from autorec_kernel.errors import BundleError, InfrastructureError
from autorec_kernel.serving import Recommender


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("toy") / "bundle"
    write_toy(path, "factors")
    return path


def model_of(kind: str, folder: Path) -> ServedModel:
    network = TOYS[kind]()
    return served_model(network, (folder / "retriever.onnx").read_bytes())


def test_the_same_model_gives_the_same_bundle_bytes(folder: Path, tmp_path: Path) -> None:
    write_toy(tmp_path / "again", "factors")
    assert tree(tmp_path / "again") == tree(folder)


def test_the_content_digest_covers_what_answers_and_not_the_report(folder: Path, tmp_path: Path) -> None:
    digest = verify_bundle(folder).digest
    model = model_of("factors", folder)
    assert write_toy(tmp_path / "report", "factors", model=model, report={"report.json": b"{}"}).digest == digest
    graph = onnx.ModelProto.FromString(model.graph)
    for tensor in graph.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * 2, tensor.name))
    changed = ServedModel(model.role, graph.SerializeToString(), model.spec)
    assert write_toy(tmp_path / "vectors", "factors", model=changed).digest != digest


def test_a_packed_bundle_is_deterministic_and_answers(folder: Path, tmp_path: Path) -> None:
    first, second = pack(folder, tmp_path / "a.zip"), pack(folder, tmp_path / "b.zip")
    assert first.read_bytes() == second.read_bytes()
    assert Recommender.load(first).recommend(["u1"]) == Recommender.load(folder).recommend(["u1"])


@pytest.mark.parametrize("kind", ["factors", "scores", "ranker"])
def test_a_bundle_holds_what_its_model_and_its_drift_profile_read_and_no_more(kind: str, tmp_path: Path) -> None:
    write_toy(tmp_path / "plain", kind)
    found = Recommender.load(tmp_path / "plain").state
    read = {"user_id", "item_id", *TOYS[kind].inputs}
    assert {feature.name for feature in found.schema.features} == {*found.tables, *found.programs} == read
    features = ["user_id", "price", "history"]
    profile = profiled(state(), features, ["u1", "u2"], ["i01", "i02"], {})
    write_toy(tmp_path / "watched", kind, drift=profile)
    opened = Recommender.load(tmp_path / "watched")
    assert {feature.name for feature in opened.state.schema.features} == read | set(features)
    assert opened.drift(["u1"], ["i01"], {}) is not None


def test_writing_replaces_what_stood_there_and_leaves_nothing_else(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    target.mkdir()
    (target / "old.txt").write_text("old")
    write_toy(target, "factors", model=model_of("factors", folder))
    assert tree(target) == tree(folder)
    assert os.listdir(tmp_path) == ["bundle"]


def test_a_folder_that_cannot_be_written_is_an_infrastructure_error(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InfrastructureError, match="cannot be written"):
        write_toy(tmp_path / "file" / "bundle", "factors", model=model_of("factors", folder))


def test_a_member_of_an_unknown_name_is_refused_before_anything_is_written(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="not a name"):
        write_toy(tmp_path / "bundle", "factors", model=model_of("factors", folder), report={"notes.txt": b"x"})
    assert os.listdir(tmp_path) == []


def test_a_factorised_model_without_its_vectors_is_refused_when_it_is_opened(folder: Path, tmp_path: Path) -> None:
    model = model_of("factors", folder)
    graph = onnx.ModelProto.FromString(model.graph)
    del graph.graph.output[1]
    write_toy(tmp_path / "bundle", "factors", model=ServedModel(model.role, graph.SerializeToString(), model.spec))
    with pytest.raises(BundleError, match="item vectors"):
        Recommender.load(tmp_path / "bundle")


def test_the_card_names_protocol_metrics_and_data(folder: Path) -> None:
    card = (folder / "CARD.md").read_text()
    for text in ("given/test", "ndcg@10", "0.5000", "rows: 19", "`[toy]`", "answered_by"):
        assert text in card


def test_numbers_that_json_cannot_say_become_null(folder: Path, tmp_path: Path) -> None:
    from serving_toys import COLUMNS

    from autorec_kernel.deploy.bundle import BundleFacts

    facts = BundleFacts("recommend", "p", {"test": {"auc": float("nan"), "hr": np.float64(0.5)}})
    model = model_of("factors", folder)
    bundle = write_bundle(tmp_path / "b", model=model, state=state(), sample=sample(("user_id",)), facts=facts, columns=COLUMNS)
    assert bundle.manifest["metrics"] == {"test": {"auc": None, "hr": 0.5}}


@pytest.mark.parametrize(("steps", "rows"), [(4, 32), (100, 16), (1000, 8)])
def test_golden_rows_of_long_histories_are_fewer(steps: int, rows: int, tmp_path: Path) -> None:
    history = {"history": np.ones((40, steps), np.int64)}
    write_toy(tmp_path / "bundle", "scores", sample=history)
    assert np.load(tmp_path / "bundle" / "golden" / "retriever-in0.npy").shape == (rows, steps)
