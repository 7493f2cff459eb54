"""`rewrite/packed-inputs`: which inputs become one, that answers stay bit for bit, and what a `Graph` refuses of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from autorec_kernel.contracts.deploy import NotApplicable
from autorec_kernel.errors import BundleError
from autorec_kernel.kernel import Kernel
from autorec_kernel.serving.graph import PACKED, Graph, _beside
from autorec_kernel.testing.contracts import CompressorContract
from autorec_rewrite.net import Net
from autorec_rewrite.pack import PackedInputs, _packed, _runs
from tests.unit.plugins.rewrite.rewrite_kit import context, exported

RNG = np.random.default_rng(0)
TABLE = RNG.normal(size=(30, 4)).astype(np.float32)


class TestPackedInputs(CompressorContract):
    component = PackedInputs


def net(nodes: list[Any], floats: dict[str, int], ids: tuple[str, ...] = (), axis: dict[str, str] | None = None) -> Net:
    """Return a graph of these nodes with the numeric inputs [A, width] and the ids [A], and one output `y`."""
    first = axis or {}
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [first.get(name, "A"), width]) for name, width in floats.items()]
    inputs += [helper.make_tensor_value_info(name, TensorProto.INT64, [first.get(name, "A")]) for name in ids]
    numbers = {"one": np.array([1]), "three": np.array(3), "ten": np.array(10), "table": TABLE}
    stored = {name: numpy_helper.from_array(value, name) for name, value in numbers.items()}
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", inputs, [output], list(stored.values()))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return Net(model, tuple(model.graph.node), stored)


def node(kind: str, inputs: list[str], out: str, **options: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs, [out], **options)


def graphs(given: Net, sizes: dict[str, int] | None = None) -> tuple[Graph, Graph, onnx.ModelProto]:
    """Return (before, after, the packed graph)."""
    spec = {"inputs": given.inputs, "outputs": ["y"], "sizes": sizes or {}}
    packed = _packed(given, list(_runs(given)))
    return Graph(given.model.SerializeToString(), spec), Graph(packed, spec), onnx.ModelProto.FromString(packed)


IDS = [node("Add", ["b", "three"], "b3"), node("Add", ["c", "ten"], "c10")]
IDS += [node("Unsqueeze", [source, "one"], f"{source}.column") for source in ("a", "b3", "c10")]
IDS += [node("Concat", ["a.column", "b3.column", "c10.column"], "rows", axis=1), node("Gather", ["table", "rows"], "y")]


def test_numeric_columns_side_by_side_become_one_input() -> None:
    given = net([node("Concat", ["x", "y1", "z"], "all", axis=-1), node("Relu", ["all"], "y")], {"x": 1, "y1": 3, "z": 2})
    before, after, packed = graphs(given)
    assert [value.name for value in packed.graph.input] == [PACKED.join(("x", "y1", "z"))]
    assert [entry.op_type for entry in packed.graph.node] == ["Relu"]
    rows = {name: RNG.normal(size=(5, width)) for name, width in (("z", 2), ("x", 1), ("y1", 3))}
    np.testing.assert_array_equal(after.run(rows)["y"], before.run(rows)["y"])


def test_stacked_ids_become_one_input_and_their_offsets_one_addition() -> None:
    before, after, packed = graphs(net(IDS, {}, ("a", "b", "c")), {"a": 3, "b": 7, "c": 20})
    assert [entry.op_type for entry in packed.graph.node] == ["Add", "Gather"]
    rows = {"a": np.arange(3), "b": np.arange(4, 7), "c": np.arange(17, 20)}
    np.testing.assert_array_equal(after.run(rows)["y"], before.run(rows)["y"])
    for wrong, told in (({"b": np.array([0, 7, 1])}, "'b'.*outside 0..6"), ({"c": np.array([0, -1, 1])}, "'c'.*outside 0..19")):
        for kind in (np.int64, np.int32):
            given = {name: value.astype(kind) for name, value in {**rows, **wrong}.items()}
            with pytest.raises(BundleError, match=told):  # three rows, the one row that is wrong, more rows than a list is compared for
                after.run(given)
            with pytest.raises(BundleError, match=told):
                after.run({name: value[1:2] for name, value in given.items()})
            with pytest.raises(BundleError, match=told):
                after.run({name: np.tile(value, 9) for name, value in given.items()})
    for many in (slice(1), slice(2, 3)):
        one = {name: value[many] for name, value in rows.items()}
        np.testing.assert_array_equal(after.run(one)["y"], before.run(one)["y"])
    assert after.run({name: value[:0] for name, value in rows.items()})["y"].shape == (0, 3, 4)


def test_what_something_else_reads_too_or_has_other_rows_stays_an_input() -> None:
    """`y1` is read twice and parts the run of x, y1, z, w; ids of another first axis are of other rows."""
    nodes = [
        node("Concat", ["x", "y1", "z", "w"], "all", axis=1),
        node("ReduceSum", ["y1", "one"], "sum"),
        node("Mul", ["all", "sum"], "y"),
    ]
    before, after, packed = graphs(net(nodes, {"x": 1, "y1": 1, "z": 2, "w": 1}))
    assert [value.name for value in packed.graph.input] == ["x", "y1", PACKED.join(("z", "w"))]
    rows = {name: RNG.normal(size=(4, width)).astype(np.float32) for name, width in (("x", 1), ("y1", 1), ("z", 2), ("w", 1))}
    np.testing.assert_array_equal(after.run(rows)["y"], before.run(rows)["y"])
    assert [run.features for run in _runs(net(IDS, {}, ("a", "b", "c"), {"a": "U"}))] == [("b", "c")]


def test_columns_that_do_not_fit_are_refused() -> None:
    """A bundle may name what it likes as one input: what cannot be put side by side is a refused request, not a crash."""
    _, after, _ = graphs(net([node("Concat", ["x", "z"], "all", axis=1), node("Relu", ["all"], "y")], {"x": 1, "z": 2}))
    with pytest.raises(BundleError, match="the model failed"):
        after.run({"x": np.ones((2, 1)), "z": np.ones((3, 2))})


@pytest.mark.parametrize("name", [PACKED.join("xx"), PACKED.join(("x", "strange")), PACKED.join(("x", "")), PACKED])
def test_a_graph_whose_input_names_features_twice_or_strange_ones_is_refused(name: str) -> None:
    given = net([node("Relu", ["x"], "y")], {"x": 2})
    with pytest.raises(BundleError, match="not those of the schema"):
        Graph(renamed(given.model, name), {"inputs": ["x"], "outputs": ["y"]})


def test_features_packed_in_an_input_of_another_rank_are_refused() -> None:
    given = net([node("Relu", ["x"], "y")], {"x": 2}, ("a",))
    given.model.graph.input[0].type.tensor_type.shape.dim.add().dim_value = 1
    with pytest.raises(BundleError, match="not those of the schema"):
        Graph(renamed(given.model, PACKED.join(("x", "z"))), {"inputs": ["x", "z", "a"], "outputs": ["y"]})


def test_a_feature_may_have_the_separator_in_its_name() -> None:
    """Columns are named by whoever has the table: such a feature keeps an input of its own."""
    odd = f"pr{PACKED}ice"
    given = net([node("Concat", [odd, "x", "z"], "all", axis=1), node("Relu", ["all"], "y")], {odd: 1, "x": 1, "z": 2})
    before, after, packed = graphs(given)
    assert [value.name for value in packed.graph.input] == [odd, PACKED.join(("x", "z"))]
    rows = {name: RNG.normal(size=(4, width)).astype(np.float32) for name, width in ((odd, 1), ("x", 1), ("z", 2))}
    np.testing.assert_array_equal(after.run(rows)["y"], before.run(rows)["y"])


def test_rows_of_the_user_that_are_told_once_stay_told_once() -> None:
    """A first axis of the user's own, as `first-layer` makes: one row of the user's columns for all candidates."""
    nodes = [node("Concat", ["u", "v"], "user", axis=1), node("Concat", ["x", "z"], "item", axis=1), node("Add", ["user", "item"], "y")]
    given = net(nodes, {"u": 1, "v": 2, "x": 1, "z": 2}, axis={"u": "U", "v": "U"})
    given.model.graph.output[0].type.tensor_type.shape.dim.add().dim_param = "A"
    given.model.graph.output[0].type.tensor_type.shape.dim.add().dim_value = 3
    before, after, packed = graphs(given)
    assert [value.name for value in packed.graph.input] == [PACKED.join("uv"), PACKED.join("xz")]
    assert before.once == after.once == {"u", "v"}
    rows = {
        name: RNG.normal(size=(1 if name in "uv" else 5, width)).astype(np.float32)
        for name, width in zip("uvxz", (1, 2, 1, 2), strict=True)
    }
    np.testing.assert_array_equal(after.run(rows)["y"], before.run(rows)["y"])


def renamed(model: onnx.ModelProto, name: str) -> bytes:
    """Return a graph whose first input has another name."""
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    old, copy.graph.input[0].name = copy.graph.input[0].name, name
    for entry in copy.graph.node:
        entry.input[:] = [name if source == old else source for source in entry.input]
    return bytes(copy.SerializeToString())


def test_a_ranker_of_many_features_has_few_inputs_left(kernel: Kernel) -> None:
    model, _, sample = exported(kernel, "zoo/dcnv2")
    small = PackedInputs(PackedInputs.Config()).compress(model, context(sample=sample))
    before, after = (onnx.ModelProto.FromString(graph or b"").graph for graph in (model.graph, small.graph))
    assert len(after.input) < len(before.input)
    assert {part for value in after.input for part in value.name.split(PACKED)} == {value.name for value in before.input}
    with pytest.raises(NotApplicable, match="no two inputs"):
        PackedInputs(PackedInputs.Config()).compress(small, context(sample=sample))


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("kind", ["float32", "float64", "strided", "turned"])
def test_columns_side_by_side_are_those_that_were_handed_in(rows: int, kind: str) -> None:
    rng = np.random.default_rng(0)
    parts = [rng.normal(size=(rows, width)).astype(np.float32) for width in (1, 3, 1)]
    if kind == "float64":
        parts[1] = parts[1].astype(np.float64)
    elif kind == "strided":
        parts[1] = np.repeat(parts[1], 2, axis=1)[:, ::2]
    elif kind == "turned":
        parts[1] = np.ascontiguousarray(parts[1].T).T
    np.testing.assert_array_equal(_beside(parts), np.concatenate(parts, 1))


@pytest.mark.parametrize("rows", [0, 1, 3])
@pytest.mark.parametrize("kind", ["int64", "int32", "bool", "mixed", "list"])
def test_ids_side_by_side_are_a_row_for_each_asked_one(rows: int, kind: str) -> None:
    parts = [np.arange(rows) + start for start in (0, 5, 9)]
    if kind in ("int32", "bool"):
        parts = [part.astype(kind) for part in parts]
    elif kind == "mixed":
        parts[1] = parts[1].astype(np.int32)
    given = [part.tolist() for part in parts] if kind == "list" else parts
    found = _beside(given)  # type: ignore[arg-type]
    np.testing.assert_array_equal(found, np.stack(parts, 1))
    assert found.shape == (rows, 3)


def test_columns_of_other_rows_are_no_columns() -> None:
    one, two = np.zeros((1, 1), np.float32), np.zeros((2, 1), np.float32)
    for parts in ([one, two], [one, two[:, 0]], [one, np.float32(3)]):
        with pytest.raises(ValueError, match="dimension"):
            _beside(parts)
    np.testing.assert_array_equal(_beside([[[1.0, 2.0]], [[3.0]]]), [[1.0, 2.0, 3.0]])  # type: ignore[list-item]
