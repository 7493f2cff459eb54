"""Changes of a bundle whose manifest stays as it was: what happens to bytes on their way, and to files that somebody else may write.

Every change is a function of the members and a generator, so that a number and a seed bring the same mutant again.
"""

from __future__ import annotations

import io
import json
import os
import socket
import struct
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autorec_kernel.records.bundle import canonical_json
from autorec_kernel.serving.archive import zip_bytes

__all__ = ["KINDS", "MANIFEST", "Kind", "Place", "Tree", "edited", "flipped", "pick", "put", "put_zip"]

Tree = dict[str, bytes]
MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a mutant is written, and the folder outside it that nothing may touch.

    Args:
        folder: An empty folder of its own.
        outside: Holds files that a hostile path may point at.
    """

    folder: Path
    outside: Path


Make = Callable[[Tree, np.random.Generator, Place], Path]


@dataclass(frozen=True, slots=True)
class Kind:
    """A class of mutants.

    Args:
        make: Write one, and return its path.
        consistent: Whether the manifest was recomputed, so that only a digest or a signature tells.
        covered: Whether the content digest covers what was changed: not so of the card, and of what the manifest tells beside members.
    """

    make: Make
    consistent: bool = False
    covered: bool = True


KINDS: dict[str, Kind] = {}


def _plain(make: Make) -> Make:
    KINDS[make.__name__.strip("_").replace("_", "-")] = Kind(make)
    return make


def put(tree: Mapping[str, bytes], folder: Path) -> Path:
    """Write members as a folder."""
    for name, data in tree.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def put_zip(tree: Tree, place: Place) -> Path:
    """Write members as the one stored zip."""
    return _file(zip_bytes(tree), place)


def _file(data: bytes, place: Place) -> Path:
    (place.folder / "bundle.zip").write_bytes(data)
    return place.folder / "bundle.zip"


def pick(tree: Mapping[str, bytes], rng: np.random.Generator, start: str = "", end: str = "") -> str:
    """Return the name of a member, drawn among those that begin and end so."""
    return str(rng.choice([name for name in sorted(tree) if name.startswith(start) and name.endswith(end)]))


def flipped(data: bytes, rng: np.random.Generator, count: int = 1) -> bytes:
    """Return other bytes: some bits flipped."""
    found = bytearray(data)
    for place in rng.integers(0, len(data), count):
        found[place] ^= 1 << int(rng.integers(8))
    return bytes(found) if bytes(found) != data else data[:-1] + bytes([data[-1] ^ 1])


# --- the manifest stays ----------------------------------------------------------------------------------------------------------


@_plain
def _flip_in_folder(tree: Tree, rng: np.random.Generator, place: Place) -> Path:
    name = pick(tree, rng)
    return put({**tree, name: flipped(tree[name], rng)}, place.folder / "bundle")


@_plain
def _flip_in_zip(tree: Tree, rng: np.random.Generator, place: Place) -> Path:
    return _file(flipped(zip_bytes(tree), rng, int(rng.integers(1, 4))), place)


@_plain
def _cut_or_grown(tree: Tree, rng: np.random.Generator, place: Place) -> Path:
    name = pick(tree, rng)
    cut = tree[name][: int(rng.integers(len(tree[name])))]
    return put({**tree, name: cut if rng.random() < 0.7 else tree[name] + rng.bytes(int(rng.integers(1, 99)))}, place.folder / "bundle")


@_plain
def _cut_zip(tree: Tree, rng: np.random.Generator, place: Place) -> Path:
    data = zip_bytes(tree)
    where = int(rng.integers(len(data)))
    forms = (data[:where], data[where:], data + rng.bytes(9), b"#!/bin/sh\n" + data, data[:where] + data[where + 1 :])
    return _file(forms[int(rng.integers(len(forms)))], place)


@_plain
def _swapped(tree: Tree, rng: np.random.Generator, place: Place) -> Path:
    while True:
        first, second = (str(name) for name in rng.choice(sorted(tree), 2, replace=False))
        if tree[first] != tree[second]:
            return put({**tree, first: tree[second], second: tree[first]}, place.folder / "bundle")


@_plain
def _missing(tree: Tree, rng: np.random.Generator, place: Place) -> Path:
    name = pick(tree, rng)
    left = {one: data for one, data in tree.items() if one != name}
    return put_zip(left, place) if rng.random() < 0.5 else put(left, place.folder / "bundle")


_NAMES = (
    "tables/extra.npy",
    "golden/zz.npy",
    "report.json",
    "Manifest.JSON",
    "tables/x.pkl",
    "weights.pt",
    ".hidden",
    "x/y/z.npy",
    "ranker.ONNX",
)


@_plain
def _renamed_or_more(tree: Tree, rng: np.random.Generator, place: Place) -> Path:
    """Give a member another name, or a second one."""
    name, other = pick(tree, rng), str(rng.choice(_NAMES))
    changed = {**tree, other: tree[name]}
    if rng.random() < 0.5:
        del changed[name]
    return put(changed, place.folder / "bundle")


_CLIMBING = (
    "../evil.npy",
    "../../evil",
    "/{outside}/evil",
    "tables/../../evil.npy",
    "C:\\evil.npy",
    "tables\\evil.npy",
    "a\0.npy",
    "TABLES/x.npy",
)


@_plain
def _climbing_name(tree: Tree, rng: np.random.Generator, place: Place) -> Path:
    """Write a zip with a member whose name leads out of it."""
    name = str(rng.choice(_CLIMBING)).format(outside=place.outside)
    return _stranger({**tree, name: b"evil"}, place, zipfile.ZIP_STORED)


def _stranger(tree: Mapping[str, bytes], place: Place, method: int) -> Path:
    """Write a zip as Python's own library does."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", method) as archive:
        for name, content in tree.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return _file(data.getvalue(), place)


@_plain
def _repeated(tree: Tree, rng: np.random.Generator, place: Place) -> Path:
    """Write a zip that holds a member twice, in our form or in another's."""
    name = pick(tree, rng)
    if rng.random() < 0.5:
        whole, part = zip_bytes(tree), zip_bytes({name: tree[name]})
        end = part.index(b"PK\x01\x02")
        return _file(part[:end] + whole, place)
    data = io.BytesIO(zip_bytes(tree))
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(data, "a") as archive:
        archive.writestr(name, b"other")
    return _file(data.getvalue(), place)


@_plain
def _zip_fields(tree: Tree, rng: np.random.Generator, place: Place) -> Path:
    """Overwrite a number in a header of a zip: sizes, offsets, counts, so that members overlap or claim gigabytes."""
    data = bytearray(zip_bytes(tree))
    at = [place for place in range(len(data) - 4) if data[place : place + 2] == b"PK" and data[place + 2] in (1, 3, 5)]
    start = at[int(rng.integers(len(at)))]
    field, value = (
        min(start + int(rng.integers(4, 42)), len(data) - 4),
        int(rng.choice([0, 1, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, int(rng.integers(1 << 32))])),
    )
    fresh = struct.pack("<I", value)
    if bytes(data[field : field + 4]) == fresh[: len(data) - field]:
        fresh = struct.pack("<I", value ^ 1)
    data[field : field + 4] = fresh[: len(data) - field]
    return _file(bytes(data), place)


@_plain
def _bomb(tree: Tree, rng: np.random.Generator, place: Place) -> Path:
    """Write what is small and claims to be large: deflated zeros, a file of holes, far too many members."""
    form = int(rng.integers(3))
    if form == 0:
        return _stranger({**tree, "tables/zeros.npy": bytes(1 << 26)}, place, zipfile.ZIP_DEFLATED)
    folder = put(tree, place.folder / "bundle")
    if form == 1:
        with (folder / pick(tree, rng, "tables/")).open("r+b") as file:
            file.truncate(int(rng.choice([1 << 31, 1 << 34])))
        return folder
    for number in range(17_000):
        os.close(os.open(folder / "tables" / f"n{number}.npy", os.O_CREAT | os.O_WRONLY))
    return folder


@_plain
def _link_or_special(tree: Tree, rng: np.random.Generator, place: Place) -> Path:
    """Put a link, a pipe, a socket or a folder where a member, or the folder of the tables, should be."""
    folder = put(tree, place.folder / "bundle")
    name = pick(tree, rng)
    good = place.folder / "good"
    good.write_bytes(tree[name])
    form = int(rng.integers(7))
    if form == 6:
        (folder / "tables").rename(place.folder / "tables")
        (folder / "tables").symlink_to(place.folder / "tables")
        return folder
    (folder / name).unlink()
    if form == 5:
        with socket.socket(socket.AF_UNIX) as made:
            before = os.getcwd()
            os.chdir((folder / name).parent)
            try:
                made.bind(Path(name).name)
            finally:
                os.chdir(before)
        return folder
    makers: tuple[Callable[[Path], Any], ...] = (
        lambda path: path.symlink_to(good),
        lambda path: os.link(good, path),
        lambda path: os.mkfifo(path),
        lambda path: path.mkdir(),
        lambda path: path.symlink_to(place.outside / "secret"),
    )
    makers[form](folder / name)
    return folder


_ODD_MANIFESTS = (
    b"",
    b"{}",
    b"[]",
    b"null",
    b"\xff\xfe",
    b"{" * 50_000,
    b'{"a":' * 50_000,
    b'{"format":1,"format":1}',
    b'{"format":NaN}',
    b'"' * 99,
)


@_plain
def _odd_manifest(tree: Tree, rng: np.random.Generator, place: Place) -> Path:
    """Write a manifest that is no manifest, or one whose bytes are another form of the same."""
    manifest = json.loads(tree[MANIFEST])
    whole = tree[MANIFEST]
    forms: tuple[Callable[[], bytes], ...] = (
        lambda: _ODD_MANIFESTS[int(rng.integers(len(_ODD_MANIFESTS)))],
        lambda: json.dumps(manifest, indent=1).encode(),
        lambda: whole + b" ",
        lambda: whole.replace(b'"format":1', b'"format":2'),
        lambda: whole.replace(b'"format":1', b'"format":1e0'),
        lambda: whole.replace(b'"format":1', b'"format":' + b"1" * 5000),
        lambda: canonical_json({**manifest, "more": "x" * (17 << 20)}),
        lambda: canonical_json(edited(manifest, rng)),
    )
    data = forms[int(rng.integers(len(forms)))]()
    return put({**tree, MANIFEST: data if data != whole else data + b"\n"}, place.folder / "bundle")


def edited(value: Any, rng: np.random.Generator) -> Any:
    """Return JSON with one to three entries changed: odd values, lost or doubled entries, exchanged ones."""
    found = json.loads(json.dumps(value))
    for _ in range(int(rng.integers(1, 4))):
        holders = [one for one in _holders(found) if len(one)]
        if not holders:
            break
        holder = holders[int(rng.integers(len(holders)))]
        key = rng.choice(sorted(holder)) if isinstance(holder, dict) else int(rng.integers(len(holder)))
        key = str(key) if isinstance(holder, dict) else key
        form = int(rng.integers(6))
        if form == 0:
            del holder[key]
        elif form == 1 and isinstance(holder, list):
            holder.append(holder[key])
        elif form == 2 and isinstance(holder, dict):
            holder[str(rng.choice(["@item_vectors", "__class__", "", "\0", "format", "x" * 300]))] = holder.pop(key)
        else:
            holder[key] = _odd(holder[key], rng)
    return found


def _holders(value: Any) -> list[Any]:
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return ([value] if isinstance(value, dict | list) else []) + [one for part in inner for one in _holders(part)]


def _odd(value: Any, rng: np.random.Generator) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and rng.random() < 0.5:
        return value + int(rng.choice([-1, 1, -(10**6), 10**6]))
    odd = (
        None,
        True,
        -1,
        0,
        1,
        2**31,
        2**63,
        -(2**70),
        1e308,
        -0.0,
        "",
        "x",
        "../../evil",
        "@user",
        "manifest.json",
        [],
        {},
        [[]],
        [-1],
        [None],
        {"a": 1},
    )
    deep: Any = "x"
    for _ in range(int(rng.choice([3, 25, 29]))):
        deep = [deep]
    return deep if rng.random() < 0.05 else odd[int(rng.integers(len(odd)))]
