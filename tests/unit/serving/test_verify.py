from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, numpy_helper
from serving_toys import write_toy

from autorec_kernel.deploy.bundle import pack
from autorec_kernel.errors import BundleError
from autorec_kernel.records.bundle import canonical_json, content_digest, manifest_digest, member_digest, read_array, read_json, write_array
from autorec_kernel.serving import open_bundle, verify_bundle


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy") / "bundle"
    write_toy(folder, "scores")
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(original, tmp_path / "bundle"))


def reseal(folder: Path, **changes: Any) -> None:
    """Make the manifest consistent again, as an attacker would."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != "manifest.json"}
    manifest["members"] = {name: {"sha256": member_digest(data), "size": len(data)} for name, data in files.items()}
    manifest["content_digest"] = content_digest({name: member_digest(data) for name, data in files.items()})
    manifest.update(changes)
    manifest["manifest_digest"] = manifest_digest(manifest)
    (folder / "manifest.json").write_bytes(canonical_json(manifest))


def test_a_written_bundle_verifies(folder: Path) -> None:
    assert verify_bundle(folder).manifest["task"] == "recommend"


def test_a_newer_format_is_refused_with_the_advice_to_upgrade(folder: Path) -> None:
    reseal(folder, format=99)
    with pytest.raises(BundleError, match="newer") as caught:
        open_bundle(folder)
    assert "upgrade" in caught.value.hint


def test_a_changed_weight_with_repaired_hashes_fails_the_golden_rows(folder: Path) -> None:
    model = ModelProto.FromString((folder / "retriever.onnx").read_bytes())
    tensor = next(t for t in model.graph.initializer if list(t.dims) == [64, 64])
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1.5), tensor.name))
    (folder / "retriever.onnx").write_bytes(model.SerializeToString())
    reseal(folder)
    open_bundle(folder)
    with pytest.raises(BundleError, match="golden rows"):
        verify_bundle(folder)


def test_external_data_with_repaired_hashes_is_refused_before_a_session_exists(folder: Path) -> None:
    model = ModelProto.FromString((folder / "retriever.onnx").read_bytes())
    model.graph.initializer[0].external_data.add(key="location", value="/etc/passwd")
    (folder / "retriever.onnx").write_bytes(model.SerializeToString())
    reseal(folder)
    with pytest.raises(BundleError, match="external data"):
        open_bundle(folder)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("golden.json", {}),
        ("golden.json", {"tolerance": "x", "models": {}}),
        ("golden.json", {"tolerance": 1e-4, "models": {"retriever": {"inputs": {}, "outputs": {}}}}),
        ("golden.json", []),
        ("schema.json", {"models": {}}),
        ("schema.json", {"models": {"ranker": {}}}),
        ("schema.json", {"models": {"retriever": {}}}),
        ("schema.json", {"models": {"retriever": {"inputs": 3, "outputs": 4}}}),
    ],
)
def test_a_consistent_member_of_the_wrong_form_is_refused(folder: Path, member: str, value: Any) -> None:
    (folder / member).write_bytes(canonical_json(value))
    reseal(folder)
    with pytest.raises(BundleError):
        verify_bundle(folder)


def test_a_required_digest_must_match(folder: Path) -> None:
    digest = open_bundle(folder).digest
    assert open_bundle(folder, require_digest=f"sha256:{digest}").digest == digest
    with pytest.raises(BundleError, match="is required"):
        open_bundle(folder, require_digest="0" * 64)


def test_an_array_of_objects_is_neither_written_nor_read(tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        write_array(np.array(["a", None], dtype=object))
    np.save(tmp_path / "x.npy", np.array(["a", None], dtype=object), allow_pickle=True)
    with pytest.raises(BundleError, match="plain array"):
        read_array((tmp_path / "x.npy").read_bytes(), "x.npy")


def test_an_array_whose_header_claims_more_than_it_holds_is_refused() -> None:
    data = write_array(np.zeros((3, 4), np.float32))
    with pytest.raises(BundleError, match="differs from its header"):
        read_array(data.replace(b"(3, 4)", b"(9, 9)"), "x.npy")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"'<f4'", b"'>f4'"),
        (b"'<f4'", b"'|O8'"),
        (b"'<f4'", b"'<U1'"),
        (b"False", b"True "),
        (b"(3, 4)", b"(-3, 4"),
        (b"(3, 4)", b"((3,4)"),
        (b"(3, 4)", b"[3, 4]"),
        (b"(3, 4), }", b"(3, 4)   "),
        (b"{'descr'", b"{\"descr'"),
        (b"\x01\x00\x76", b"\x02\x00\x76"),
        (b"\x01\x00\x76", b"\x01\x00\x75"),
        (b"\n", b" "),
    ],
)
def test_a_header_in_another_form_is_refused_and_never_evaluated(old: bytes, new: bytes) -> None:
    data = write_array(np.zeros((3, 4), np.float32))
    assert data.count(old) >= 1
    with pytest.raises(BundleError, match="not a plain array"):
        read_array(data.replace(old, new, 1), "x.npy")


@pytest.mark.parametrize("rest", [b"", b"(" * 60_000, b"'shape': (" + b"1, " * 20_000, b"1" * 65_000])
def test_a_hostile_header_is_refused_at_once(rest: bytes) -> None:
    head = b"\x93NUMPY\x01\x00\xff\xff{'descr': '<f4', 'fortran_order': False, "
    start = time.process_time()
    with pytest.raises(BundleError, match="not a plain array"):
        read_array(head + rest * 20, "x.npy")
    assert time.process_time() - start < 1


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is on address space")
def test_reading_sets_no_more_memory_aside_than_a_bundle_has(folder: Path) -> None:
    code = """
import resource, sys
from autorec_kernel.serving import open_bundle
with open("/proc/self/statm") as file:
    size = int(file.read().split()[0]) * resource.getpagesize() + (100 << 20)
resource.setrlimit(resource.RLIMIT_AS, (size, size))
print(open_bundle(sys.argv[1]).digest)
"""
    pack(folder, folder.with_name("bundle.zip"))
    for path in (folder, folder.with_name("bundle.zip")):
        done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False)
        assert done.stdout.strip() == open_bundle(folder).digest, done.stderr


def test_arrays_round_trip() -> None:
    for array in (np.zeros((0, 3), np.float32), np.array(5), np.arange(6, dtype=np.int32).reshape(2, 3).T, np.array([True, False])):
        found = read_array(write_array(array), "x.npy")
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("text", ["[" * 40 + "]" * 40, '{"a":1,"a":2}', "NaN", "[Infinity]", "{", '"\\', "1" * 5000])
def test_json_that_is_not_strict_is_refused(text: str) -> None:
    with pytest.raises(BundleError):
        read_json(text.encode(), "x.json")


def test_brackets_inside_strings_are_no_depth() -> None:
    assert read_json(json.dumps(["[" * 100, '"[\\"' * 50]).encode(), "x.json")[0] == "[" * 100
