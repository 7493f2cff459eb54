"""Small bundles made without any training, and a client that speaks ASGI to the application behind its gate."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from autorec_kernel.deploy.bundle import BundleFacts, ServedModel, write_bundle
from autorec_kernel.deploy.rewrite import with_items
from autorec_kernel.records.features import Feature, FeatureSchema
from autorec_kernel.records.program import Program, Step
from autorec_kernel.records.schema import Column, Schema
from autorec_kernel.records.serving_state import ServingState
from autorec_kernel.records.vocabulary import Vocabulary
from autorec_serve.app import guarded
from autorec_serve.loaded import Served
from autorec_serve.metrics import Metrics
from autorec_serve.settings import Access, Limits

USERS, ITEMS, WIDTH = 6, 40, 4
HEADERS = (("host", "127.0.0.1:8000"), ("content-type", "application/json"))


def _schema(*more: Feature) -> FeatureSchema:
    ids = (
        Feature("user_id", "id", "user", vocabulary="user", size=USERS),
        Feature("item_id", "id", "item", vocabulary="item", size=ITEMS + 1),
    )
    return FeatureSchema(
        (*ids, *more), "user_id", "item_id", USERS, ITEMS + 1, {"rating": "value"}, {"rating": (-99.0, 99.0, 3.5)}, events=10
    )


def _state(schema: FeatureSchema, programs: dict[str, tuple[Program, str]]) -> ServingState:
    """Users 1 to 5 have seen items 2u and 2u + 1; item 3 is the most popular."""
    seen = np.array([item for user in range(1, USERS) for item in (2 * user, 2 * user + 1)], np.int32)
    popularity = np.bincount(seen, minlength=ITEMS + 1).astype(np.float32)
    popularity[3] += 3
    offsets = np.concatenate([[0, 0], 2 * np.arange(1, USERS)]).astype(np.int64)
    return ServingState(
        schema,
        Vocabulary.of([f"u{number}" for number in range(1, USERS)]),
        Vocabulary.of([f"i{number:02d}" for number in range(1, ITEMS + 1)]),
        {"user_id": np.arange(USERS, dtype=np.int32), "item_id": np.arange(ITEMS + 1, dtype=np.int32)},
        programs,
        popularity,
        offsets,
        seen,
        np.ones(len(seen), dtype=bool),
        {"user": "user_id", "item": "item_id", "time": "when"},
    )


def _graph(
    nodes: list[Any], inputs: dict[str, tuple[int, list[Any]]], output: str, shape: list[Any], tables: dict[str, np.ndarray]
) -> bytes:
    values = [helper.make_tensor_value_info(name, kind, dims) for name, (kind, dims) in inputs.items()]
    stored = [numpy_helper.from_array(array, name) for name, array in tables.items()]
    graph = helper.make_graph(nodes, "kit", values, [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return bytes(model.SerializeToString())


def write_retriever(folder: Path, seed: int) -> Path:
    """Write a factorised retriever whose vectors are drawn with `seed`."""
    rng = np.random.default_rng(seed)
    users, items = (rng.normal(size=(size, WIDTH)).astype(np.float32) for size in (USERS, ITEMS + 1))
    nodes = [helper.make_node("Gather", ["table", "user_id"], ["user"])]
    graph = _graph(nodes, {"user_id": (TensorProto.INT64, ["A"])}, "user", ["A", WIDTH], {"table": users})
    model = ServedModel("retriever", with_items(graph, items), {"inputs": ["user_id"], "outputs": ["user"], "lengths": {}})
    columns = Schema((Column("user_id", "user", "id"), Column("item_id", "item", "id")))
    facts = BundleFacts("recommend", "given/test", plugins={"autorec-kernel": "0"})
    write_bundle(folder, model=model, state=_state(_schema(), {}), sample={"user_id": np.arange(USERS)}, facts=facts, columns=columns)
    return folder


def write_ranker(folder: Path) -> Path:
    """Write a ranker: a number a user and item, plus price and hour of the event."""
    rng = np.random.default_rng(2)
    tables = {"users": rng.normal(size=(USERS, 1)).astype(np.float32), "items": rng.normal(size=(ITEMS + 1, 1)).astype(np.float32)}
    nodes = [
        helper.make_node("Gather", ["users", "user_id"], ["u"]),
        helper.make_node("Gather", ["items", "item_id"], ["i"]),
        helper.make_node("Sum", ["u", "i", "price", "hour"], ["all"]),
        helper.make_node("ReduceSum", ["all", "axis"], ["rating"], keepdims=0),
    ]
    inputs: dict[str, tuple[int, list[Any]]] = {name: (TensorProto.INT64, ["A"]) for name in ("user_id", "item_id")}
    inputs |= {name: (TensorProto.FLOAT, ["A", 1]) for name in ("price", "hour")}
    graph = _graph(nodes, inputs, "rating", ["A"], {**tables, "axis": np.array([1])})
    model = ServedModel("ranker", graph, {"inputs": list(inputs), "outputs": ["rating"], "lengths": {}})
    price = Program(
        ("price",),
        (Step("affine", ("price",), "scaled", {"shift": 0.0, "scale": 2.0}), Step("fill", ("scaled",), "p", {"value": 0.0})),
        ("p",),
    )
    hour = Program(("when",), (Step("calendar", ("when",), "part", {"part": "hour"}), Step("fill", ("part",), "h", {"value": 0.0})), ("h",))
    programs = {"price": (price, "p"), "hour": (hour, "h")}
    schema = _schema(Feature("price", "numeric", "row"), Feature("hour", "numeric", "row"))
    columns = Schema(
        (
            Column("user_id", "user", "id"),
            Column("item_id", "item", "id"),
            Column("price", "feature", "numeric"),
            Column("when", "time", "time"),
            Column("rating", "label", "numeric"),
        )
    )
    rows = np.arange(USERS)
    sample = {"user_id": rows, "item_id": rows, "price": rows[:, None].astype(np.float32), "hour": rows[:, None].astype(np.float32)}
    facts = BundleFacts("rate", "given/test", plugins={"autorec-kernel": "0"})
    write_bundle(folder, model=model, state=_state(schema, programs), sample=sample, facts=facts, columns=columns)
    return folder


def serving(path: Path, **limits: Any) -> Served:
    """Return a bundle that is served, with counters of its own."""
    return Served(path, Metrics(), Limits(**limits))


_APPLICATIONS: dict[tuple[int, Access], tuple[Served, Any]] = {}


def application(served: Served, access: Access) -> Any:
    """Return the application of a server behind its gate; the same one every time."""
    if (id(served), access) not in _APPLICATIONS:
        _APPLICATIONS[id(served), access] = served, guarded(served, access)
    return _APPLICATIONS[id(served), access][1]


@dataclass
class Reply:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    served: Served,
    method: str,
    path: str,
    body: Any = None,
    *,
    headers: Iterable[tuple[str, str]] | None = None,
    add: Iterable[tuple[str, str]] = (),
    access: Access | None = None,
    chunks: Iterable[bytes] | None = None,
    pause: float = 0.0,
) -> Reply:
    """Send one request to the application behind its gate.

    Args:
        body: JSON value, or bytes as they are.
        headers: All headers; by default those of an ordinary call, with the length of the body.
        add: Headers beside the ordinary ones.
        chunks: The body in parts, whatever the headers say.
        pause: Seconds before each part.
    """
    return asyncio.run(ask_async(served, method, path, body, headers=headers, add=add, access=access, chunks=chunks, pause=pause))


async def ask_async(
    served: Served,
    method: str,
    path: str,
    body: Any = None,
    *,
    headers: Iterable[tuple[str, str]] | None = None,
    add: Iterable[tuple[str, str]] = (),
    access: Access | None = None,
    chunks: Iterable[bytes] | None = None,
    pause: float = 0.0,
    app: Any = None,
) -> Reply:
    """Do what `ask` does within a loop; `app` asks an application that is there."""
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    told = (
        list(headers) if headers is not None else [*HEADERS, ("content-length", str(len(data)))] if method == "POST" else list(HEADERS[:1])
    )
    parts = list(chunks) if chunks is not None else [data]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(pause)
        if not parts:
            return {"type": "http.disconnect"}
        part = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in [*told, *add]],
        "client": ("127.0.0.1", 1234),
        "server": ("127.0.0.1", 8000),
    }
    await (app or application(served, access or Access()))(scope, receive, send)
    start, *rest = sent
    pairs = {name.decode("latin-1"): value.decode("latin-1") for name, value in start["headers"]}
    return Reply(start["status"], pairs, b"".join(message.get("body", b"") for message in rest))
