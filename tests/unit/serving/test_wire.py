from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from autorec_kernel.errors import BundleError
from autorec_kernel.serving.graph import Graph
from autorec_kernel.serving.wire import check_graph

Change = Callable[[onnx.ModelProto], None]


def small() -> onnx.ModelProto:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["A", 2]) for name in "xy")
    weight = numpy_helper.from_array(np.eye(2, dtype=np.float32), "w")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [x], [y], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def external(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    tensor.external_data.add(key="location", value="../../etc/passwd")


def location_only(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL


def external_in_attribute(model: onnx.ModelProto) -> None:
    tensor = numpy_helper.from_array(np.ones(2, np.float32))
    tensor.external_data.add(key="location", value="weights.bin")
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=tensor))


def external_in_tensor_list(model: onnx.ModelProto) -> None:
    tensor = numpy_helper.from_array(np.ones(2, np.float32))
    tensor.data_location = TensorProto.EXTERNAL
    model.graph.node[0].attribute.append(helper.make_attribute("many", [tensor]))


def subgraph(model: onnx.ModelProto) -> None:
    inner = helper.make_graph([], "inner", [], [])
    model.graph.node.append(helper.make_node("If", ["x"], ["z"], then_branch=inner, else_branch=inner))


def subgraph_in_plain_node(model: onnx.ModelProto) -> None:
    model.graph.node[0].attribute.append(helper.make_attribute("body", helper.make_graph([], "inner", [], [])))


def function(model: onnx.ModelProto) -> None:
    model.functions.append(helper.make_function("", "F", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])], model.opset_import))


def foreign_domain(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "com.evil"


def foreign_opset(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("com.evil", 1))


def other_contributed_operator(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    model.graph.node[0].domain = "com.microsoft"


def newer_contributed_operators(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("com.microsoft", 2))


def product_of_another_domain(model: onnx.ModelProto) -> None:
    model.graph.node[0].op_type, model.graph.node[0].domain = "MatMulNBits", "com.evil"


def product_without_a_domain(model: onnx.ModelProto) -> None:
    model.graph.node[0].op_type = "MatMulNBits"


def loop(model: onnx.ModelProto) -> None:
    model.graph.node[0].op_type = "Loop"


def unknown_op(model: onnx.ModelProto) -> None:
    model.graph.node[0].op_type = "ReadFile"


def newer_ir(model: onnx.ModelProto) -> None:
    model.ir_version = 14


def newer_opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 26


def training(model: onnx.ModelProto) -> None:
    model.training_info.add()


def sparse(model: onnx.ModelProto) -> None:
    model.graph.sparse_initializer.add()


CHANGES: tuple[Change, ...] = (
    external,
    location_only,
    external_in_attribute,
    external_in_tensor_list,
    subgraph,
    subgraph_in_plain_node,
    function,
    foreign_domain,
    foreign_opset,
    other_contributed_operator,
    newer_contributed_operators,
    product_of_another_domain,
    product_without_a_domain,
    loop,
    unknown_op,
    newer_ir,
    newer_opset,
    training,
    sparse,
)


def test_a_plain_graph_is_accepted() -> None:
    check_graph(small().SerializeToString(), "m.onnx")


def four_bit_product(codes: tuple[int, ...] = (2, 1, 16), scales: int = 2, inputs: int = 32, outputs: int = 2) -> bytes:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["A", inputs])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["A", outputs])
    stored = [numpy_helper.from_array(np.zeros(codes, np.uint8), "b"), numpy_helper.from_array(np.zeros(scales, np.float32), "s")]
    options = {"K": inputs, "N": outputs, "bits": 4, "block_size": 32, "accuracy_level": 4}
    node = helper.make_node("MatMulNBits", ["x", "b", "s"], ["y"], domain="com.microsoft", **options)
    domains = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(helper.make_graph([node], "g", [x], [y], stored), opset_imports=domains, ir_version=10)
    return bytes(model.SerializeToString())


def test_the_one_contributed_operator_is_accepted_and_runs() -> None:
    data = four_bit_product()
    check_graph(data, "m.onnx")
    spec = {"inputs": ["x"], "outputs": ["y"]}
    assert Graph(data, spec).run({"x": np.ones((3, 32), np.float32)})["y"].shape == (3, 2)


@pytest.mark.parametrize(
    "wrong", [{"codes": (1, 1, 16)}, {"codes": (7,)}, {"scales": 1}, {"inputs": 4096}, {"outputs": 1 << 20}, {"inputs": -32}]
)
def test_a_four_bit_product_with_missing_weights_is_refused_at_load(wrong: dict[str, Any]) -> None:
    with pytest.raises(BundleError, match="cannot load"):
        Graph(four_bit_product(**wrong), {"inputs": ["x"], "outputs": ["y"]})


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_graph_that_could_reach_out_is_refused(change: Change) -> None:
    model = small()
    change(model)
    with pytest.raises(BundleError, match=r"m\.onnx"):
        check_graph(model.SerializeToString(), "m.onnx")


def test_a_second_graph_appended_to_the_bytes_is_refused() -> None:
    twice = small().SerializeToString() + small().SerializeToString()
    with pytest.raises(BundleError, match="2 graphs"):
        check_graph(twice, "m.onnx")


def test_random_bytes_are_refused_without_any_other_error() -> None:
    rng = np.random.default_rng(0)
    good = small().SerializeToString()
    for _ in range(300):
        cut = int(rng.integers(1, len(good)))
        for data in (rng.bytes(cut), good[:cut]):
            try:
                check_graph(data, "m.onnx")
            except BundleError:
                continue
