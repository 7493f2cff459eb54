"""`--format triton`: a model repository with the graph alone, and with a model that answers ids as `autorec recommend` does."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from autorec_export.files import put, put_json
from autorec_export.pbtxt import Tensor, batched, config
from autorec_export.ports import Port, graph_of, opened, ports_of
from autorec_kernel.records.schema import Column, Schema
from autorec_kernel.serving import Recommender
from autorec_kernel.serving.drift import context_columns

__all__ = ["ANSWERS", "write_triton"]

ANSWERS = "answers"
_BATCH = {"retriever": 256, "ranker": 4096}
_KINDS = {"numeric": "float64", "time": "int64"}  # of event columns; other kinds are texts
_LEFT_OUT = ("multi", "vector")
_GRAPH_NOTE = "The graph of bundle {digest}: features in, {told} out. What makes the features is in the model `answers`."
_QUANTISED = "\nIts products run in eight-bit integers scaled per batch: a score moves slightly with the other requests of its batch."
_ANSWERS_NOTE = "Bundle {digest} as it is: ids in, answers out. The container's Python needs numpy, onnxruntime and autorec-kernel."


def write_triton(source: Path, out: Path) -> None:
    """Write a model repository of the Triton inference server.

    `retriever` or `ranker` is the graph alone for the onnxruntime backend; where the graph has no batch of requests (no inputs), it is left
    out. `answers` is the bundle behind the python backend: it makes the features, excludes what was seen and answers the unknown.

    Args:
        source: A bundle.
        out: The folder to write; not there yet.

    Raises:
        UsageError: The source is no bundle.
        BundleError: It is refused.
    """
    recommender = opened(source)
    role, bundle = recommender.role, recommender.bundle
    inputs, outputs = ports_of(recommender)
    graph = bool(inputs) and all(port.shape and port.shape[0] == -1 for port in (*inputs, *outputs))
    if graph:
        data = graph_of(recommender)
        told = "scores of the catalogue" if outputs[0].name == "score" else "vectors of users" if role == "retriever" else "predictions"
        note = _GRAPH_NOTE.format(digest=bundle.digest, told=told) + (_QUANTISED if b"DynamicQuantizeLinear" in data else "")
        put(out / role / "1" / "model.onnx", data)
        put(out / role / "config.pbtxt", _of_graph(role, inputs, outputs, note))
    columns = _columns(recommender)
    put(out / ANSWERS / "config.pbtxt", _of_answers(recommender, columns))
    put(out / ANSWERS / "1" / "model.py", files("autorec_export").joinpath("triton_model.py").read_bytes())
    put_json(out / ANSWERS / "1" / "columns.json", {column.name: [column.kind, column.role] for column in columns})
    for name, data in bundle.members.items():
        put(out / ANSWERS / "1" / "bundle" / name, data)


def _of_graph(role: str, inputs: Sequence[Port], outputs: Sequence[Port], note: str) -> str:
    given, told = [batched(port) for port in inputs], [batched(port) for port in outputs]
    return config(role, "onnxruntime", given, told, batch=_BATCH[role], note=note, threads=True)


def _of_answers(recommender: Recommender, columns: Sequence[Column]) -> str:
    note = _ANSWERS_NOTE.format(digest=recommender.bundle.digest)
    if recommender.role == "retriever":
        given = [
            Tensor("USER", "text", optional=True),
            Tensor("HISTORY", "text", (-1,), optional=True),
            Tensor("K", "int32", optional=True),
        ]
        told = [Tensor("ITEMS", "text", (-1,)), Tensor("SCORES", "float32", (-1,)), Tensor("ANSWERED_BY", "text")]
        return config(ANSWERS, "python", given, told, batch=_BATCH["retriever"], note=note)
    given = [Tensor("USER", "text", optional=True), Tensor("ITEM", "text", optional=True)]
    given += [Tensor(column.name, _KINDS.get(column.kind, "text"), optional=True) for column in columns]
    told = [Tensor(name, "float32") for name in recommender.graph.outputs]
    return config(ANSWERS, "python", given, told, batch=_BATCH["ranker"], note=note)


def _columns(recommender: Recommender) -> list[Column]:
    """Return the event columns that a ranker reads beside the ids, those of lists and vectors left out: they count as unknown."""
    schema = Schema.from_json(recommender.schema["columns"])
    read: Any = set(context_columns(recommender.state, recommender.graph.inputs, schema)) if recommender.role == "ranker" else ()
    return [column for column in schema.columns if column.source == "events" and column.name in read and column.kind not in _LEFT_OUT]
