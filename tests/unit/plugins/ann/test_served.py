"""A bundle with an inverted file: the same bytes twice, refused when it was changed, and served without faiss where there is none."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("faiss")
sys.path.insert(0, str(Path(__file__).parents[2] / "serving"))

from wide_toys import USERS, Wide, state, wide_model, write_wide

from autorec_kernel.deploy.bundle import ServedModel, served_model
from autorec_kernel.deploy.export import export_onnx
from autorec_kernel.deploy.index import with_index
from autorec_kernel.errors import BundleError
from autorec_kernel.kernel import Kernel
from autorec_kernel.records.bundle import canonical_json, content_digest, manifest_digest, member_digest, read_array, write_array
from autorec_kernel.serving import Recommender

IDS = [f"u{number}" for number in range(1, USERS)]
ARRAYS = {"centroids", "codes", "ranges", "rows", "spread", "starts", "users"}


@pytest.fixture(scope="module")
def kernel() -> Kernel:
    from autorec_ann import plugin

    return Kernel(plugins={"ann": plugin})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, kernel: Kernel) -> Path:
    folder = tmp_path_factory.mktemp("indexed") / "bundle"
    write_wide(folder, with_index(wide_model(), state(), kernel, exact_up_to=1000))
    return folder


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(whole, tmp_path / "bundle"))


def member_of(folder: Path, name: str) -> str:
    tables = json.loads((folder / "schema.json").read_bytes())["tables"]
    return str(tables[f"@index.{name}"])


def change(folder: Path, name: str, make: Callable[[np.ndarray], np.ndarray]) -> None:
    """Change an array of the index and make the manifest fit, as somebody would who may write the bundle."""
    member = member_of(folder, name)
    (folder / member).write_bytes(write_array(make(read_array((folder / member).read_bytes(), member))))
    manifest = json.loads((folder / "manifest.json").read_bytes())
    data = (folder / member).read_bytes()
    manifest["members"][member] = {"sha256": member_digest(data), "size": len(data)}
    manifest["content_digest"] = content_digest({name: facts["sha256"] for name, facts in manifest["members"].items()})
    manifest["manifest_digest"] = manifest_digest(manifest)
    (folder / "manifest.json").write_bytes(canonical_json(manifest))


def test_the_index_is_in_the_bundle_as_plain_arrays(whole: Path, kernel: Kernel) -> None:
    schema = json.loads((whole / "schema.json").read_bytes())
    assert schema["index"]["component"] == "ann/inverted-file"
    assert schema["index"]["recall@10"] >= 0.99
    assert {name.removeprefix("@index.") for name in schema["tables"] if name.startswith("@index.")} == ARRAYS
    assert {path.suffix for path in whole.rglob("*") if path.is_file()} == {".json", ".md", ".npy", ".onnx"}


def test_lists_are_made_by_the_index_and_hold_what_exact_lists_hold(whole: Path, kernel: Kernel) -> None:
    with_it, without = Recommender.load(whole, create=kernel.create), Recommender.load(whole)
    assert with_it.retrieval.startswith("ann/inverted-file: recall@10 ")
    found, exact = with_it.recommend(IDS), without.recommend(IDS)
    assert {len(answer.items) for answer in found} == {10}
    common = [len({*one.items} & {*other.items}) for one, other in zip(found, exact, strict=True)]
    assert np.mean(common) > 9.9


def test_equal_models_give_equal_bytes(whole: Path, tmp_path: Path, kernel: Kernel) -> None:
    write_wide(tmp_path / "again", with_index(wide_model(), state(), kernel, exact_up_to=1000))
    for name in ARRAYS:
        assert (whole / member_of(whole, name)).read_bytes() == (tmp_path / "again" / member_of(tmp_path / "again", name)).read_bytes(), (
            name
        )
    assert (whole / "manifest.json").read_bytes() == (tmp_path / "again" / "manifest.json").read_bytes()


def in_groups(noise: float) -> ServedModel:
    """Return the model with items in forty groups, the wider the noise."""
    rng = np.random.default_rng(3)
    items = rng.normal(size=(40, 12))[rng.integers(0, 40, 3001)] + noise * rng.normal(size=(3001, 12))
    network = Wide()
    network.items = torch.from_numpy(items.astype(np.float32))
    return served_model(network, export_onnx(network, {"user_id": np.arange(4)}))


def test_where_the_weakest_effort_finds_too_little_a_stronger_one_is_taken(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    narrow, wide = (with_index(in_groups(noise), state(), kernel, exact_up_to=1000).index for noise in (0.2, 1.0))
    assert 0 <= narrow["effort"] < wide["effort"]
    assert min(narrow["recall@10"], wide["recall@10"]) >= 0.99
    monkeypatch.setattr("autorec_ann.cells._LARGEST", 0.0)  # the weakest effort alone
    found = with_index(in_groups(1.0), state(), kernel, exact_up_to=1000)
    assert found.index == {"told": "the index ann/inverted-file has a recall@10 below 0.99"}
    assert found.index_arrays == {}


@pytest.mark.parametrize("name", sorted(ARRAYS))
def test_a_changed_byte_is_refused_before_anything_is_parsed(copy: Path, kernel: Kernel, name: str) -> None:
    path = copy / member_of(copy, name)
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleError, match="sha256"):
        Recommender.load(copy, create=kernel.create)


MALFORMED = {
    "rows": lambda rows: np.full_like(rows, 1 << 30),
    "starts": lambda starts: np.append(starts[:-1], 1 << 40),
    "codes": lambda codes: codes[:-1],
    "centroids": lambda middles: np.full_like(middles, np.nan),
    "ranges": lambda ranges: ranges[:2],
    "spread": lambda spread: spread.astype(np.float64),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_index_is_refused_though_its_hashes_fit(copy: Path, kernel: Kernel, name: str) -> None:
    change(copy, name, MALFORMED[name])
    with pytest.raises(BundleError, match="index"):
        Recommender.load(copy, create=kernel.create)


@pytest.mark.parametrize("name", ["rows", "codes", "centroids"])
def test_a_well_formed_index_of_other_items_is_not_used(copy: Path, kernel: Kernel, name: str) -> None:
    change(copy, name, lambda array: np.ascontiguousarray(array[::-1]))
    found = Recommender.load(copy, create=kernel.create)
    assert found.retrieval == "exact: the index ann/inverted-file has a recall@10 below 0.99"
    assert found.recommend(["u3"]) == Recommender.load(copy).recommend(["u3"])


def test_a_required_digest_refuses_another_index(copy: Path, whole: Path, kernel: Kernel) -> None:
    digest = json.loads((whole / "manifest.json").read_bytes())["content_digest"]
    change(copy, "codes", lambda codes: codes[::-1])
    with pytest.raises(BundleError, match="required"):
        Recommender.load(copy, create=kernel.create, require_digest=digest)


def test_without_faiss_lists_are_exact_and_the_package_is_named(whole: Path, kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)  # how an import is forbidden
    from autorec_ann import plugin

    found = Recommender.load(whole, create=Kernel(plugins={"ann": plugin}).create)
    assert found.retrieval.startswith("exact: index 'ann/inverted-file' is unavailable: it needs 'faiss'")
    assert len(found.recommend(["u3"])[0].items) == 10


def test_serving_imports_neither_faiss_nor_the_plugin_unless_asked(whole: Path) -> None:
    code = (
        "import sys\nfrom autorec_kernel.serving import Recommender\n"
        f"found = Recommender.load({str(whole)!r})\nprint(found.retrieval, len(found.recommend(['u3'])[0].items))\n"
        "print(sorted({'faiss', 'torch', 'pluggy', 'pydantic', 'autorec_ann'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "exact: the index ann/inverted-file is used where `create` is given 10\n[]\n"


def test_a_server_verifies_the_index_elsewhere_and_then_asks_it(copy: Path, kernel: Kernel, caplog: pytest.LogCaptureFixture) -> None:
    from autorec_serve.check import verified_digest
    from autorec_serve.loaded import load

    with caplog.at_level("INFO"):
        found = load(copy, 1, "", kernel)
    assert found.recommender.retrieval.startswith("ann/inverted-file: recall@10")
    assert f"bundle {found.digest}, retrieval: ann/inverted-file" in caplog.text
    change(copy, "rows", MALFORMED["rows"])
    with pytest.raises(BundleError, match="every row once"):
        verified_digest(copy, kernel=kernel)
