"""`rewrite/fold`: what is removed, what must stay, and that no bit of an answer changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from autorec_kernel.contracts.deploy import NotApplicable
from autorec_kernel.deploy.rewrite import tie_tables
from autorec_kernel.kernel import Kernel
from autorec_kernel.records.model import CompressedModel
from autorec_kernel.serving.graph import ITEMS
from autorec_kernel.testing.contracts import CompressorContract
from autorec_rewrite import fold
from autorec_rewrite.fold import Fold
from autorec_rewrite.net import bytes_of, net_of
from autorec_rewrite.probe import feeds
from autorec_rewrite.tidy import tidied
from tests.unit.plugins.rewrite.rewrite_kit import answer, context, exported, hand_made, operators, rewritten

FOLD = Fold(Fold.Config())
RNG = np.random.default_rng(0)
RANDOM = RNG.normal(size=(3, 8)).astype(np.float32)


def node(kind: str, inputs: list[str], out: str, **options: Any) -> Any:
    return helper.make_node(kind, inputs, [out], **options)


def folded(nodes: list[Any], stored: dict[str, Any], outputs: dict[str, Any]) -> tuple[CompressedModel, CompressedModel]:
    """Return (model, folded model) of a graph of x float32 [A, 8]; answers are the same, bit for bit."""
    model = hand_made(nodes, {name: np.asarray(value) for name, value in stored.items()}, {"x": ["A", 8]}, outputs)
    small = rewritten(FOLD, model)
    np.testing.assert_array_equal(answer(small, {"x": RANDOM}), answer(model, {"x": RANDOM}))
    return model, small


class TestFold(CompressorContract):
    component = Fold


def test_what_no_input_reaches_is_computed_ahead() -> None:
    weights = RNG.normal(size=(8, 4)).astype(np.float32)
    nodes = [node("Slice", ["w", "zero", "four", "zero"], "a"), node("Slice", ["w", "four", "eight", "zero"], "b")]
    nodes += [node("Concat", ["b", "a"], "turned", axis=0), node("MatMul", ["x", "turned"], "y")]
    stored = {"w": weights, "zero": [0], "four": [4], "eight": [8]}
    model, small = folded(nodes, stored, {"y": ["A", 4]})
    assert operators(small) == ["MatMul"]
    (found,) = net_of(small).stored.values()
    assert list(found.dims) == [8, 4]
    assert len(small.graph or b"") < len(model.graph or b"")


@pytest.mark.parametrize(("kind", "axes", "squeezed"), [("ReduceSum", [1], [1]), ("ReduceMean", [-1], [1]), ("ReduceMax", [1], [-1])])
def test_a_reduction_drops_the_axis_that_it_need_not_keep(kind: str, axes: list[int], squeezed: list[int]) -> None:
    nodes = [node("Mul", ["x", "x"], "a"), node(kind, ["a", "axes"], "b"), node("Squeeze", ["b", "squeezed"], "y")]
    _, small = folded(nodes, {"axes": axes, "squeezed": squeezed}, {"y": ["A"]})
    assert operators(small) == ["Mul", kind]


def test_a_reduction_of_more_axes_than_are_dropped_stays() -> None:
    nodes = [node("ReduceSum", ["x", "both"], "b"), node("Squeeze", ["b", "first"], "y")]
    with pytest.raises(NotApplicable, match="nothing is left"):
        folded(nodes, {"both": [0, 1], "first": [0]}, {"y": [1]})


def test_a_reduction_that_others_read_keeps_its_axis() -> None:
    nodes = [node("ReduceSum", ["x", "one"], "b"), node("Squeeze", ["b", "one"], "c"), node("Sub", ["x", "b"], "d")]
    nodes += [node("ReduceMax", ["d", "one"], "e"), node("Squeeze", ["e", "one"], "f"), node("Add", ["c", "f"], "y")]
    _, small = folded(nodes, {"one": [1]}, {"y": ["A"]})
    assert operators(small) == ["ReduceSum", "Squeeze", "Sub", "ReduceMax", "Add"]


def test_a_constant_larger_than_what_it_is_made_of_is_not_stored() -> None:
    half = RNG.normal(size=(8, 64)).astype(np.float16)
    nodes = [node("Cast", ["h"], "w", to=TensorProto.FLOAT), node("MatMul", ["x", "w"], "y")]
    with pytest.raises(NotApplicable, match="nothing is left"):
        FOLD.compress(hand_made(nodes, {"h": half}, {"x": ["A", 8]}, {"y": ["A", 64]}), context())


def test_a_tied_table_stays_stored_once() -> None:
    table = RNG.normal(size=(200, 8)).astype(np.float32)
    nodes = [node("Gather", ["t", "i"], "rows"), node("ReduceSum", ["rows", "one"], "user", keepdims=0), node("MatMul", ["user", "u"], "y")]
    model = hand_made(nodes, {"t": table, "u": table.T.copy(), "one": np.array([1])}, {"i": ["A", "L"]}, {"y": ["A", 200]})
    tied = replace(model, graph=tie_tables(model.graph or b""))
    assert "Transpose" in operators(tied)
    with pytest.raises(NotApplicable, match="nothing is left"):
        FOLD.compress(tied, context())


def test_equal_constants_and_equal_nodes_are_kept_once() -> None:
    bias = RNG.normal(size=8).astype(np.float32)
    nodes = [node("Add", ["x", "b1"], "a"), node("Add", ["x", "b2"], "b"), node("Relu", ["a"], "c"), node("Tanh", ["b"], "d")]
    model, small = folded([*nodes, node("Mul", ["c", "d"], "y")], {"b1": bias, "b2": bias.copy()}, {"y": ["A", 8]})
    assert sorted(operators(small)) == ["Add", "Mul", "Relu", "Tanh"]
    assert len(net_of(small).stored) == 1
    assert len(model.graph or b"") - len(small.graph or b"") >= bias.nbytes


def test_arithmetic_on_shapes_becomes_a_constant_or_one_size() -> None:
    nodes = [node("Shape", ["x"], "s"), node("Slice", ["s", "zero", "one"], "a"), node("Slice", ["s", "one", "two"], "b")]
    nodes += [node("Div", ["b", "two"], "half"), node("Concat", ["a", "half", "two"], "to", axis=0), node("Reshape", ["x", "to"], "y")]
    _, small = folded(nodes, {"zero": [0], "one": [1], "two": [2]}, {"y": ["A", 4, 2]})
    assert operators(small) == ["Reshape"]
    assert list(next(iter(net_of(small).stored.values())).dims) == [3]


def test_slices_side_by_side_are_one_slice() -> None:
    nodes = [node("Slice", ["x", f"k{a}", f"k{b}", "k1"], f"s{a}") for a, b in ((0, 2), (2, 5), (5, 7))]
    stored = {f"k{value}": [value] for value in (0, 1, 2, 5, 7)}
    _, small = folded([*nodes, node("Concat", ["s0", "s2", "x", "s5"], "y", axis=1)], stored, {"y": ["A", 15]})
    assert operators(small) == ["Slice", "Slice", "Concat"]


def test_slices_in_another_order_stay() -> None:
    nodes = [node("Slice", ["x", "k4", "k8", "k1"], "b"), node("Slice", ["x", "k0", "k4", "k1"], "a")]
    model = hand_made(
        [*nodes, node("Concat", ["b", "a"], "y", axis=1)], {f"k{n}": np.array([n]) for n in (0, 1, 4, 8)}, {"x": ["A", 8]}, {"y": ["A", 8]}
    )
    with pytest.raises(NotApplicable):
        FOLD.compress(model, context())


def test_a_mask_that_is_no_mask_multiplies_twice() -> None:
    nodes = [node("Greater", ["x", "half"], "above"), node("Cast", ["above"], "m", to=TensorProto.FLOAT)]
    twice = [node("Mul", ["x", "m"], "once"), node("Mul", ["once", "m"], "again"), node("Tanh", ["again"], "y")]
    _, small = folded([*nodes, *twice], {"half": np.float32(0.5)}, {"y": ["A", 8]})
    assert operators(small).count("Mul") == 1
    model = hand_made([node("Exp", ["x"], "m"), *twice], {}, {"x": ["A", 8]}, {"y": ["A", 8]})
    with pytest.raises(NotApplicable):
        FOLD.compress(model, context())


def test_item_vectors_stay_a_look_up_that_quantisers_find(kernel: Kernel) -> None:
    """MF's table is read by nothing else: stored as the output itself it would be out of their reach."""
    model, _, _ = exported(kernel, "zoo/mf")
    (maker,) = [entry for entry in tidied(net_of(model), model).nodes if ITEMS in entry.output]
    assert maker.op_type == "Gather"


@pytest.mark.parametrize(
    ("name", "fewer"),
    [
        ("zoo/sasrec", 26),
        ("zoo/dcnv2", 9),
        *(pytest.param(*one, marks=pytest.mark.slow) for one in (("zoo/gru4rec", 16), ("zoo/deepfm", 18), ("zoo/din", 14))),
    ],
)
def test_models_of_the_zoo_lose_nodes_and_no_bit(kernel: Kernel, name: str, fewer: int) -> None:
    model, _, sample = exported(kernel, name)
    small = rewritten(FOLD, model, context(sample=sample))
    assert len(operators(model)) - len(operators(small)) >= fewer
    assert len(small.graph or b"") < len(model.graph or b"")
    for rows in (1, 2, 19):
        given = feeds(net_of(model), model, rows, np.random.default_rng(rows))
        np.testing.assert_array_equal(answer(small, given), answer(model, given))
    with pytest.raises(NotApplicable, match="nothing is left"):
        FOLD.compress(small, context(sample=sample))


def test_the_one_index_of_an_axis_is_no_look_up() -> None:
    """Ids that a batch stacks as one column are taken out of it again."""
    nodes = [node("Unsqueeze", ["x", "one"], "column"), node("Gather", ["column", "zero"], "same", axis=1), node("Relu", ["same"], "y")]
    _, small = folded(nodes, {"one": np.array([1]), "zero": np.array(0)}, {"y": ["A", 8]})
    assert operators(small) == ["Relu"]
    nodes = [node("Relu", ["x"], "h"), node("Gather", ["h", "zero"], "first", axis=1), node("Gather", ["h", "zero"], "again", axis=1)]
    _, small = folded([*nodes, node("Add", ["first", "again"], "y")], {"zero": np.array(3)}, {"y": ["A"]})
    assert operators(small) == ["Relu", "Gather", "Add"], "one of eight columns stays a look-up"


@pytest.mark.parametrize("offset", [0.5, [0.5], [0.1, 0.2, 0.3, 0.4]], ids=["a number", "one number", "one a column"])
def test_a_constant_behind_a_product_is_its_offset(offset: Any) -> None:
    nodes = [node("Gemm", ["x", "w"], "p", transB=1, alpha=2.0), node("Add", ["p", "c"], "y")]
    stored = {"w": RNG.normal(size=(4, 8)).astype(np.float32), "c": np.array(offset, np.float32)}
    _, small = folded(nodes, stored, {"y": ["A", 4]})
    assert operators(small) == ["Gemm"]
    assert len(net_of(small).nodes[0].input) == 3


@pytest.mark.parametrize("case", ["an offset of its own", "read twice", "a column of rows"])
def test_products_whose_sum_is_another_stay(case: str) -> None:
    nodes = [node("Gemm", ["x", "w", "c"] if case == "an offset of its own" else ["x", "w"], "p")]
    nodes += [node("Add", ["p", "d" if case == "a column of rows" else "c"], "q")]
    nodes += [node("Add", ["q", "p"] if case == "read twice" else ["q", "q"], "y")]
    stored = {"w": RNG.normal(size=(8, 4)).astype(np.float32), "c": np.ones(4, np.float32), "d": np.ones((1, 4), np.float32)}
    used = {name: value for name, value in stored.items() if any(name in one.input for one in nodes)}
    model = hand_made(nodes, used, {"x": ["A", 8]}, {"y": ["A", 4]})
    with pytest.raises(NotApplicable, match="nothing is left"):
        FOLD.compress(model, context())


def test_where_a_processor_adds_an_offset_in_another_order_bags_are_counted_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is compared first is refused, what is compared next is not: the graph is folded without the offset."""
    nodes = [node("Mul", ["x", "x"], "a"), node("ReduceSum", ["a", "axes"], "b"), node("Squeeze", ["b", "axes"], "s")]
    nodes += [node("Unsqueeze", ["s", "axes"], "u"), node("Gemm", ["u", "w"], "p"), node("Add", ["p", "c"], "y")]
    stored = {"axes": np.array([1]), "w": np.ones((1, 4), np.float32), "c": np.full(4, 0.3, np.float32)}
    model, compared = hand_made(nodes, stored, {"x": ["A", 8]}, {"y": ["A", 4]}), list[list[str]]()

    def equal(before: Any, after: Any, *rest: Any, **options: Any) -> None:
        compared.append([entry.op_type for entry in after.nodes])
        if "Add" not in compared[-1]:
            raise NotApplicable("an answer changed")

    monkeypatch.setattr(fold, "check_equal", equal)
    assert "Add" in operators(FOLD.compress(model, context())) and "Add" not in compared[0]


@pytest.mark.parametrize(
    ("kind", "constant", "left"),
    [("Add", [0.0], 1), ("Sub", [0.0], 1), ("Mul", [1.0] * 8, 1), ("Div", 1.0, 1), ("Add", [0.5], 2), ("Mul", [1.0] * 7 + [2.0], 2)],
)
def test_what_adds_nothing_goes_even_before_an_answer(kind: str, constant: Any, left: int) -> None:
    nodes = [node("Relu", ["x"], "a"), node(kind, ["a", "c"], "b"), node("Neg", ["b"], "y"), node(kind, ["a", "c"], "z")]
    stored = {"c": np.array(constant, np.float32)}
    model = hand_made(nodes, stored, {"x": ["A", 8]}, {"y": ["A", 8], "z": ["A", 8]})
    net = tidied(net_of(model), model)
    assert [entry.op_type for entry in net.nodes].count(kind) == left  # one makes an answer of what another reads too
    small = replace(model, graph=bytes_of(net))
    np.testing.assert_array_equal(answer(small, {"x": RANDOM}), answer(model, {"x": RANDOM}))
    alone = hand_made([node("Relu", ["x"], "a"), node(kind, ["a", "c"], "y")], stored, {"x": ["A", 8]}, {"y": ["A", 8]})
    found = tidied(net_of(alone), alone)
    assert len(found.nodes) == left and found.nodes[-1].output[0] == "y"
    np.testing.assert_array_equal(answer(replace(alone, graph=bytes_of(found)), {"x": RANDOM}), answer(alone, {"x": RANDOM}))


def test_zeros_that_make_more_rows_of_one_stay() -> None:
    nodes = [node("ReduceSum", ["x", "axes"], "s"), node("Add", ["s", "c"], "y")]
    model = hand_made(nodes, {"axes": np.array([1]), "c": np.zeros(8, np.float32)}, {"x": ["A", 8]}, {"y": ["A", 8]})
    assert [entry.op_type for entry in tidied(net_of(model), model).nodes] == ["ReduceSum", "Add"]
    turned = hand_made([node("Sub", ["c", "x"], "y")], {"c": np.zeros(8, np.float32)}, {"x": ["A", 8]}, {"y": ["A", 8]})
    assert [entry.op_type for entry in tidied(net_of(turned), turned).nodes] == ["Sub"]


def test_a_reduction_drops_an_axis_that_goes_behind_work_on_single_numbers() -> None:
    nodes = [node("ReduceSum", ["x", "axes"], "s"), node("Sigmoid", ["s"], "p"), node("Mul", ["p", "four"], "m")]
    nodes += [node("Sub", ["one", "m"], "a"), node("Squeeze", ["a", "axes"], "y")]
    _, small = folded(nodes, {"axes": np.array([1]), "four": np.float32(4), "one": np.ones(1, np.float32)}, {"y": ["A"]})
    assert operators(small) == ["ReduceSum", "Sigmoid", "Mul", "Sub"]


@pytest.mark.parametrize("case", ["a constant of two axes", "read twice"])
def test_an_axis_stays_that_something_else_needs(case: str) -> None:
    nodes = [node("ReduceSum", ["x", "axes"], "s"), node("Add", ["s", "c"], "p"), node("Squeeze", ["p", "axes"], "q")]
    nodes += [node("MatMul", ["p", "w"], "m"), node("Neg", ["q"], "y")] if case == "read twice" else [node("Neg", ["q"], "y")]
    stored = {"axes": np.array([1]), "c": np.ones(1 if case == "read twice" else (1, 1), np.float32), "w": np.ones((1, 2), np.float32)}
    used = {name: value for name, value in stored.items() if any(name in one.input for one in nodes)}
    outputs = {"y": ["A"], "m": ["A", 2]} if case == "read twice" else {"y": ["A"]}
    model = hand_made(nodes, used, {"x": ["A", 8]}, outputs)
    small = replace(model, graph=bytes_of(tidied(net_of(model), model)))
    assert operators(small).count("Squeeze") == 1
    np.testing.assert_array_equal(answer(small, {"x": RANDOM}), answer(model, {"x": RANDOM}))
