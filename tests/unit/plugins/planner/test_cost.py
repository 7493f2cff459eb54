"""The price list of graphs and the line through what probes measured."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from autorec_planner.cost import calibrated, listed_microseconds


def product(rows: int, columns: int, shape: tuple[str | int, ...] = ("batch",), operator: str = "MatMul") -> bytes:
    weights = numpy_helper.from_array(np.zeros((rows, columns), np.float32), "w")
    node = helper.make_node(operator, ["x", "w"], ["y"])
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [*shape, width]) for name, width in (("x", rows), ("y", columns))]
    graph = helper.make_graph([node], "g", ends[:1], ends[1:], [weights])
    return bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]).SerializeToString())


def test_a_larger_matrix_a_larger_batch_and_a_longer_history_cost_more() -> None:
    small, large = product(64, 64), product(512, 512)
    assert listed_microseconds(small, 1, 1) < listed_microseconds(large, 1, 1) < listed_microseconds(large, 64, 1)
    steps = product(512, 512, ("batch", "length"))
    assert listed_microseconds(steps, 1, 50) > 5 * listed_microseconds(steps, 1, 1)
    assert listed_microseconds(large, 1, 50) == listed_microseconds(large, 1, 1)  # its rows are users, not steps


def test_a_history_of_one_step_counts_as_one() -> None:
    last = product(512, 512, ("batch", 1))
    assert listed_microseconds(last, 1, 50) == listed_microseconds(product(512, 512), 1, 1)


def test_steps_of_a_known_number_count_as_many() -> None:
    """What `prune/history` leaves of a history of 50."""
    cut = product(512, 512, ("batch", 8))
    assert listed_microseconds(cut, 1, 50) == listed_microseconds(product(512, 512, ("batch", "length")), 1, 8)


def test_a_matrix_of_a_million_weights_costs_what_it_was_measured_to() -> None:
    """541 us for three of them at one row, 30,818 at 512 (COMPRESSION.md, section 2b)."""
    assert 3 * listed_microseconds(product(1024, 1024), 1, 1) == pytest.approx(541, rel=0.25)
    assert 3 * listed_microseconds(product(1024, 1024), 512, 1) == pytest.approx(30_818, rel=0.25)


def test_integers_cost_less_than_floats_and_an_input_more_than_a_node() -> None:
    """COMPRESSION.md, section 2b; sections 6."""
    plain, integer = product(1024, 1024), product(1024, 1024, operator="MatMulInteger")
    for rows, least in ((1, 2.0), (64, 3.0)):
        assert listed_microseconds(plain, rows, 1) > least * listed_microseconds(integer, rows, 1)
    model = onnx.ModelProto.FromString(product(8, 8))
    model.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["batch", 1]))
    assert listed_microseconds(model.SerializeToString(), 1, 1) == pytest.approx(listed_microseconds(product(8, 8), 1, 1) + 1.0)


def test_a_weight_in_a_constant_node_costs_what_one_in_an_initializer_does() -> None:
    model = onnx.ModelProto.FromString(product(512, 512))
    (weights,) = model.graph.initializer
    model.graph.node.insert(0, helper.make_node("Constant", [], ["w"], value=weights))
    model.graph.ClearField("initializer")
    assert listed_microseconds(model.SerializeToString(), 8, 1) == listed_microseconds(product(512, 512), 8, 1)


def test_a_line_through_probes_tells_its_error() -> None:
    listed = [10.0, 50.0, 200.0, 900.0]
    exact = calibrated(listed, [25 + 2 * x for x in listed])
    assert (exact.offset, exact.slope, exact.error) == pytest.approx((25, 2, 0), abs=1e-6)
    assert exact.milliseconds(100.0) == pytest.approx(0.225)
    noisy = calibrated(listed, [50.0, 110.0, 480.0, 1700.0])
    assert 0.02 < noisy.error < 0.5 and noisy.to_json()["error"] == pytest.approx(noisy.error, abs=1e-4)


def test_few_probes_give_a_ratio_and_promise_nothing() -> None:
    found = calibrated([10.0, 20.0], [20.0, 40.0])
    assert (found.offset, found.slope, found.error) == (0.0, 2.0, float("inf"))
    assert found.to_json()["error"] is None
