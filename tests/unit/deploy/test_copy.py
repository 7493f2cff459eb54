from __future__ import annotations

from pathlib import Path

import pytest

from autorec_kernel.deploy.copy import copy_bundle
from autorec_kernel.errors import BundleError, InfrastructureError, UsageError
from autorec_kernel.serving import open_bundle
from tests.unit.serving.serving_toys import write_toy


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("copy") / "bundle"
    write_toy(folder, "factors")
    return folder


def test_a_bundle_goes_to_a_folder_to_a_zip_and_back(bundle: Path, tmp_path: Path) -> None:
    digest = open_bundle(bundle).digest
    copies = [
        copy_bundle(bundle, tmp_path / "new" / "a"),
        copy_bundle(bundle, tmp_path / "b.zip"),
        copy_bundle(tmp_path / "b.zip", tmp_path / "c"),
    ]
    assert [copy.digest for copy in copies] == [digest] * 3
    assert {path.name: path.read_bytes() for path in (tmp_path / "c").glob("*") if path.is_file()} == {
        path.name: path.read_bytes() for path in bundle.glob("*") if path.is_file()
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.zip", "c", "new"]


def test_nothing_is_overwritten(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="already"):
        copy_bundle(bundle, tmp_path)


def test_a_place_that_cannot_be_written_is_named(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InfrastructureError, match="cannot be written"):
        copy_bundle(bundle, tmp_path / "file" / "b")


def test_another_bundle_than_the_one_asked_for_is_refused(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        copy_bundle(bundle, tmp_path / "b", require_digest="0" * 64)
