"""Rows of masks: which graphs compute them alone, and that they are the rows that were read before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from onnx import helper

from autorec_kernel.kernel import Kernel
from autorec_kernel.records.model import CompressedModel
from autorec_rewrite.fold import Fold
from autorec_rewrite.last import LastPosition
from autorec_rewrite.net import bytes_of, net_of
from autorec_rewrite.tidy import tidied
from tests.unit.plugins.rewrite.rewrite_kit import answer, exported, hand_made, operators, rewritten

FOLD = Fold(Fold.Config())
STORED: dict[str, Any] = {
    "zero": np.array(0),
    "axis": np.array([1]),
    "one": np.array(1.0, np.float32),
    "nothing": np.array(0.0, np.float32),
    "lowest": np.array(-1e9, np.float32),
    "negative": np.array(-3),
    "last": np.array(1),
}


def node(kind: str, inputs: list[str], out: str, **options: Any) -> Any:
    return helper.make_node(kind, inputs, [out], **options)


def tidy(model: CompressedModel) -> CompressedModel:
    return replace(model, graph=bytes_of(tidied(net_of(model), model)))


def causal(upper: int, *, bound: str = "zero", again: bool = False) -> CompressedModel:
    """Return a graph that reads, for each history [A, L], the row of its last step in a mask [L, L] of -1e9 and 0."""
    nodes = [
        node("Equal", ["ids", "zero"], "padded"),
        node("Not", ["padded"], "real"),
        node("Cast", ["real"], "counted", to=7),
        node("ReduceSum", ["counted", "axis"], "count", keepdims=0),
        node("Sub", ["count", "last"], "place"),
        node("Clip", ["place", bound], "row"),
        node("Shape", ["ids"], "length", start=1, end=2),
        node("Concat", ["length", "length"], "sizes", axis=0),
        node("Expand", ["one", "sizes"], "ones"),
        node("Trilu", ["ones"], "triangle", upper=upper),
        node("Equal", ["triangle", "nothing"], "hidden"),
        node("Where", ["hidden", "lowest", "nothing"], "mask"),
        node("Gather", ["mask", "row"], "y" if not again else "read", axis=0),
    ]
    if again:
        nodes += [node("ReduceMin", ["mask"], "lower"), node("Add", ["read", "lower"], "y")]
    stored = {name: value for name, value in STORED.items() if any(name in one.input for one in nodes)}
    return hand_made(nodes, stored, {"ids": ["A", "L"]}, {"y": ["A", "L"]})


@pytest.mark.parametrize("upper", [0, 1])
def test_the_row_of_a_triangle_is_compared_column_by_column(upper: int) -> None:
    model = causal(upper)
    ids = np.array([[3, 4, 0, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]])
    small = tidy(model)
    assert {"Trilu", "Expand"} <= {*operators(model)} and not {"Trilu", "Expand"} & {*operators(small)}
    after, before = np.arange(5) > np.array([[1], [4], [0]]), np.arange(5) < np.array([[1], [4], [0]])
    np.testing.assert_array_equal(answer(small, {"ids": ids}), np.where(before if upper else after, np.float32(-1e9), 0))
    np.testing.assert_array_equal(answer(small, {"ids": ids}), answer(model, {"ids": ids}))


@pytest.mark.parametrize("model", [causal(0, bound="negative"), causal(0, again=True)], ids=["rows counted from the end", "read twice"])
def test_a_mask_stays_where_its_rows_may_be_others_or_more_of_it_is_read(model: CompressedModel) -> None:
    assert "Trilu" in operators(tidy(model))


def masked(*, mask: str = "real") -> CompressedModel:
    """Return a graph (x · m + p) · m; m is 1 where x is positive, or x itself."""
    nodes = [
        node("Greater", ["x", "nothing"], "positive"),
        node("Cast", ["positive"], "real", to=1),
        node("Mul", ["x", mask], "first"),
        node("Add", ["first", "p"], "moved"),
        node("Mul", ["moved", mask], "second"),
        node("Mul", ["second", "real"], "third"),
        node("Neg", ["third"], "y"),
    ]
    stored = {"nothing": STORED["nothing"], "p": np.linspace(-1, 1, 4, dtype=np.float32)}
    return hand_made(nodes, stored, {"x": ["A", 4]}, {"y": ["A", 4]})


def test_what_is_masked_again_behind_a_sum_is_masked_once() -> None:
    x = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    small = tidy(masked())
    assert operators(small).count("Mul") == 1
    np.testing.assert_array_equal(answer(small, {"x": x}), answer(masked(), {"x": x}))
    assert operators(tidy(masked(mask="x"))).count("Mul") == 3


def test_the_last_step_of_a_transformer_needs_no_mask_of_all_steps(kernel: Kernel) -> None:
    model, _, sample = exported(kernel, "zoo/sasrec", num_layers=1)
    small = rewritten(LastPosition(LastPosition.Config()), rewritten(FOLD, model))
    assert "Trilu" in operators(model) and "Trilu" not in operators(small)
    np.testing.assert_allclose(answer(small, sample), answer(model, sample), atol=1e-5)
