"""A bundle whose manifest was recomputed answers what its author wants, and fails with `BundleError` alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from serving_toys import write_toy

from autorec_kernel.errors import BundleError
from autorec_kernel.records.bundle import canonical_json, content_digest, manifest_digest, member_digest, read_array, write_array
from autorec_kernel.serving import Recommender
from autorec_kernel.serving.requests import read_requests


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy") / "bundle"
    write_toy(folder, "factors")
    return folder


@pytest.fixture
def forge(original: Path, tmp_path: Path) -> Callable[..., Path]:
    """Return a function that changes the table, or JSON member, of this name and recomputes the manifest."""

    def change(name: str, make: Callable[[Any], Any]) -> Path:
        folder = Path(shutil.copytree(original, tmp_path / "bundle"))
        if name.endswith(".json"):
            member, data = name, canonical_json(make(json.loads((folder / name).read_bytes())))
        elif name.endswith(".onnx"):
            member, data = name, make((folder / name).read_bytes())
        else:
            member = json.loads((folder / "schema.json").read_bytes())["tables"][name]
            data = write_array(make(read_array((folder / member).read_bytes(), member)))
        (folder / member).write_bytes(data)
        manifest = json.loads((folder / "manifest.json").read_bytes())
        manifest["members"][member] = {"sha256": member_digest(data), "size": len(data)}
        manifest["content_digest"] = content_digest({one: facts["sha256"] for one, facts in manifest["members"].items()})
        manifest["manifest_digest"] = manifest_digest(manifest)
        (folder / "manifest.json").write_bytes(canonical_json(manifest))
        return folder

    return change


def items_made_by(data: bytes, operator: str) -> bytes:
    """Return a graph whose item vectors come out of one more operator; without one they are no output."""
    model = onnx.ModelProto.FromString(data)
    _, items = model.graph.output
    if not operator:
        del model.graph.output[1]
        return bytes(model.SerializeToString())
    (last,) = [node for node in model.graph.node if items.name in node.output]
    last.output[:] = ["before"]
    axis = onnx.numpy_helper.from_array(np.array([1 if operator == "ReduceSum" else 7]), "axis")
    model.graph.initializer.append(axis)
    flat = {"keepdims": 0} if operator == "ReduceSum" else {}
    model.graph.node.append(onnx.helper.make_node(operator, ["before", "axis"], [items.name], **flat))
    items.type.tensor_type.ClearField("shape")
    return bytes(model.SerializeToString())


def spoilt(columns: Any) -> Callable[[Any], Any]:
    return lambda schema: {**schema, "columns": columns}


AT_LOAD: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "columns that are none": ("schema.json", spoilt(["x"])),
    "columns with fields of their own": ("schema.json", spoilt([{"__class__": "x"}])),
    "columns that are a number": ("schema.json", spoilt(7)),
    "item vectors of one axis": ("retriever.onnx", lambda data: items_made_by(data, "ReduceSum")),
    "no item vectors": ("retriever.onnx", lambda data: items_made_by(data, "")),
    "item vectors that cannot be computed": ("retriever.onnx", lambda data: items_made_by(data, "Expand")),
    "events of an item far beyond the catalogue": ("seen_items", lambda array: np.full(len(array), 2**29, np.int32)),
    "events of an item before the catalogue": ("seen_items", lambda array: np.full(len(array), -1, np.int32)),
    "users whose events run backwards": ("seen_offsets", lambda array: np.array([0, 9, 2, *array[3:]])),
    "a vocabulary without an axis": ("items.offsets", lambda array: np.array(5)),
}


@pytest.mark.parametrize("name", AT_LOAD)
def test_an_ill_formed_member_is_refused_when_the_bundle_is_opened(forge: Callable[..., Path], name: str) -> None:
    with pytest.raises(BundleError):
        Recommender.load(forge(*AT_LOAD[name]))


def test_ids_that_are_no_text_end_in_a_bundle_error(forge: Callable[..., Path]) -> None:
    recommender = Recommender.load(forge("items.bytes", lambda array: np.full(len(array), 0xFF, np.uint8)))
    asked: tuple[Callable[[], Any], ...] = (
        lambda: recommender.recommend(["u4"], k=40, exclude_seen=False),
        lambda: list(recommender.stream(read_requests(recommender.state, ["u4"], None), 40)),
        lambda: recommender.score("u4", ["i01"]),
        lambda: recommender.predict(["u4"], ["i01"]),
    )
    for one in asked:
        with pytest.raises(BundleError, match="not what a bundle holds: UnicodeDecodeError"):
            one()
