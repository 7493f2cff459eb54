from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from autorec_kernel.errors import BundleError
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
    loop,
    unknown_op,
    newer_ir,
    newer_opset,
    training,
    sparse,
)


def test_a_plain_graph_is_accepted() -> None:
    check_graph(small().SerializeToString(), "m.onnx")


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
