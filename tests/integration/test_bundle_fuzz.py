"""Every damaged bundle is refused with exit 5, and refusing writes nothing."""

from __future__ import annotations

import os
import shutil
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from autorec_kernel.errors import BundleError
from autorec_kernel.serving import open_bundle, verify_bundle
from autorec_kernel.serving.archive import read_members, zip_bytes

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "serving"))

from serving_toys import write_toy

Tree = dict[str, bytes]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "bundle"
    write_toy(folder, "factors")
    return folder


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "bundle"))


def tree(folder: Path) -> Tree:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def assert_refused(path: Path) -> str:
    with pytest.raises(BundleError) as caught:
        open_bundle(path)
    assert caught.value.exit_code == 5
    return str(caught.value)


def flip_in_folder(folder: Path, mutants: int, rng: np.random.Generator) -> list[str]:
    """Flip one random bit of a random member at a time; return what was accepted."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    accepted = []
    for number in range(mutants):
        path = files[number % len(files)]
        good = path.read_bytes()
        place, bit = int(rng.integers(len(good))), 1 << int(rng.integers(8))
        path.write_bytes(good[:place] + bytes([good[place] ^ bit]) + good[place + 1 :])
        try:
            open_bundle(folder)
            accepted.append(f"{path.name} byte {place} bit {bit}")
        except BundleError:
            continue
        finally:
            path.write_bytes(good)
    return accepted


def flip_in_zip(whole: Path, target: Path, mutants: int, rng: np.random.Generator) -> list[str]:
    good = zip_bytes(read_members(whole))
    accepted = []
    for _ in range(mutants):
        place, bit = int(rng.integers(len(good))), 1 << int(rng.integers(8))
        target.write_bytes(good[:place] + bytes([good[place] ^ bit]) + good[place + 1 :])
        try:
            open_bundle(target)
            accepted.append(f"zip byte {place} bit {bit}")
        except BundleError:
            continue
    return accepted


def test_any_flipped_bit_in_a_folder_is_refused(copy: Path, tmp_path: Path) -> None:
    before = sorted(os.listdir(tmp_path))
    assert flip_in_folder(copy, 220, np.random.default_rng(1)) == []
    assert sorted(os.listdir(tmp_path)) == before
    verify_bundle(copy)


def test_any_flipped_bit_in_a_zip_is_refused(whole: Path, tmp_path: Path) -> None:
    assert flip_in_zip(whole, tmp_path / "bundle.zip", 220, np.random.default_rng(2)) == []


@pytest.mark.slow
def test_three_thousand_flipped_bits_are_refused(copy: Path, tmp_path: Path) -> None:
    assert flip_in_folder(copy, 1500, np.random.default_rng(3)) == []
    assert flip_in_zip(copy, tmp_path / "bundle.zip", 1500, np.random.default_rng(4)) == []


def test_every_header_byte_of_a_zip_counts(whole: Path, tmp_path: Path) -> None:
    good, target = zip_bytes(read_members(whole)), tmp_path / "bundle.zip"
    accepted = []
    for place in [*range(60), *range(len(good) - 90, len(good))]:
        target.write_bytes(good[:place] + bytes([good[place] ^ 0xFF]) + good[place + 1 :])
        try:
            open_bundle(target)
            accepted.append(place)
        except BundleError:
            continue
    assert accepted == []


def test_each_removed_member_is_named(copy: Path) -> None:
    for name, data in tree(copy).items():
        (copy / name).unlink()
        assert name in assert_refused(copy)
        (copy / name).write_bytes(data)
    verify_bundle(copy)


def test_each_truncated_or_grown_member_is_refused(copy: Path) -> None:
    for name, data in tree(copy).items():
        for changed in (data[:-1], data + b"\0", b""):
            (copy / name).write_bytes(changed)
            assert_refused(copy)
        (copy / name).write_bytes(data)


ODD_NAMES = (
    "extra.npy",
    "tables/extra.npy",
    "golden/zz.npy",
    "report.json",
    "MANIFEST.json",
    "Manifest.JSON",
    "retriever.ONNX",
    "ranker.onnx",
    ".hidden",
    "weights.pt",
    "model.pkl",
    "tables/a b.npy",
    "tables/é.npy",
    "tables/x.npy ",
    "tables/-x.npy",
    "tables/" + "x" * 120 + ".npy",
)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_an_unlisted_member_is_refused(copy: Path, name: str) -> None:
    if (copy / name).exists():
        pytest.skip("the file system ignores case")
    (copy / name).write_bytes(b"x")
    assert_refused(copy)


def test_an_unlisted_folder_is_refused(copy: Path) -> None:
    (copy / "more").mkdir()
    assert_refused(copy)


def test_a_folder_below_the_tables_is_refused(copy: Path) -> None:
    (copy / "tables" / "deep.npy").mkdir()
    assert_refused(copy)


def renamed(folder: Path) -> None:
    names = sorted((folder / "tables").iterdir())
    data = names[0].read_bytes()
    names[0].write_bytes(names[1].read_bytes())
    names[1].write_bytes(data)


def test_two_swapped_members_are_refused(copy: Path) -> None:
    renamed(copy)
    assert_refused(copy)


def linked(make: Callable[[Path, Path], None]) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = next((folder / "tables").iterdir())
        outside = folder.parent / "outside.npy"
        outside.write_bytes(path.read_bytes())
        path.unlink()
        make(outside, path)

    return change


LINKS = {
    "symbolic": linked(lambda outside, path: path.symlink_to(outside)),
    "relative": linked(lambda outside, path: path.symlink_to("../../outside.npy")),
    "hard": linked(lambda outside, path: os.link(outside, path)),
    "dangling": linked(lambda outside, path: path.symlink_to(outside.parent / "nothing")),
    "pipe": linked(lambda outside, path: os.mkfifo(path)),
}


@pytest.mark.parametrize("kind", LINKS)
def test_a_linked_or_special_member_is_refused(copy: Path, kind: str) -> None:
    LINKS[kind](copy)
    assert_refused(copy)


def test_a_linked_folder_is_refused(copy: Path) -> None:
    outside = copy.parent / "tables"
    shutil.move(copy / "tables", outside)
    (copy / "tables").symlink_to(outside, target_is_directory=True)
    assert_refused(copy)


def write_zip(path: Path, members: Tree, **options: int) -> Path:
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return path


@pytest.mark.parametrize(
    "name",
    ["../evil.npy", "/etc/evil.npy", "C:\\evil.npy", "tables\\evil.npy", "tables/../x.npy", "tables//x.npy", "a\x00.npy", "TABLES/x.npy"],
)
def test_a_zip_member_that_climbs_is_refused_and_never_written(whole: Path, tmp_path: Path, name: str) -> None:
    members = {**tree(whole), name: b"evil"}
    target = write_zip(tmp_path / "bundle.zip", members)
    assert_refused(target)
    assert [path.name for path in tmp_path.iterdir()] == ["bundle.zip"]
    assert not (tmp_path.parent / "evil.npy").exists()


def test_a_compressed_zip_is_refused(whole: Path, tmp_path: Path) -> None:
    target = tmp_path / "bundle.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in tree(whole).items():
            archive.writestr(name, data)
    assert_refused(target)


def test_a_zip_with_a_repeated_member_is_refused(whole: Path, tmp_path: Path) -> None:
    target = write_zip(tmp_path / "bundle.zip", tree(whole))
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(target, "a") as archive:
        archive.writestr("CARD.md", b"other")
    assert_refused(target)


def test_a_zip_that_claims_more_than_it_holds_is_refused(whole: Path, tmp_path: Path) -> None:
    good = bytearray(zip_bytes(read_members(whole)))
    struct.pack_into("<I", good, 18, 1 << 31)
    struct.pack_into("<I", good, 22, 1 << 31)
    target = tmp_path / "bundle.zip"
    target.write_bytes(good)
    assert_refused(target)


def test_a_zip_with_overlapping_members_is_refused(whole: Path, tmp_path: Path) -> None:
    good = bytearray(zip_bytes(read_members(whole)))
    central = good.rindex(b"PK\x01\x02")
    struct.pack_into("<I", good, central + 42, 0)
    target = tmp_path / "bundle.zip"
    target.write_bytes(good)
    assert_refused(target)


@pytest.mark.parametrize("around", [(b"x", b""), (b"", b"x"), (b"#!/bin/sh\n", b"")])
def test_a_zip_with_something_around_it_is_refused(whole: Path, tmp_path: Path, around: tuple[bytes, bytes]) -> None:
    target = tmp_path / "bundle.zip"
    target.write_bytes(around[0] + zip_bytes(read_members(whole)) + around[1])
    assert_refused(target)


def test_a_whole_zip_is_accepted_and_is_a_zip_to_others(whole: Path, tmp_path: Path) -> None:
    target = tmp_path / "bundle.zip"
    target.write_bytes(zip_bytes(read_members(whole)))
    assert verify_bundle(target).digest == verify_bundle(whole).digest
    with zipfile.ZipFile(target) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == tree(whole)


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b"null", b"\xff\xfe", b"{" * 10_000, b'{"format":1,"format":1}', b'{"format":NaN}', b"PK"]
)
def test_an_odd_manifest_is_refused(copy: Path, data: bytes) -> None:
    (copy / "manifest.json").write_bytes(data)
    assert_refused(copy)


def test_a_path_without_a_bundle_is_refused(tmp_path: Path) -> None:
    assert_refused(tmp_path / "nothing")
    assert_refused(tmp_path)
    (tmp_path / "file").write_bytes(b"hello")
    assert_refused(tmp_path / "file")
