"""Deciding whether a bundle may be used: closed list, hashes before parsers, limits, operator allow-list, golden rows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autorec_kernel.errors import BundleError
from autorec_kernel.records.bundle import (
    FORMAT,
    GOLDEN,
    MANIFEST,
    PROGRAMS,
    SCHEMA,
    Bundle,
    canonical_json,
    content_digest,
    manifest_digest,
    member_digest,
    read_json,
)
from autorec_kernel.serving.archive import read_members
from autorec_kernel.serving.wire import check_graph

if TYPE_CHECKING:
    from autorec_kernel.serving.graph import Graph

__all__ = ["check_golden", "damaged", "golden_view", "load_graphs", "open_bundle", "verify_bundle"]

LOOSEST = 0.05  # no bundle may ask for a looser comparison of its golden rows

_NEEDED = {"format": int, "members": dict, "content_digest": str, "manifest_digest": str, "plugins": dict, "versions": dict}


def verify_bundle(path: str | Path, *, require_digest: str = "") -> Bundle:
    """Read a bundle, prove that it is whole, and recompute its golden rows.

    Args:
        path: A bundle folder or a stored zip.
        require_digest: As for `open_bundle`.

    Raises:
        BundleError: It is refused; the member is named.
    """
    bundle = open_bundle(path, require_digest=require_digest)
    check_golden(bundle, load_graphs(bundle))
    return bundle


def open_bundle(path: str | Path, *, require_digest: str = "") -> Bundle:
    """Read a bundle and check everything short of running a model: members, hashes, limits, graphs.

    Args:
        path: A bundle folder or a stored zip.
        require_digest: The content digest that must be found, with or without `sha256:` before it; or `manifest:` and the sha256 of the
            manifest's bytes, which are compared before anything is parsed; or both, with a space between. Empty accepts any bundle.

    Raises:
        BundleError: It is refused; the member is named.
    """
    members = read_members(Path(path))
    exact = {asked for asked in require_digest.split() if asked.startswith("manifest:")}
    if exact - {f"manifest:{member_digest(members[MANIFEST])}"}:
        raise BundleError(f"the manifest is not the one that is required ({require_digest})", where=str(path))
    manifest = _read_manifest(members[MANIFEST])
    _check_members(manifest["members"], members)
    digest = content_digest({name: facts["sha256"] for name, facts in manifest["members"].items()})
    if digest != manifest["content_digest"]:
        raise BundleError("the content digest of the manifest is not that of its members", where=MANIFEST)
    if {*require_digest.split()} - exact - {digest, f"sha256:{digest}"}:
        raise BundleError(f"the content digest is {digest}, {require_digest} is required", where=str(path))
    for name in members:
        if name.endswith(".onnx"):
            check_graph(members[name], name)
    return Bundle(str(path), manifest, members)


def load_graphs(bundle: Bundle, *, threads: int = 1) -> dict[str, Graph]:
    """Return role → session of every model of the bundle."""
    models = _mapping(bundle.json(SCHEMA), "models", SCHEMA)
    with damaged(SCHEMA):
        return _sessions(bundle, models, threads)


@contextlib.contextmanager
def damaged(where: str) -> Iterator[None]:
    """Turn what a consistent but ill-formed member leads to into a refusal that names it."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise BundleError(f"its content is not what a bundle holds: {type(error).__name__}: {str(error)[:200]}", where=where) from error


def _sessions(bundle: Bundle, models: Mapping[str, Any], threads: int) -> dict[str, Graph]:
    from autorec_kernel.serving.graph import Graph

    return {role: Graph(bundle.members[f"{role}.onnx"], spec, name=f"{role}.onnx", threads=threads) for role, spec in models.items()}


def check_golden(bundle: Bundle, graphs: Mapping[str, Graph]) -> None:
    """Run the golden rows and compare with the stored scores.

    Raises:
        BundleError: The models answer differently from the day the bundle was written.
    """
    golden = bundle.json(GOLDEN)
    with damaged(GOLDEN):
        tolerance = min(float(golden["tolerance"]), LOOSEST)
        for role, graph in graphs.items():
            _check_rows(bundle, role, graph, golden["models"][role], tolerance)


def _check_rows(bundle: Bundle, role: str, graph: Graph, stored: Mapping[str, Any], tolerance: float) -> None:
    if set(stored["outputs"]) != set(graph.outputs):
        raise BundleError("the golden rows do not cover every output", where=GOLDEN)
    found = graph.run({name: bundle.array(member) for name, member in stored["inputs"].items()})
    for name, parts in stored["outputs"].items():
        values, sums = golden_view(found[name], bundle.array(parts["columns"]))
        _compare(values, bundle.array(parts["values"]), tolerance, f"{role}.onnx", name)
        _compare(sums, bundle.array(parts["sums"]), tolerance * max(1.0, found[name][0].size ** 0.5), f"{role}.onnx", name)


def golden_view(output: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what is kept of a golden output [A, …]: the values at some columns, and the sum of each row's finite values."""
    flat = output.reshape(len(output), -1)
    return flat[:, columns], np.where(np.isfinite(flat), flat, 0.0).astype(np.float64).sum(1)


def _compare(found: np.ndarray, stored: np.ndarray, tolerance: float, member: str, output: str) -> None:
    if found.shape != stored.shape:
        raise BundleError(f"golden output {output!r} has shape {found.shape}, stored is {stored.shape}", where=member)
    same = (found == stored) | (np.isnan(found) & np.isnan(stored))
    with np.errstate(invalid="ignore"):
        gap = np.where(same, 0.0, np.abs(found - stored) / np.maximum(1.0, np.abs(stored)))
    worst = float(np.nan_to_num(gap, nan=np.inf).max(initial=0.0))
    if worst > tolerance:
        raise BundleError(f"golden rows of {output!r} differ by {worst:.3g}, at most {tolerance:.3g} is accepted", where=member)


def _read_manifest(data: bytes) -> Mapping[str, Any]:
    manifest = read_json(data, MANIFEST)
    if not isinstance(manifest, dict):
        raise BundleError("the manifest is not an object", where=MANIFEST)
    version = manifest.get("format")
    if isinstance(version, int) and version > FORMAT:
        raise BundleError(f"bundle format {version} is newer than {FORMAT}", hint="upgrade autorec-kernel", where=MANIFEST)
    for key, kind in _NEEDED.items():
        if not isinstance(manifest.get(key), kind):
            raise BundleError(f"the manifest has no {kind.__name__} called {key!r}", where=MANIFEST)
    if canonical_json(manifest) != data or manifest_digest(manifest) != manifest["manifest_digest"]:
        raise BundleError("the manifest was changed after it was written", where=MANIFEST)
    return manifest


def _check_members(listed: Mapping[str, Any], members: Mapping[str, bytes]) -> None:
    present = set(members) - {MANIFEST}
    for name in sorted(present ^ set(listed)):
        raise BundleError(f"member {name[:120]!r} is {'not listed in the manifest' if name in present else 'missing'}")
    for name, facts in listed.items():
        if not isinstance(facts, dict) or facts.get("size") != len(members[name]) or facts.get("sha256") != member_digest(members[name]):
            raise BundleError(
                f"member {name!r} differs from its size and sha256 in the manifest", hint="copy the bundle again from its source"
            )
    for name in (SCHEMA, PROGRAMS, GOLDEN):
        if name not in members:
            raise BundleError(f"member {name!r} is missing")
    models = _mapping(read_json(members[SCHEMA], SCHEMA), "models", SCHEMA)
    if not models or {f"{role}.onnx" for role in models} != {name for name in members if name.endswith(".onnx")}:
        raise BundleError("the models of the schema are not the models of the bundle", where=SCHEMA)


def _mapping(value: Any, key: str, where: str) -> Mapping[str, Any]:
    found = value.get(key) if isinstance(value, dict) else None
    if not isinstance(found, dict):
        raise BundleError(f"it has no object called {key!r}", where=where)
    return found
