"""Two small bundles with known answers, made without any training: a factorised retriever and a ranker that reads what an event tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

__all__ = ["ITEMS", "USERS", "write_ranker", "write_retriever"]

USERS, ITEMS, WIDTH = 6, 40, 4  # u1 to u5, i01 to i40; row 0 = unknown
_IDS = (Column("user_id", "user", "id"), Column("item_id", "item", "id"))


def write_retriever(folder: Path, seed: int = 0) -> Path:
    """Write a factorised retriever whose vectors are drawn with `seed`."""
    rng = np.random.default_rng(seed)
    users, items = (rng.normal(size=(size, WIDTH)).astype(np.float32) for size in (USERS, ITEMS + 1))
    nodes = [helper.make_node("Gather", ["table", "user_id"], ["user"])]
    graph = _graph(nodes, {"user_id": (TensorProto.INT64, ["A"])}, "user", ["A", WIDTH], {"table": users})
    model = ServedModel("retriever", with_items(graph, items), {"inputs": ["user_id"], "outputs": ["user"], "lengths": {}})
    _write(folder, model, _state(_schema(), {}), {"user_id": np.arange(USERS)}, "recommend", _IDS)
    return folder


def write_ranker(folder: Path, seed: int = 0) -> Path:
    """Write a ranker: a number a user and one an item, plus twice the price and the hour of the event."""
    rng = np.random.default_rng(seed)
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
    rows = np.arange(USERS)
    numbers: np.ndarray = rows[:, None].astype(np.float32)
    sample = {"user_id": rows, "item_id": rows, "price": numbers, "hour": numbers}
    more = (Column("price", "feature", "numeric"), Column("when", "time", "time"), Column("rating", "label", "numeric"))
    schema = _schema(Feature("price", "numeric", "row"), Feature("hour", "numeric", "row"))
    _write(folder, model, _state(schema, _programs()), sample, "rate", (*_IDS, *more))
    return folder


def _programs() -> dict[str, tuple[Program, str]]:
    scaled = Step("affine", ("price",), "scaled", {"shift": 0.0, "scale": 2.0})
    part = Step("calendar", ("when",), "part", {"part": "hour"})
    fill = [Step("fill", (step.output,), out, {"value": 0.0}) for step, out in ((scaled, "p"), (part, "h"))]
    return {
        "price": (Program(("price",), (scaled, fill[0]), ("p",)), "p"),
        "hour": (Program(("when",), (part, fill[1]), ("h",)), "h"),
    }


def _schema(*more: Feature) -> FeatureSchema:
    ids = (
        Feature("user_id", "id", "user", vocabulary="user", size=USERS),
        Feature("item_id", "id", "item", vocabulary="item", size=ITEMS + 1),
    )
    labels = {"rating": (-99.0, 99.0, 3.5)}
    return FeatureSchema((*ids, *more), "user_id", "item_id", USERS, ITEMS + 1, {"rating": "value"}, labels, events=10)


def _state(schema: FeatureSchema, programs: Mapping[str, tuple[Program, str]]) -> ServingState:
    """Users 1 to 5 have seen items 2u and 2u + 1; item 3 is the most popular."""
    seen = np.array([item for user in range(1, USERS) for item in (2 * user, 2 * user + 1)], np.int32)
    popularity = np.bincount(seen, minlength=ITEMS + 1).astype(np.float32)
    popularity[3] += 3
    return ServingState(
        schema,
        Vocabulary.of([f"u{number}" for number in range(1, USERS)]),
        Vocabulary.of([f"i{number:02d}" for number in range(1, ITEMS + 1)]),
        {"user_id": np.arange(USERS, dtype=np.int32), "item_id": np.arange(ITEMS + 1, dtype=np.int32)},
        programs,
        popularity,
        np.concatenate([[0, 0], 2 * np.arange(1, USERS)]).astype(np.int64),
        seen,
        np.ones(len(seen), dtype=bool),
        {"user": "user_id", "item": "item_id", "time": "when"},
    )


def _graph(
    nodes: list[Any], inputs: Mapping[str, tuple[int, list[Any]]], output: str, shape: list[Any], tables: Mapping[str, np.ndarray]
) -> bytes:
    values = [helper.make_tensor_value_info(name, kind, dims) for name, (kind, dims) in inputs.items()]
    stored = [numpy_helper.from_array(array, name) for name, array in tables.items()]
    graph = helper.make_graph(nodes, "kit", values, [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return bytes(model.SerializeToString())


def _write(
    folder: Path, model: ServedModel, state: ServingState, sample: Mapping[str, np.ndarray], task: str, columns: Sequence[Column]
) -> None:
    facts = BundleFacts(task, "given/test", plugins={"autorec-kernel": "0"})
    write_bundle(folder, model=model, state=state, sample=sample, facts=facts, columns=Schema(tuple(columns)))
