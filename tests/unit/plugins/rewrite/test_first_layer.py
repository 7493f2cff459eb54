"""`rewrite/first-layer`: the user's half from one row, products of constants, tables of products; and where none of it may happen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from onnx import helper

from autorec_kernel.contracts.deploy import NotApplicable, Target
from autorec_kernel.deploy.export import graph_spec
from autorec_kernel.kernel import Kernel
from autorec_kernel.records.features import Feature
from autorec_kernel.records.model import CompressedModel
from autorec_kernel.serving.graph import Graph
from autorec_kernel.serving.requests import stored_request
from autorec_kernel.serving.scorers import make_scorer
from autorec_kernel.testing.contracts import CompressorContract
from autorec_rewrite.check import work
from autorec_rewrite.first import FirstLayer
from autorec_rewrite.fold import Fold
from autorec_rewrite.net import bytes_of, net_of, with_nodes
from autorec_rewrite.probe import feeds, sizes_of, told_once
from tests.unit.plugins.rewrite.rewrite_kit import answer, context, exported, hand_made, operators, rewritten

FIRST = FirstLayer(FirstLayer.Config())
STORED = FirstLayer(FirstLayer.Config(tables=True))
HIDDEN, WIDE, ITEMS, USERS = 128, 64, 30, 20
RNG = np.random.default_rng(2)
WEIGHTS = {
    "table": RNG.normal(size=(USERS + ITEMS, WIDE)).astype(np.float32),
    "shift": np.array(USERS, np.int64),
    "first": (RNG.normal(size=(2 * WIDE + 12, HIDDEN)) / 10).astype(np.float32),
    "bias": RNG.normal(size=HIDDEN).astype(np.float32),
    "second": (RNG.normal(size=(HIDDEN, 1)) / 10).astype(np.float32),
    "widening": RNG.normal(size=(4, 12)).astype(np.float32),
}
FEATURES = (
    Feature("user_id", "id", "user", vocabulary="user", size=USERS),
    Feature("item_id", "id", "item", vocabulary="item", size=ITEMS),
    Feature("price", "numeric", "row", width=4),
)


def node(kind: str, inputs: list[str], out: str, **options: Any) -> Any:
    return helper.make_node(kind, inputs, [out], **options)


def ranker(more: tuple[Any, ...] = (), last: str = "made", **changed: np.ndarray) -> CompressedModel:
    """Return a perceptron on a user, an item and four embedded numbers."""
    nodes = [
        node("Gather", ["table", "user_id"], "of_user"),
        node("Add", ["item_id", "shift"], "place"),
        node("Gather", ["table", "place"], "of_item"),
        node("MatMul", ["price", "widening"], "numbers"),
        node("Concat", ["of_user", "of_item", "numbers"], "x", axis=1),
        node("Gemm", ["x", "first", "bias"], "hidden"),
        node("Relu", ["hidden"], "act"),
        node("Gemm", ["act", "second"], "made"),
        *more,
        node("Squeeze", [last], "rating"),
    ]
    inputs = {"user_id": ["A"], "item_id": ["A"], "price": ["A", 4]}
    return hand_made(nodes, {**WEIGHTS, **changed}, inputs, {"rating": ["A"]}, FEATURES)


def given(users: list[int], items: list[int], seed: int = 0) -> dict[str, np.ndarray]:
    price = np.random.default_rng(seed).normal(size=(len(items), 4)).astype(np.float32)
    return {"user_id": np.array(users), "item_id": np.array(items), "price": price}


def expected(inputs: dict[str, np.ndarray]) -> np.ndarray:
    table = WEIGHTS["table"].astype(np.float64)
    parts = [table[inputs["user_id"]], table[inputs["item_id"] + USERS], inputs["price"] @ WEIGHTS["widening"].astype(np.float64)]
    hidden = np.concatenate(parts, 1) @ WEIGHTS["first"] + WEIGHTS["bias"]
    return (np.maximum(hidden, 0) @ WEIGHTS["second"])[:, 0]  # type: ignore[no-any-return]


class TestFirstLayer(CompressorContract):
    component = FirstLayer


def test_users_are_multiplied_once_items_are_looked_up_and_constants_are_multiplied_ahead() -> None:
    found = rewritten(STORED, ranker())
    inputs = given([3, 5, 3], [1, 29, 0])
    np.testing.assert_allclose(answer(found, inputs), expected(inputs), atol=1e-5)
    net = net_of(found)
    sizes = {tuple(tensor.dims) for tensor in net.stored.values()}
    assert (ITEMS, HIDDEN) in sizes  # products of the items' rows of the table with their part of the weights
    assert (4, HIDDEN) in sizes  # numbers: twelve columns became four
    assert (2 * WIDE + 12, HIDDEN) not in sizes
    assert told_once(net) == ["user_id"]
    one = given([7], [1, 2, 3, 4], 1)
    shapes = sizes_of(net, one)
    products = sorted(shapes[entry.output[0]] for entry in net.nodes if entry.op_type == "Gemm")
    assert products == [(1, HIDDEN), (4, 1), (4, HIDDEN)]
    whole = {**one, "user_id": np.full(4, 7)}
    np.testing.assert_allclose(answer(found, one), expected(whole), atol=1e-5)


def test_numbers_that_scale_a_vector_each_are_multiplied_as_numbers() -> None:
    """x[a, n] · v[n, e] laid flat, times W: the constants make one matrix [n, H]."""
    vectors, offset = RNG.normal(size=(4, 32)).astype(np.float32), RNG.normal(size=(4, 32)).astype(np.float32)
    wide = (RNG.normal(size=(WIDE + 128, HIDDEN)) / 10).astype(np.float32)
    nodes = [
        node("Gather", ["table", "user_id"], "of_user"),
        node("Unsqueeze", ["price", "last"], "column"),
        node("Mul", ["column", "vectors"], "scaled"),
        node("Add", ["scaled", "offset"], "moved"),
        node("Reshape", ["moved", "flat"], "numbers"),
        node("Concat", ["of_user", "numbers"], "x", axis=1),
        node("Gemm", ["x", "wide", "bias"], "hidden"),
        node("Relu", ["hidden"], "act"),
        node("Gemm", ["act", "second"], "made"),
        node("Squeeze", ["made"], "rating"),
    ]
    stored = {name: WEIGHTS[name] for name in ("table", "bias", "second")}
    stored |= {"vectors": vectors, "offset": offset, "wide": wide, "last": np.array([-1]), "flat": np.array([-1, 128])}
    features = [feature for feature in FEATURES if feature.name != "item_id"]
    model = hand_made(nodes, stored, {"user_id": ["A"], "price": ["A", 4]}, {"rating": ["A"]}, features)
    found = rewritten(FIRST, model)
    inputs = {"user_id": np.array([3, 5, 0]), "price": given([1], [1, 2, 3])["price"]}
    laid = (inputs["price"][:, :, None] * vectors.astype(np.float64) + offset).reshape(3, -1)
    hidden = np.concatenate([WEIGHTS["table"].astype(np.float64)[inputs["user_id"]], laid], 1) @ wide + WEIGHTS["bias"]
    np.testing.assert_allclose(answer(found, inputs), (np.maximum(hidden, 0) @ WEIGHTS["second"])[:, 0], atol=1e-5)
    sizes = {tuple(tensor.dims) for tensor in net_of(found).stored.values()}
    assert {(4, HIDDEN), (WIDE, HIDDEN)} <= sizes
    assert (4, 32) not in sizes


def test_ids_of_several_widths_are_looked_up_or_multiplied_each_by_its_own() -> None:
    """A user, an item and a shop of width 64, and an hour of width 8."""
    shops, hours = RNG.normal(size=(9, WIDE)).astype(np.float32), RNG.normal(size=(24, 8)).astype(np.float32)
    wide = (RNG.normal(size=(3 * WIDE + 8, HIDDEN)) / 10).astype(np.float32)
    nodes = [
        node("Gather", ["table", "user_id"], "of_user"),
        node("Add", ["item_id", "shift"], "place"),
        node("Gather", ["table", "place"], "of_item"),
        node("Gather", ["shops", "shop"], "of_shop"),
        node("Gather", ["hours", "hour"], "of_hour"),
        node("Concat", ["of_item", "of_hour", "of_user", "of_shop"], "x", axis=1),
        node("Gemm", ["x", "wide", "bias"], "hidden"),
        node("Relu", ["hidden"], "act"),
        node("Gemm", ["act", "second"], "made"),
        node("Squeeze", ["made"], "rating"),
    ]
    stored = {name: WEIGHTS[name] for name in ("table", "bias", "second", "shift")} | {"shops": shops, "hours": hours, "wide": wide}
    more = [Feature("shop", "id", "row", vocabulary="shop", size=9), Feature("hour", "id", "row", vocabulary="hour", size=24)]
    inputs = {name: np.array(ids) for name, ids in (("user_id", [3, 0]), ("item_id", [7, 9]), ("shop", [8, 1]), ("hour", [0, 23]))}
    model = hand_made(nodes, stored, {name: ["A"] for name in inputs}, {"rating": ["A"]}, [*FEATURES[:2], *more])
    found = rewritten(STORED, model)
    table = WEIGHTS["table"]
    parts = [table[inputs["item_id"] + USERS], hours[inputs["hour"]], table[inputs["user_id"]], shops[inputs["shop"]]]
    hidden = np.concatenate(parts, 1).astype(np.float64) @ wide + WEIGHTS["bias"]
    np.testing.assert_allclose(answer(found, inputs), (np.maximum(hidden, 0) @ WEIGHTS["second"])[:, 0], atol=1e-5)
    sizes = {tuple(tensor.dims) for tensor in net_of(found).stored.values()}
    assert {(ITEMS, HIDDEN), (9, HIDDEN), (8, HIDDEN), (WIDE, HIDDEN)} <= sizes


def test_an_embedding_that_something_else_reads_stays_beside_its_products() -> None:
    crossed = (
        node("Mul", ["of_user", "of_item"], "pair"),
        node("ReduceSum", ["pair", "one"], "inner"),
        node("Add", ["made", "inner"], "both"),
    )
    found = rewritten(STORED, ranker(crossed, "both", one=np.array([1])))
    inputs = given([3, 5], [1, 29])
    table = WEIGHTS["table"].astype(np.float64)
    inner = (table[inputs["user_id"]] * table[inputs["item_id"] + USERS]).sum(1)
    np.testing.assert_allclose(answer(found, inputs), expected(inputs) + inner, atol=2e-5)
    assert {(ITEMS, HIDDEN), (USERS + ITEMS, WIDE)} <= {tuple(tensor.dims) for tensor in net_of(found).stored.values()}
    whole = given([4], [1, 2, 3])
    np.testing.assert_allclose(
        answer(found, whole), answer(ranker(crossed, "both", one=np.array([1])), {**whole, "user_id": np.full(3, 4)}), atol=1e-5
    )


def test_products_are_stored_where_they_are_asked_for_wide_enough_and_within_the_limit() -> None:
    start = ranker()
    plain = FIRST.compress(start, context())
    assert (ITEMS, HIDDEN) not in {tuple(tensor.dims) for tensor in net_of(plain).stored.values()}
    assert len(plain.graph or b"") < len(start.graph or b"") + 100
    assert list(FIRST.propose(start, context().target)) == [FIRST.config, STORED.config]
    with pytest.raises(NotApplicable, match="no embedding of width 65"):
        FirstLayer(FirstLayer.Config(tables=True, narrowest=WIDE + 1)).compress(start, context())
    with pytest.raises(NotApplicable, match="fit nowhere"):
        STORED.compress(start, context(Target("small", max_bytes=len(start.graph or b"") + 100)))


def test_pieces_behind_a_function_are_not_looked_through() -> None:
    """tanh(concat(user, item, numbers)) · W: the layer has one piece, which is not the user's."""
    start = ranker()
    graph = net_of(start)
    (mixed,) = [entry.output[0] for entry in graph.nodes if entry.op_type == "Concat"]
    nodes = [type(entry).FromString(entry.SerializeToString()) for entry in graph.nodes]
    for entry in nodes:
        entry.input[:] = ["bent" if name == mixed else name for name in entry.input]
    bent = replace(start, graph=bytes_of(with_nodes(graph, [*nodes, node("Tanh", [mixed], "bent")])))
    with pytest.raises(NotApplicable, match="less work"):
        FIRST.compress(bent, context())


@pytest.mark.parametrize("depends", ["item", "row", "pair"])
def test_inputs_that_change_with_the_candidate_are_not_told_once(depends: Any) -> None:
    start = ranker()
    others = tuple(replace(feature, depends=depends) if feature.name == "user_id" else feature for feature in FEATURES)
    model = replace(start, model=replace(start.model, features=replace(start.model.features, features=others)))
    assert list(FIRST.propose(model, context().target)) == []
    with pytest.raises(NotApplicable, match="no input is the user's alone"):
        FIRST.compress(model, context())


def test_a_later_fold_keeps_the_rows_of_the_user_apart(kernel: Kernel) -> None:
    """Users and candidates have as many rows in every probe: a size of the one is not taken for a size of the other."""
    model, _, sample = exported(kernel, "zoo/dcnv2")
    found = FIRST.compress(model, context(sample=sample))
    net = net_of(found)
    nodes = [type(entry).FromString(entry.SerializeToString()) for entry in net.nodes]
    for entry in nodes:
        entry.input[:] = ["same" if name == "price" else name for name in entry.input]
    more = [node("Unsqueeze", ["price", "front"], "up"), node("Squeeze", ["up", "front"], "same")]
    longer = replace(found, graph=bytes_of(with_nodes(net, [*nodes, *more], {"front": np.array([0])})))
    folded = rewritten(Fold(Fold.Config()), longer, context(sample=sample))
    assert "Shape" in operators(folded)
    assert told_once(net_of(folded)) == told_once(net)
    whole = feeds(net, found, 5, np.random.default_rng(0))
    one = {name: value[:1] if name in told_once(net) else value for name, value in whole.items()}
    np.testing.assert_array_equal(answer(folded, one), answer(found, one))


MODELS = {  # blueprint → largest share of the work for a hundred candidates of one user that is left
    "zoo/dcnv2": 0.97,
    "zoo/deepfm": 0.65,
    "zoo/edcn": 0.85,
    "zoo/autoint": 0.80,
    "zoo/pnn": 0.75,
    "zoo/widedeep": 0.95,
    "zoo/xdeepfm": 0.97,
}
QUICK = {"zoo/deepfm", "zoo/dcnv2"}


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK)) for name in MODELS])
def test_rankers_of_the_zoo_do_less_for_many_candidates_of_one_user(kernel: Kernel, name: str) -> None:
    model, features, sample = exported(kernel, name)
    found = rewritten(FIRST, model, context(sample=sample))
    before, after = net_of(model), net_of(found)
    single = told_once(after)
    assert "user_id" in single and "item_id" not in single
    whole = feeds(before, model, 100, np.random.default_rng(0))
    one = {name: value[:1] if name in single else value for name, value in whole.items()}
    many = {name: np.repeat(value, 100, 0) if name in single else value for name, value in one.items()}
    assert work(after, one) <= MODELS[name] * work(before, many)
    for given_once, told in ((one, many), (whole, whole)):
        np.testing.assert_allclose(answer(found, given_once), answer(model, told), rtol=1e-5, atol=1e-5)
    spec = graph_spec(model.model.module)
    scorers = [make_scorer(Graph(one.graph or b"", spec), features.state(), None) for one in (model, found)]
    requests = [stored_request(features.state(), user) for user in (1, 4)]
    np.testing.assert_allclose(scorers[1].catalogue(requests), scorers[0].catalogue(requests), rtol=1e-5, atol=1e-5)
    assert scorers[0].graph.once == set()
    assert scorers[1].graph.once == set(single)


@pytest.mark.parametrize("name", ["zoo/sasrec", "zoo/mf", "zoo/fm", "zoo/lr", "baselines/bias"])
def test_retrievers_and_models_without_a_wide_first_layer_are_left_alone(kernel: Kernel, name: str) -> None:
    model, _, sample = exported(kernel, name)
    with pytest.raises(NotApplicable):
        FIRST.compress(model, context(sample=sample))


def test_a_folded_graph_is_rewritten_alike(kernel: Kernel) -> None:
    model, _, sample = exported(kernel, "zoo/deepfm")
    folded = Fold(Fold.Config()).compress(model, context(sample=sample))
    assert operators(FIRST.compress(folded, context(sample=sample))) == operators(FIRST.compress(model, context(sample=sample)))
