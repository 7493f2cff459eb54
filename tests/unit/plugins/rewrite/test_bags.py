"""`rewrite/fold` on bags and joined fields: the table counts, the answers stay bit for bit, and what must be left alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from autorec_kernel.contracts.deploy import NotApplicable
from autorec_kernel.records.features import Feature
from autorec_kernel.records.model import CompressedModel
from autorec_kernel.serving.graph import PACKED
from autorec_rewrite.fold import Fold
from autorec_rewrite.joins import flattened, nested
from autorec_rewrite.net import bytes_of, net_of
from autorec_rewrite.pack import PackedInputs
from autorec_rewrite.probe import probed, run
from autorec_rewrite.tidy import applied
from tests.unit.plugins.rewrite.rewrite_kit import answer, context, hand_made, operators, rewritten

FOLD = Fold(Fold.Config())
RNG = np.random.default_rng(4)
IDS = np.array([[3, 1, 0], [0, 0, 0], [2, 2, 4]], np.int64)
GENRES = Feature("genres", "bag", "item", vocabulary="items.genres", size=5)


def node(kind: str, inputs: list[str], out: str, **options: Any) -> Any:
    return helper.make_node(kind, inputs, [out], **options)


def bag(
    rows: int = 12, *, size: int = 5, mean: bool = True, padding: int = 0, more: tuple[Any, ...] = (), each: Any = None
) -> CompressedModel:
    """Return the masked mean or sum of rows of a table that others' rows stand in too."""
    nodes = [node("Add", ["genres", "first"], "place"), node("Gather", ["table", "place"], "rows")]
    nodes += [
        node("Equal", ["genres", "padding"], "empty"),
        node("Not", ["empty"], "real"),
        node("Cast", ["real"], "ones", to=TensorProto.FLOAT),
    ]
    nodes += [node("Unsqueeze", ["ones", "last"], "mask"), node("Mul", ["rows", "mask"], "masked")]
    nodes += [node("ReduceSum", ["masked", "one"], "total", keepdims=0)]
    if mean:
        nodes += [node("ReduceSum", ["mask", "one"], "count", keepdims=0), node("Clip", ["count", "least"], "some")]
    nodes += [node("Div", ["total", "some"], "y") if mean else node("Identity", ["total"], "y"), *more]
    stored = {"table": RNG.normal(size=(rows, 4)).astype(np.float32), "first": np.array(6), "padding": np.array(padding)}
    stored |= {"last": np.array([-1]), "one": np.array([1]), "least": np.float32(1)}
    outputs = {"y": ["A", 4], **({more[-1].output[0]: each or ["A", "W", 4]} if more else {})}
    return hand_made(nodes, stored, {"genres": ["A", "W"]}, outputs, [replace(GENRES, size=size)])


def floats(model: CompressedModel) -> list[np.ndarray]:
    """Return the tables of a graph."""
    net = net_of(model)
    return [value for name in net.stored if (value := net.array(name)) is not None and value.dtype == np.float32 and value.ndim == 2]


@pytest.mark.parametrize(
    ("mean", "left"), [(True, ["Gather", "ReduceSum", "Split", "Clip", "Div"]), (False, ["Gather", "ReduceSum", "Identity"])]
)
def test_a_small_bag_counts_itself(mean: bool, left: list[str]) -> None:
    model = bag(mean=mean)
    small = rewritten(FOLD, model)
    assert operators(small) == left
    np.testing.assert_array_equal(answer(small, {"genres": IDS}), answer(model, {"genres": IDS}))
    (table,) = floats(small)
    (whole,) = floats(model)
    np.testing.assert_array_equal(table[1:, :4], whole[7:11])
    assert table.shape == (5, 4 + mean)
    assert not table[0].any()


def test_a_table_may_take_more_bytes_than_the_masks_did() -> None:
    model = bag(rows=70, size=60, more=(node("Gather", ["table", "genres"], "each"),))  # the other rows are read too
    small = FOLD.compress(model, context())
    assert len(small.graph or b"") > len(model.graph or b"") and len(operators(small)) == 6


def test_a_node_with_an_unread_output_stays_beside_a_sum() -> None:
    weights = [numpy_helper.from_array(RNG.normal(size=size).astype(np.float32)) for size in ((1, 6, 4), (1, 6, 2))]
    more = [node("Constant", [], name, value=value) for name, value in zip("wr", weights, strict=True)]
    more += [
        node("Constant", [], "first axis", value=numpy_helper.from_array(np.array([0]))),
        node("Unsqueeze", ["total", "first axis"], "step"),
    ]
    more += [helper.make_node("GRU", ["step", "w", "r"], ["", "state"], hidden_size=2), node("Squeeze", ["state", "first axis"], "each")]
    model = bag(mean=False, more=tuple(more), each=["A", 2])
    small = rewritten(FOLD, model)
    assert operators(small) == ["Gather", "ReduceSum", "Identity", "Unsqueeze", "GRU", "Squeeze"]
    before, after = (run(one.graph or b"", {"genres": IDS}) for one in (model, small))
    assert all(np.array_equal(value, after[name]) for name, value in before.items()) and len(before) == 2


@pytest.mark.parametrize(
    "changed",
    [
        {"padding": 2},
        {"rows": 310, "size": 300},  # quantisation makes such a table smaller, and would spoil its counts
        {"more": (helper.make_node("Identity", ["masked"], ["each"]),)},
    ],
    ids=["another id is masked", "large", "others read the rows"],
)
def test_what_is_no_small_bag_stays(changed: dict[str, Any]) -> None:
    with pytest.raises(NotApplicable, match="nothing is left"):
        FOLD.compress(bag(**changed), context())


def test_an_id_that_is_masked_is_no_bag() -> None:
    nodes = [node("Gather", ["table", "genres"], "rows"), node("Equal", ["genres", "zero"], "empty"), node("Not", ["empty"], "real")]
    nodes += [node("Cast", ["real"], "ones", to=TensorProto.FLOAT), node("Unsqueeze", ["ones", "last"], "mask")]
    nodes += [node("Mul", ["rows", "mask"], "masked"), node("ReduceSum", ["masked", "one"], "y", keepdims=0)]
    stored = {"table": RNG.normal(size=(5, 4)).astype(np.float32), "zero": np.array(0), "last": np.array([-1]), "one": np.array([1])}
    with pytest.raises(NotApplicable, match="nothing is left"):
        FOLD.compress(hand_made(nodes, stored, {"genres": ["A"]}, {"y": ["A"]}, [replace(GENRES, kind="id")]), context())


def fields(flat: int = 12) -> CompressedModel:
    """Return two ids and a bag that are looked up, listed, flattened and joined with numbers."""
    nodes = [node("Unsqueeze", [name, "one"], f"{name}1") for name in "ab"] + [node("Concat", ["a1", "b1"], "ids", axis=1)]
    nodes += [node("Gather", ["table", "ids"], "rows"), node("Gather", ["table", "genres"], "each")]
    nodes += [node("ReduceSum", ["each", "one"], "sum", keepdims=0), node("Unsqueeze", ["sum", "one"], "listed")]
    nodes += [node("Slice", ["rows", "zero", "one", "one"], "left"), node("Slice", ["rows", "one", "two", "one"], "right")]
    nodes += [node("Concat", ["left", "listed", "right"], "fields", axis=1), node("Reshape", ["fields", "sizes"], "flat")]
    nodes += [node("Concat", ["flat", "price", "age"], "y", axis=1)] if flat == 12 else [node("Identity", ["flat"], "y")]
    numbers = {"zero": [0], "one": [1], "two": [2], "sizes": [-1, flat]}
    stored = {"table": RNG.normal(size=(5, 4)).astype(np.float32), **{name: np.array(value) for name, value in numbers.items()}}
    given: dict[str, Any] = {"a": ["A"], "b": ["A"], "genres": ["A", "W"], "price": ["A", 1], "age": ["A", 1]}
    ids = [Feature(name, "id", "item", vocabulary=name, size=5) for name in ("a", "b")]
    floats = [Feature(name, "numeric", "row", width=1) for name in ("price", "age")]
    return hand_made(nodes, stored, given, {"y": ["A", 14 if flat == 12 else flat]}, [*ids, GENRES, *floats])


def flat(model: CompressedModel) -> CompressedModel:
    net = net_of(model)
    for move in (flattened, nested):
        net = applied(net, probed(net, model), move)
    return replace(model, graph=bytes_of(net))


def test_fields_are_joined_as_rows_beside_the_numbers() -> None:
    model = fields()
    found = flat(model)
    assert operators(found).count("Concat") == 2  # of the ids, and of everything
    assert not {"Unsqueeze"} & set(operators(found)[operators(found).index("Gather") :])
    inputs = {"a": np.array([1, 4, 0]), "b": np.array([2, 0, 3]), "genres": IDS, "price": RNG.normal(size=(3, 1)).astype(np.float32)}
    inputs["age"] = 2 * inputs["price"]
    np.testing.assert_array_equal(answer(found, inputs), answer(model, inputs))


def test_a_list_beside_a_field_is_flattened_whole() -> None:
    nodes = [node("Unsqueeze", ["a", "one"], "a1"), node("Unsqueeze", ["b", "one"], "b1")]
    nodes += [node("Concat", ["a1", "b1"], "ids", axis=1), node("Gather", ["table", "ids"], "rows")]
    nodes += [node("Gather", ["table", "genres"], "bag"), node("ReduceSum", ["bag", "one"], "summed", keepdims=0)]
    nodes += [node("Unsqueeze", ["summed", "one"], "listed"), node("Concat", ["rows", "listed"], "fields", axis=1)]
    nodes += [node("Reshape", ["fields", "sizes"], "flat"), node("Concat", ["flat", "price"], "y", axis=1)]
    stored = {"table": RNG.normal(size=(5, 4)).astype(np.float32), "one": np.array([1]), "sizes": np.array([-1, 12])}
    given: dict[str, Any] = {"a": ["A"], "b": ["A"], "genres": ["A", "W"], "price": ["A", 1]}
    ids = [Feature(name, "id", "item", vocabulary=name, size=5) for name in ("a", "b")]
    model = hand_made(nodes, stored, given, {"y": ["A", 13]}, [*ids, GENRES, Feature("price", "numeric", "row", width=1)])
    found = flat(model)
    assert operators(found).count("Concat") == 2 and operators(found).count("Unsqueeze") == 2  # those of the ids are left
    inputs = {"a": np.array([1, 4, 0]), "b": np.array([2, 0, 3]), "genres": IDS, "price": RNG.normal(size=(3, 1)).astype(np.float32)}
    np.testing.assert_array_equal(answer(found, inputs), answer(model, inputs))


def test_fields_that_are_not_flattened_row_by_row_stay_a_list() -> None:
    model = fields(flat=4)
    assert sorted(operators(flat(model))) == sorted(operators(model))


def packed(model: CompressedModel, *inputs: str) -> list[str]:
    """Return the operators of the packed model, whose answers `compress` compares."""
    model.model.module.inputs, model.model.module.serving_outputs = inputs, ("y",)
    return operators(PackedInputs(PackedInputs.Config()).compress(model, context()))


def test_packing_joins_fields_as_rows() -> None:
    left = packed(fields(), "a", "b", "genres", "price", "age")
    assert left.count("Concat") == 1 and "Unsqueeze" not in left


def doubled(start: int = 0) -> CompressedModel:
    """Return a field that is listed twice, or a slice of a list beside it, flattened and joined with two numbers."""
    nodes = [node("Gather", ["table", "genres"], "each"), node("ReduceSum", ["each", "one"], "sum", keepdims=0)]
    nodes += [node("Unsqueeze", ["sum", "one"], "listed"), node("Gather", ["table", "two"], "rows")]
    nodes += [node("Unsqueeze", ["sum", "one"], "again"), node("Concat", ["listed", "again"], "list", axis=1)]
    nodes += [
        node("Slice", ["list", "start", "end", "one"], "cut"),
        node("Concat", ["listed", "cut" if start else "again"], "fields", axis=1),
    ]
    nodes += [node("Reshape", ["fields", "sizes"], "flat"), node("Concat", ["flat", "price", "age"], "y", axis=1)]
    width = 12 if start else 8
    numbers = {"one": [1], "two": [1, 2], "start": [start], "end": [9], "sizes": [-1, width]}
    stored = {"table": RNG.normal(size=(5, 4)).astype(np.float32), **{name: np.array(value) for name, value in numbers.items()}}
    floats = [Feature(name, "numeric", "row", width=1) for name in ("price", "age")]
    given: dict[str, Any] = {"genres": ["A", "W"], "price": ["A", 1], "age": ["A", 1]}
    used = [entry for entry in nodes if entry.output[0] != "rows" and (start or entry.output[0] != "cut")]
    return hand_made(used, stored, given, {"y": ["A", width + 2]}, [GENRES, *floats])


@pytest.mark.parametrize("start", [0, -6, -(2**63)], ids=["twice", "before the list", "far before"])
def test_numbers_are_packed_whatever_stands_beside_them(start: int) -> None:
    model = doubled(start)
    model.model.module.inputs, model.model.module.serving_outputs = ("genres", "price", "age"), ("y",)
    found = PackedInputs(PackedInputs.Config()).compress(model, context())
    assert net_of(found).inputs == ["genres", PACKED.join(("price", "age"))]
