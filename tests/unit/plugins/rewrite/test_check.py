"""The proof that a rewritten graph answers alike: which differences it must see, each of which only one of its cases shows."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from autorec_kernel.contracts.deploy import NotApplicable
from autorec_rewrite.check import check_equal, check_once
from autorec_rewrite.net import net_of, with_nodes
from tests.unit.plugins.rewrite.rewrite_kit import context, hand_made

node = helper.make_node


def test_what_differs_for_the_shortest_history_alone_is_seen() -> None:
    model = hand_made(
        [node("Cast", ["x"], ["numbers"], to=1), node("ReduceSum", ["numbers", "axis"], ["y"], keepdims=1)],
        {"axis": np.array([1])},
        {"x": ["A", "L"]},
        {"y": ["A", 1]},
    )
    before = net_of(model)
    cast, total = before.nodes
    changed = [
        cast,
        node("ReduceSum", [cast.output[0], total.input[1]], ["plain"], keepdims=1),
        node("Shape", [before.inputs[0]], ["steps"], start=1, end=2),
        node("Equal", ["steps", "one"], ["short"]),
        node("Where", ["short", "more", "zero"], ["extra"]),
        node("Add", ["plain", "extra"], [before.outputs[0]]),
    ]
    after = with_nodes(before, changed, {"one": np.array([1]), "more": np.float32([3]), "zero": np.float32([0])})
    check_equal(before, before, model, context())
    with pytest.raises(NotApplicable, match="answers differently, by"):
        check_equal(before, after, model, context())


def test_a_row_that_stands_for_many_has_to_answer_as_they_do() -> None:
    model = hand_made([node("Add", ["x", "b"], ["y"])], {"b": np.float32([1])}, {"x": ["A", 2]}, {"y": ["A", 2]})
    other = hand_made([node("Add", ["x", "b"], ["y"])], {"b": np.float32([1.01])}, {"x": ["A", 2]}, {"y": ["A", 2]})
    once = {"x": np.ones((3, 2), np.float32)}
    check_once(net_of(model), net_of(model), [(once, once)])
    with pytest.raises(NotApplicable, match="where one row stands for many"):
        check_once(net_of(model), net_of(other), [(once, once)])


def test_an_answer_of_the_graph_is_read_once_more_than_its_nodes_read_it() -> None:
    nodes = [node("Relu", ["x"], ["a"]), node("Mul", ["a", "a"], ["b"]), node("Add", ["b", "x"], ["y"])]
    net = net_of(hand_made(nodes, {}, {"x": ["A", 2]}, {"y": ["A", 2]}))
    relu, squared, total = net.nodes
    assert [net.reads(name) for name in (net.inputs[0], relu.output[0], squared.output[0], total.output[0], "?")] == [2, 2, 1, 1, 0]
