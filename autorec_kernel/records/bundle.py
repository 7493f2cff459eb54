"""`Bundle`: the verified members of a served artefact, in memory, and the names and limits that both its writer and its reader obey."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np

from autorec_kernel.errors import BundleError

__all__ = [
    "DRIFT",
    "FORMAT",
    "GOLDEN",
    "LIVE",
    "MANIFEST",
    "MAX_JSON_BYTES",
    "MAX_MEMBERS",
    "MAX_MEMBER_BYTES",
    "MAX_TOTAL_BYTES",
    "PROGRAMS",
    "SCHEMA",
    "Bundle",
    "canonical_json",
    "check_name",
    "content_digest",
    "manifest_digest",
    "member_digest",
    "read_array",
    "read_json",
    "write_array",
]

FORMAT = 1
MANIFEST, SCHEMA, PROGRAMS, GOLDEN = "manifest.json", "schema.json", "programs.json", "golden.json"
DRIFT, LIVE = "drift.json", "live.json"  # not in every bundle
MAX_MEMBERS = 16_384
MAX_MEMBER_BYTES = 1 << 30
MAX_TOTAL_BYTES = (1 << 32) - (1 << 20)  # a stored zip without 64-bit records
MAX_JSON_BYTES = 16 << 20
MAX_DEPTH = 32
_UNCOVERED = frozenset({MANIFEST, "report.json", "report.html", "certificate.json", "CARD.md"})
_TOP = _UNCOVERED | {SCHEMA, PROGRAMS, GOLDEN, DRIFT, LIVE, "retriever.onnx", "ranker.onnx"}
_NESTED = re.compile(r"(tables|golden)/[a-z0-9](?:[a-z0-9._-]{0,78}[a-z0-9])?\.npy")
# Header of a .npy file in the one form that `write_array` gives it: numpy's own reader takes any Python literal, and evaluates it.
_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00(..)\{'descr': '([<|][biuf][1248])', 'fortran_order': False, 'shape': \(((?:\d{1,18}, ?)*(?:\d{1,18})?)\), \} *\n",
    re.DOTALL,
)
_MARKS = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[\[{\]}]', re.DOTALL)  # strings as a whole, in linear time, and brackets


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose members were hashed before anything parsed them.

    Args:
        path: Where it was read from (a folder or a stored zip).
        manifest: The parsed manifest.
        members: Name → bytes of every member, the manifest included.
    """

    path: str
    manifest: Mapping[str, Any]
    members: Mapping[str, bytes]

    @property
    def digest(self) -> str:
        """Return the content digest: sha256 over models, tables, schema, programs and golden rows."""
        return str(self.manifest["content_digest"])

    @property
    def size(self) -> int:
        """Return the bytes of all members."""
        return sum(map(len, self.members.values()))

    def json(self, name: str) -> Any:
        """Return a parsed JSON member.

        Raises:
            BundleError: There is none of this name, or it is not strict JSON.
        """
        return read_json(self._member(name), name)

    def array(self, name: str) -> np.ndarray:
        """Return a `.npy` member as a read-only array.

        Raises:
            BundleError: There is none of this name, or it is not a plain array.
        """
        return read_array(self._member(name), name)

    def _member(self, name: str) -> bytes:
        if name not in self.members:
            raise BundleError(f"the bundle has no member {name!r}", where=self.path)
        return self.members[name]


def check_name(name: str) -> None:
    """Refuse a member name outside the closed list of forms.

    Raises:
        BundleError: The name is absolute, climbs, clashes by case, or is simply not one a bundle uses.
    """
    if name not in _TOP and not _NESTED.fullmatch(name):
        raise BundleError(f"member {name[:120]!r} is not a name that a bundle uses", hint="write bundles with `autorec run`")


def canonical_json(value: Any) -> bytes:
    """Return the one byte form of a JSON value: sorted keys, no spaces, ASCII, finite numbers, final newline."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.encode("ascii") + b"\n"


def member_digest(data: bytes) -> str:
    """Return the hexadecimal sha256 of a member."""
    return hashlib.sha256(data).hexdigest()


def content_digest(hashes: Mapping[str, str]) -> str:
    """Return the digest over the (name, sha256) pairs of what answers: models, tables, schema, programs and golden rows."""
    lines = "".join(f"{name}\0{hashes[name]}\n" for name in sorted(hashes) if name not in _UNCOVERED)
    return hashlib.sha256(lines.encode()).hexdigest()


def manifest_digest(manifest: Mapping[str, Any]) -> str:
    """Return the digest of the manifest without its own `manifest_digest` field."""
    return member_digest(canonical_json({key: value for key, value in manifest.items() if key != "manifest_digest"}))


def read_json(data: bytes, name: str) -> Any:
    """Parse strict JSON: capped size and depth, no NaN, no duplicate keys.

    Raises:
        BundleError: Any of that does not hold; the member is named.
    """
    if len(data) > MAX_JSON_BYTES:
        raise BundleError(f"member {name!r} has {len(data)} bytes, JSON members at most {MAX_JSON_BYTES}")
    try:
        text = data.decode("utf-8")
        _check_depth(text)
        return json.loads(text, parse_constant=_no_constant, object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"member {name!r} is not strict JSON: {error}") from None


def write_array(array: np.ndarray) -> bytes:
    """Return the `.npy` bytes of an array; C order, little endian, never objects."""
    if array.dtype.hasobject:
        raise BundleError(f"arrays of objects are never stored (dtype {array.dtype})")
    plain = np.ascontiguousarray(array).reshape(array.shape)
    stream = BytesIO()
    np.lib.format.write_array(stream, plain.astype(plain.dtype.newbyteorder("<"), copy=False), version=(1, 0), allow_pickle=False)
    return stream.getvalue()


def read_array(data: bytes, name: str) -> np.ndarray:
    """Parse `.npy` bytes without copying; never objects, and the size must match the header exactly.

    Raises:
        BundleError: The member is not such an array.
    """
    try:
        found = _HEADER.match(data, 0, 10 + 65_535)
        if found is None or found.end() != 10 + int.from_bytes(found[1], "little"):
            raise ValueError("its header is not one that bundles are written with")
        shape = tuple(int(size) for size in found[3].split(b",") if size.strip())
        dtype, count = np.dtype(found[2].decode()), math.prod(shape)
        if count * dtype.itemsize != len(data) - found.end():
            raise ValueError("its size differs from its header")
        return np.frombuffer(data, dtype=dtype, offset=found.end(), count=count).reshape(shape)
    except (ValueError, TypeError, OverflowError) as error:
        raise BundleError(f"member {name!r} is not a plain array: {error}") from None


def _check_depth(text: str) -> None:
    depth = 0
    for token in _MARKS.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token.group(), 0)
        if depth > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH}")


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object repeats a key")
    return found
