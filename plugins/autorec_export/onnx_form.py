"""`--format onnx`: the graph, every input explained and looked up for the users and items of training, and an example that answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from autorec_export.files import ids_of, put, put_array, put_json
from autorec_export.ports import Port, graph_of, opened, ports_of
from autorec_kernel.records.features import Feature
from autorec_kernel.records.program import Program
from autorec_kernel.serving import Recommender

__all__ = ["write_onnx"]

_BLOCK = 4096  # users or items whose inputs are computed at a time
_IDS = {"user": "users.json", "item": "items.json"}
_README = """# {role} of the bundle {digest}

| file | holds |
|---|---|
| `model.onnx` | the graph: plain operators, no external data |
| `metadata.json` | inputs (type, shape, vocabulary, how they are made), outputs, which file is which |
| `users.json`, `items.json` | the id of every row; row 0 is the unknown one and has none |
| `inputs/` | what the graph reads of every user or item of training, one row each, as of the end of training |
| `programs/` | how inputs that depend on the request are made: numpy steps and their arrays |
| `vectors.npy` | item vectors of a factorised retriever: score = user x item vector, the best of several interests |
| `popularity.npy` | what answers unknown users |
| `seen_offsets.npy`, `seen_items.npy` | the items of each user u, oldest first: from offsets[u] to offsets[u + 1] |
| `example.py` | `python example.py {arguments}`, with numpy and onnxruntime alone |

An input without `values` depends on the request; `program` makes it from raw columns, and `unknown` is what it is where nothing is told.
The steps are those of `autorec_kernel.records.program`, which needs numpy alone and runs them as they are written. Folding histories of
new users in and checking ids are what `autorec_kernel.serving` adds.
"""


def write_onnx(source: Path, out: Path) -> None:
    """Write the graph of a bundle with all that its inputs are made of.

    Args:
        source: A bundle.
        out: The folder to write; not there yet.

    Raises:
        UsageError: The source is no bundle.
        BundleError: It is refused.
    """
    recommender = opened(source)
    inputs, outputs = ports_of(recommender)
    put(out / "model.onnx", graph_of(recommender))
    told = [_input(recommender, port, number, out) for number, port in enumerate(inputs)]
    put_json(
        out / "metadata.json",
        {**_facts(recommender), "inputs": told, "outputs": _outputs(recommender, outputs), **_tables(recommender, out)},
    )
    put(out / "example.py", files("autorec_export").joinpath(f"example_{recommender.role}.py").read_bytes())
    arguments = "USER" if recommender.role == "retriever" else "USER ITEM ITEM"
    put(out / "README.md", _README.format(role=recommender.role, digest=recommender.bundle.digest, arguments=arguments))


def _facts(recommender: Recommender) -> dict[str, Any]:
    manifest = recommender.bundle.manifest
    versions = {name: manifest["versions"][name] for name in ("opset", "ir")}
    return {
        "format": 1,
        "bundle": recommender.bundle.digest,
        "task": recommender.task,
        "role": recommender.role,
        "model": "model.onnx",
        **versions,
    }


def _tables(recommender: Recommender, out: Path) -> dict[str, str | None]:
    """Write what belongs to no single input; return name → file, None where the model has no such thing."""
    state = recommender.state
    put_json(out / "users.json", ids_of(state.users))
    put_json(out / "items.json", ids_of(state.items))
    offsets, seen = state.seen
    arrays = {"vectors": recommender.graph.items(), "popularity": state.popularity, "seen_offsets": offsets, "seen_items": seen}
    for name, array in arrays.items():
        if array is not None:
            put_array(out / f"{name}.npy", array)
    return {"users": "users.json", "items": "items.json"} | {n: None if a is None else f"{n}.npy" for n, a in arrays.items()}


def _input(recommender: Recommender, port: Port, number: int, out: Path) -> dict[str, Any]:
    """Describe an input, and write what it is for every user or item, or the program that makes it."""
    feature = recommender.state.schema[port.name]
    entity = _entity(recommender, feature)
    values = f"inputs/{number:02d}.npy" if entity else None
    if values:
        put_array(out / values, _values(recommender, feature, entity))
    programmed = recommender.state.programs.get(feature.name)
    return {
        "name": port.name,
        "dtype": port.dtype,
        "shape": ["batch", *("length" if size < 0 else size for size in port.shape[1:])],
        "kind": feature.kind,
        "vocabulary": _vocabulary(feature),
        "depends": entity or "request",
        "values": values,
        "unknown": _unknown(recommender, feature),
        "program": None if programmed is None else _program(*programmed, number, out),
    }


def _entity(recommender: Recommender, feature: Feature) -> str:
    """Return user or item where the value follows from one of them, "" where it takes a request; retrievers are asked with a user alone."""
    if recommender.role == "retriever":
        return "user"
    return feature.depends if feature.depends in _IDS else ""


def _values(recommender: Recommender, feature: Feature, entity: str) -> np.ndarray:
    size = recommender.state.users.size if entity == "user" else recommender.state.items.size
    parts = [np.arange(start, min(start + _BLOCK, size)) for start in range(0, size, _BLOCK)]
    return np.concatenate([_asked(recommender, feature, **{f"{entity}s": part}) for part in parts])


def _unknown(recommender: Recommender, feature: Feature) -> Any:
    nobody = np.zeros(1, dtype=np.int64)
    return _asked(recommender, feature, users=nobody, items=nobody)[0].tolist()


def _asked(recommender: Recommender, feature: Feature, users: np.ndarray | None = None, items: np.ndarray | None = None) -> np.ndarray:
    lengths = {name: length for name, length in recommender.graph.lengths.items() if length > 0}
    return recommender.state.inputs([feature.name], users=users, items=items, lengths=lengths)[feature.name]


def _outputs(recommender: Recommender, ports: Sequence[Port]) -> list[dict[str, Any]]:
    ranges = recommender.state.schema.label_range
    meanings = {"score": "a score of every item of the catalogue", "user": "the vector, or vectors, of the user"}
    return [
        {
            "name": port.name,
            "dtype": port.dtype,
            "shape": ["batch", *port.shape[1:]],
            "meaning": meanings[port.name] if recommender.role == "retriever" else f"the prediction of {port.name}, in its own scale",
            "range": list(ranges[port.name][:2]) if port.name in ranges else [None, None],
        }
        for port in ports
    ]


def _vocabulary(feature: Feature) -> Mapping[str, Any] | None:
    if feature.kind == "numeric":
        return None
    return {"name": feature.vocabulary, "size": feature.size, "ids": _IDS.get(feature.vocabulary), "unknown": 0}


def _program(program: Program, output: str, number: int, out: Path) -> dict[str, Any]:
    """Write the arrays of a program; return its steps, its output and array name → file."""
    arrays = {name: f"programs/{number:02d}-{place:03d}.npy" for place, name in enumerate(sorted(program.stored()))}
    for name, array in program.stored().items():
        put_array(out / arrays[name], array)
    return {"output": output, **program.to_json(), "arrays_stored": arrays}
