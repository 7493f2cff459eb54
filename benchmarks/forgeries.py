"""Bundles of somebody who changes members and recomputes the manifest: only a digest or a signature tells them from the original."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from autorec_kernel.records.bundle import canonical_json, content_digest, manifest_digest, member_digest
from benchmarks.mutations import KINDS, MANIFEST, Kind, Place, Tree, edited, flipped, pick, put, put_zip

__all__ = ["recomputed"]

Change = Callable[[Tree, np.random.Generator, Place], Tree]


def recomputed(tree: Tree, **told: Any) -> Tree:
    """Return members with a manifest that fits them: what somebody writes who may write the whole bundle."""
    manifest = {**json.loads(tree[MANIFEST]), **told}
    hashes = {name: member_digest(data) for name, data in tree.items() if name != MANIFEST}
    manifest["members"] = {name: {"sha256": digest, "size": len(tree[name])} for name, digest in hashes.items()}
    manifest["content_digest"] = content_digest(hashes)
    manifest["manifest_digest"] = manifest_digest(manifest)
    return {**tree, MANIFEST: canonical_json(manifest)}


def _consistent(change: Change) -> Change:
    """Register a change of members that is followed by a fresh manifest, in a folder or a zip."""

    def make(tree: Tree, rng: np.random.Generator, place: Place) -> Path:
        fresh = recomputed({**tree, **change(tree, rng, place)})
        return put_zip(fresh, place) if rng.random() < 0.5 else put(fresh, place.folder / "bundle")

    KINDS[change.__name__.strip("_").replace("_", "-")] = Kind(make, consistent=True)
    return change


def _json_kind(name: str) -> None:
    def change(tree: Tree, rng: np.random.Generator, place: Place) -> Tree:
        member = f"{name}.json" if f"{name}.json" in tree else "schema.json"  # not every bundle has a profile, or can be folded into
        while True:
            data = canonical_json(edited(json.loads(tree[member]), rng))
            if data != tree[member]:
                return {member: data}

    change.__name__ = f"edited_{name}"
    _consistent(change)


for _name in ("schema", "programs", "golden", "drift", "live"):
    _json_kind(_name)


@_consistent
def _deep_or_odd_json(tree: Tree, rng: np.random.Generator, place: Place) -> Tree:
    """Write a member that is not JSON as bundles know it: too deep, too long, not finite, keys twice."""
    name = pick({one: b"" for one in tree if one != MANIFEST}, rng, end=".json")
    whole = tree[name]
    forms = (
        b"[" * 100_000,
        b'{"a":' * 33 + b"1" + b"}" * 33,
        b"[1" + b",1" * (9 << 20) + b"]",
        whole.replace(b":1", b":NaN", 1) + b" ",
        b'{"models":{},"models":{}}',
        b"\xef\xbb\xbf" + whole,
        whole[: len(whole) // 2],
        b'"' + b"\\" * 99_999,
        b"1" * 10_000,
        b"[1e999]",
        b"",
    )
    return {name: forms[int(rng.integers(len(forms)))]}


def _arrays(tree: Mapping[str, bytes], rng: np.random.Generator) -> tuple[str, np.ndarray]:
    name = pick(tree, rng, end=".npy")
    return name, np.load(io.BytesIO(tree[name]), allow_pickle=False)


def _npy(array: np.ndarray, **options: Any) -> bytes:
    data = io.BytesIO()
    np.lib.format.write_array(data, array, allow_pickle=True, **options)
    return data.getvalue()


def _changed(name: str, data: bytes, tree: Tree) -> Tree:
    return {name: data if data != tree[name] else flipped(data, np.random.default_rng(0))}


@_consistent
def _table_values(tree: Tree, rng: np.random.Generator, place: Place) -> Tree:
    """Put NaN, infinity, ids that do not exist and the ends of the type into a table."""
    name, array = _arrays(tree, rng)
    found = array.copy().reshape(-1)
    if not found.size:
        return _changed(name, _npy(np.zeros((3, *array.shape[1:]), array.dtype)), tree)
    rows = rng.integers(0, found.size, int(rng.integers(1, found.size + 1)))
    odd = [np.nan, np.inf, -np.inf, 3e38] if found.dtype.kind == "f" else [0, 1] if found.dtype.kind == "b" else None
    if odd is None:
        ends = np.iinfo(found.dtype)
        odd = [ends.min, ends.max, *(one for one in (-1, 1, 10**6, 2**31 - 1) if ends.min <= one <= ends.max)]
    found[rows] = rng.choice(np.array(odd, dtype=found.dtype), len(rows))
    return _changed(name, _npy(found.reshape(array.shape)), tree)


@_consistent
def _table_type(tree: Tree, rng: np.random.Generator, place: Place) -> Tree:
    """Store a table in a type that it does not have: wider, narrower, big endian, texts, objects (a pickle), records."""
    name, array = _arrays(tree, rng)
    types = ("<f8", "<f4", "<f2", "<i8", "<i4", "i1", "u1", "?", ">f4", ">i8", "<U5", "S3", "O", "<c8", "<M8[ns]", "V4", [("a", "<i4")])
    with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
        kind = types[int(rng.integers(len(types)))]
        try:
            found = array.astype(kind)  # type: ignore[call-overload]
        except (TypeError, ValueError):
            found = np.zeros(array.shape, kind)
    return _changed(name, _npy(found, version=(2, 0) if rng.random() < 0.2 else None), tree)


@_consistent
def _table_shape(tree: Tree, rng: np.random.Generator, place: Place) -> Tree:
    """Store a table in another shape: cut, grown, transposed, empty, or with a header that claims what is not there."""
    name, array = _arrays(tree, rng)
    forms: tuple[Callable[[], bytes], ...] = (
        lambda: _npy(array[: int(rng.integers(0, len(array) + 1))] if array.ndim else array),
        lambda: _npy(np.concatenate([array, array]) if array.ndim else array[None]),
        lambda: _npy(np.ascontiguousarray(array.T)[None]),
        lambda: _npy(array.reshape(-1)),
        lambda: _npy(np.zeros((0, *array.shape[1:]), array.dtype)),
        lambda: _npy(np.asfortranarray(np.atleast_2d(array))),
        lambda: _npy(array.reshape(-1)[:1].reshape(()) if array.size else np.zeros((), array.dtype)),
        lambda: _header(array, (1 << 40,)),
        lambda: _header(array, (-1,)),
        lambda: _header(array, (1 << 62, 4)),
        lambda: _header(array, (0, 1 << 60)),
    )
    return _changed(name, forms[int(rng.integers(len(forms)))](), tree)


def _header(array: np.ndarray, shape: tuple[int, ...]) -> bytes:
    data = io.BytesIO()
    told = {"descr": array.dtype.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(data, told)  # type: ignore[arg-type]
    return data.getvalue() + (b"" if 0 in shape else array.tobytes())


@_consistent
def _table_flips(tree: Tree, rng: np.random.Generator, place: Place) -> Tree:
    name = pick(tree, rng, end=".npy")
    return {name: flipped(tree[name], rng, int(rng.integers(1, 9)))}


@_consistent
def _tables_swapped(tree: Tree, rng: np.random.Generator, place: Place) -> Tree:
    while True:
        first, second = (pick(tree, rng, end=".npy") for _ in range(2))
        if tree[first] != tree[second]:
            return {first: tree[second], second: tree[first]}


def _model(tree: Mapping[str, bytes]) -> tuple[str, Any]:
    import onnx

    (name,) = [one for one in tree if one.endswith(".onnx")]
    return name, onnx.load_from_string(tree[name])


@_consistent
def _graph_flips(tree: Tree, rng: np.random.Generator, place: Place) -> Tree:
    name = pick(tree, rng, end=".onnx")
    return {name: flipped(tree[name], rng, int(rng.integers(1, 9)))}


@_consistent
def _graph_structure_flips(tree: Tree, rng: np.random.Generator, place: Place) -> Tree:
    """Flip bits where the nodes and the descriptions of tensors are, not in their weights."""
    name, model = _model(tree)
    weights = [one.raw_data for one in model.graph.initializer if len(one.raw_data) > 64]
    data = tree[name]
    taken = [(data.find(raw), data.find(raw) + len(raw)) for raw in weights]
    places = [n for n in range(len(data)) if not any(start <= n < end for start, end in taken)]
    found = bytearray(data)
    for at in rng.choice(places, int(rng.integers(1, 4))):
        found[at] ^= 1 << int(rng.integers(8))
    return {name: bytes(found) if bytes(found) != data else data[:-1]}


@_consistent
def _external_data(tree: Tree, rng: np.random.Generator, place: Place) -> Tree:
    """Let a tensor lie in another file."""
    name, model = _model(tree)
    tensor = model.graph.initializer[int(rng.integers(len(model.graph.initializer)))]
    where = str(rng.choice(["secret", "../outside/secret", str(place.outside / "secret"), "CARD.md", "https://example.org/x", "/dev/zero"]))
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", where
    if rng.random() < 0.7:
        tensor.data_location = 1
        tensor.ClearField("raw_data")
    return {name: model.SerializeToString()}


_FOREIGN = (("", "Loop"), ("", "If"), ("", "Scan"), ("", "StringNormalizer"), ("", "RandomNormal"), ("", "Optional"), ("", "ImageDecoder"))
_FOREIGN += (
    ("ai.onnx.ml", "TreeEnsemble"),
    ("com.microsoft", "Attention"),
    ("com.evil", "Run"),
    ("ai.onnx.training", "Gradient"),
    ("", "Bernoulli"),
)


@_consistent
def _foreign_operator(tree: Tree, rng: np.random.Generator, place: Place) -> Tree:
    """Use an operator that bundles may not use, a subgraph, a function, or another set of operators."""
    from onnx import helper

    name, model = _model(tree)
    node = model.graph.node[int(rng.integers(len(model.graph.node)))]
    form = int(rng.integers(4))
    if form == 0:
        node.domain, node.op_type = _FOREIGN[int(rng.integers(len(_FOREIGN)))]
        if node.domain:
            model.opset_import.append(helper.make_opsetid(node.domain, 1))
    elif form == 1:
        node.attribute.append(helper.make_attribute("body", helper.make_graph([], "inner", [], [])))
    elif form == 2:
        model.functions.append(helper.make_function("com.evil", "F", ["x"], ["y"], [helper.make_node("Identity", ["x"], ["y"])], []))
    else:
        model.opset_import[0].version = int(rng.choice([1, 6, 21, 99]))
    return {name: model.SerializeToString()}


@_consistent
def _graph_edited(tree: Tree, rng: np.random.Generator, place: Place) -> Tree:
    """Drop, double, exchange or mistreat nodes; change attributes, weights, types and shapes."""
    name, model = _model(tree)
    for _ in range(int(rng.integers(1, 4))):
        _edit_graph(model.graph, rng)
    data = model.SerializeToString()
    return {name: data if data != tree[name] else flipped(data, rng)}


def _edit_graph(graph: Any, rng: np.random.Generator) -> None:
    node, tensor = (list(part)[int(rng.integers(len(part)))] for part in (graph.node, graph.initializer))
    odd = int(rng.choice([-1, 0, 1, 7, 2**31, 2**62, -(2**62)]))
    form = int(rng.integers(9))
    if form == 0:
        graph.node.remove(node)
    elif form == 1:
        graph.node.append(node)
    elif form == 2 and node.input:
        node.input[int(rng.integers(len(node.input)))] = str(rng.choice([*node.output, "nothing", ""]))
    elif form == 3 and node.attribute:
        node.attribute[int(rng.integers(len(node.attribute)))].i = odd
    elif form == 4 and tensor.dims:
        tensor.dims[int(rng.integers(len(tensor.dims)))] = odd
    elif form == 5:
        tensor.data_type = int(rng.integers(0, 24))
    elif form == 6:
        tensor.raw_data = flipped(tensor.raw_data, rng, 8) if tensor.raw_data else rng.bytes(16)
    elif form == 7 and graph.input:
        names = [value.name for value in graph.input]
        graph.input[0].name = str(rng.choice(["other", "", "user_id", f"{names[0]}\x1f{names[-1]}", "user_id\x1fuser_id", "\x1f" * 9999]))
    else:
        graph.output[0].type.tensor_type.elem_type = int(rng.choice([0, 6, 7, 8, 11]))


@_consistent
def _graph_bomb(tree: Tree, rng: np.random.Generator, place: Place) -> Tree:
    """Let a graph of a few bytes ask for terabytes while it runs."""
    from onnx import helper, numpy_helper

    name, model = _model(tree)
    graph, output = model.graph, model.graph.output[0].name
    size = int(rng.choice([1 << 18, 1 << 22, 1 << 31]))
    shape = numpy_helper.from_array(np.array([size, size], np.int64), "bomb.shape")
    for node in graph.node:
        for place_, one in enumerate(node.output):
            if one == output:
                node.output[place_] = "bomb.before"
    one = numpy_helper.from_array(np.ones((1, 1), np.float32), "bomb.one")
    makers = (
        [helper.make_node("ConstantOfShape", ["bomb.shape"], ["bomb.all"])],
        [helper.make_node("Expand", ["bomb.one", "bomb.shape"], ["bomb.all"])],
        [helper.make_node("Tile", ["bomb.one", "bomb.shape"], ["bomb.all"])],
    )
    graph.initializer.extend([shape, one])
    graph.node.extend(makers[int(rng.integers(len(makers)))])
    graph.node.append(helper.make_node("ReduceMax", ["bomb.all"], ["bomb.max"], keepdims=0))
    graph.node.append(helper.make_node("Add", ["bomb.before", "bomb.max"], [output]))
    return {name: model.SerializeToString()}


def _told(change: Callable[[Tree, np.random.Generator], Tree]) -> None:
    """Register a change of what the content digest does not cover."""
    KINDS[change.__name__.strip("_").replace("_", "-")] = Kind(
        lambda tree, rng, place: put(change(tree, rng), place.folder / "bundle"), consistent=True, covered=False
    )


@_told
def _card(tree: Tree, rng: np.random.Generator) -> Tree:
    return recomputed({**tree, "CARD.md": tree["CARD.md"] + b"\nBetter than everything.\n" * int(rng.integers(1, 9))})


@_told
def _manifest_tells(tree: Tree, rng: np.random.Generator) -> Tree:
    """Change what the manifest says beside its members: metrics, plugins, versions."""
    while True:
        kept = ("members", "content_digest", "manifest_digest", "format")
        told = edited({name: one for name, one in json.loads(tree[MANIFEST]).items() if name not in kept}, rng)
        fresh = recomputed({**tree}, **told)
        if fresh[MANIFEST] != tree[MANIFEST]:
            return fresh
