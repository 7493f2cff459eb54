"""`rewrite/last-position`: which rows are computed, where it must not apply, and that answers stay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper

import autorec_rewrite.rows
from autorec_kernel.contracts.deploy import NotApplicable
from autorec_kernel.deploy.export import export_onnx
from autorec_kernel.kernel import Kernel
from autorec_kernel.records.model import CompressedModel
from autorec_kernel.testing.contracts import CompressorContract
from autorec_rewrite.check import work
from autorec_rewrite.last import LastPosition
from autorec_rewrite.net import net_of
from autorec_rewrite.probe import feeds, sizes_of
from tests.unit.plugins.rewrite.rewrite_kit import answer, context, exported, hand_made, rewritten

LAST = LastPosition(LastPosition.Config())
WIDTH, ITEMS = 8, 20
RNG = np.random.default_rng(1)
WEIGHTS: dict[str, np.ndarray] = {
    "table": RNG.normal(size=(ITEMS, WIDTH)).astype(np.float32),
    **{name: RNG.normal(size=(WIDTH, WIDTH)).astype(np.float32) / 3 for name in ("wq", "wk", "wv", "wo")},
    "bias": RNG.normal(size=WIDTH).astype(np.float32),
    "scale": np.ones(WIDTH, np.float32),
    "zero": np.array(0, np.int64),
    "one": np.array([1], np.int64),
    "last": np.array([-1], np.int64),
    "end": np.array([2**62], np.int64),
    "negative": np.array(-1, np.int64),
    "lowest": np.array(-1e9, np.float32),
    "low": np.array(-2.0, np.float32),
    "nothing": np.array(0.0, np.float32),
    "places": np.array([1, 2], np.int64),
    "wide": np.array([1, 1, WIDTH], np.int64),
    "first": np.array(1, np.int64),
}


def node(kind: str, inputs: list[str], out: str, **options: Any) -> Any:
    return helper.make_node(kind, inputs, [out], **options)


def attention(left: bool) -> list[Any]:
    """Return the nodes of one layer of self-attention with a norm and a layer behind it: ids [A, L] to states [A, L, 8]."""
    return [
        node("Gather", ["table", "ids"], "x"),
        node("MatMul", ["x", "wq"], "q"),
        node("MatMul", ["x", "wk"], "k"),
        node("MatMul", ["x", "wv"], "v"),
        node("Transpose", ["k"], "kt", perm=[0, 2, 1]),
        node("MatMul", ["q", "kt"], "scores"),
        node("Equal", ["ids", "zero"], "padded"),
        node("Unsqueeze", ["padded", "one"], "hidden"),
        node("Where", ["hidden", "lowest", "scores"], "masked"),
        node("Softmax", ["masked"], "weights", axis=-1),
        node("MatMul", ["weights", "v"], "mixed"),
        node("Add", ["x", "mixed"], "kept"),
        node("LayerNormalization", ["kept", "scale"], "normed"),
        node("MatMul", ["normed", "wo"], "out"),
        node("Gelu", ["out"], "states"),
    ]


def variable(states: str = "states") -> list[Any]:
    """Return the nodes that keep the last real step of histories with padding on the right: user [A, 8]."""
    return [
        node("Not", ["padded"], "real"),
        node("Cast", ["real"], "ones", to=TensorProto.INT64),
        node("ReduceSum", ["ones", "one"], "count", keepdims=0),
        node("Sub", ["count", "first"], "before"),
        node("Clip", ["before", "zero"], "place"),
        node("Unsqueeze", ["place", "places"], "index"),
        node("Expand", ["index", "wide"], "spread"),
        node("GatherElements", [states, "spread"], "step", axis=1),
        node("Gather", ["step", "zero"], "user", axis=1),
    ]


def sliced(states: str = "states") -> list[Any]:
    return [node("Slice", [states, "last", "end", "one"], "step"), node("Squeeze", ["step", "one"], "user")]


def gathered(states: str = "states") -> list[Any]:
    return [node("Gather", [states, "negative"], "user", axis=1)]


def model_of(nodes: list[Any], outputs: dict[str, Any] | None = None) -> CompressedModel:
    outputs = outputs or {"user": ["A", WIDTH]}
    used = {name for entry in nodes for name in entry.input}
    return hand_made(nodes, {name: value for name, value in WEIGHTS.items() if name in used}, {"ids": ["A", "L"]}, outputs)


def expected(ids: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Return what the layer answers at one place of each row, in float64."""
    x = WEIGHTS["table"].astype(np.float64)[ids]
    rows = np.arange(len(ids))
    scores = np.einsum("ad,ald->al", x[rows, place] @ WEIGHTS["wq"], x @ WEIGHTS["wk"])
    weights = np.exp(np.where(ids == 0, -1e9, scores) - np.where(ids == 0, -1e9, scores).max(1, keepdims=True))
    mixed = np.einsum("al,ald->ad", weights / weights.sum(1, keepdims=True), x @ WEIGHTS["wv"]) + x[rows, place]
    normed = (mixed - mixed.mean(1, keepdims=True)) / np.sqrt(mixed.var(1, keepdims=True) + 1e-5)
    out = normed @ WEIGHTS["wo"]
    return out * 0.5 * (1 + np.vectorize(__import__("math").erf)(out / np.sqrt(2)))  # type: ignore[no-any-return]


def matrices(model: CompressedModel, rows: int, steps: int) -> list[tuple[int, ...]]:
    """Return the shapes that products answer."""
    net = net_of(model)
    ids = np.ones((rows, steps), np.int64)
    sizes = sizes_of(net, {"ids": ids})
    return sorted(sizes[entry.output[0]] for entry in net.nodes if entry.op_type == "MatMul")


class TestLastPosition(CompressorContract):
    component = LastPosition


@pytest.mark.parametrize(
    ("kind", "mask", "offsets", "sums"), [("Softmax", "lowest", 0, 0), ("Softmax", "low", 1, 0), ("Sigmoid", "lowest", 1, 1)]
)
def test_what_moves_all_scores_of_a_softmax_alike_is_not_computed_and_its_shares_are_not_added_up(
    kind: str, mask: str, offsets: int, sums: int
) -> None:
    """An offset of keys adds the same to every score of a query; one of values is weighed with 1 in sum: not so behind a sigmoid.

    Nor does it move a score that a mask sets to a number that counts.
    """
    nodes = []
    for entry in attention(True):
        if entry.op_type == "Where":
            nodes.append(node("Where", ["hidden", mask, "scores"], "masked"))
        elif entry.op_type == "Softmax":
            nodes.append(node("Add", ["masked", "nothing"], "scored"))
            nodes.append(node(kind, ["scored"], "weights"))
        elif entry.output[0] in "kv":
            nodes += [
                node("MatMul", list(entry.input), f"{entry.output[0]}0"),
                node("Add", [f"{entry.output[0]}0", "bias"], entry.output[0]),
            ]
        else:
            nodes.append(entry)
    model = model_of([*nodes, *gathered()])
    found = rewritten(LAST, model)
    kinds = [entry.op_type for entry in net_of(found).nodes]
    assert kinds.count("ReduceSum") == sums
    assert kinds.count("MatMul") == 6 + offsets  # query, query x keys, scores, mixed states, x values, what follows; offset of the keys
    ids = np.random.default_rng(3).integers(1, ITEMS, (6, 9))
    ids[2, 4:] = 0
    np.testing.assert_allclose(answer(found, {"ids": ids}), answer(model, {"ids": ids}), atol=1e-5)


@pytest.mark.parametrize("keep", [variable, sliced, gathered])
def test_queries_attention_and_what_follows_are_left_for_one_step(keep: Callable[..., list[Any]]) -> None:
    model = model_of([*attention(keep is not variable), *keep()])
    found = rewritten(LAST, model)
    ids = np.random.default_rng(3).integers(1, ITEMS, (6, 9))
    place = np.full(6, 8)
    if keep is variable:
        place = np.array([8, 0, 3, 5, 7, 1])
        ids = np.where(np.arange(9) <= place[:, None], ids, 0)
    np.testing.assert_allclose(answer(found, {"ids": ids}), expected(ids, place), atol=2e-6)
    full, one = (6, 9, WIDTH), (6, 1, WIDTH)
    assert matrices(model, 6, 9) == sorted([full] * 5 + [(6, 9, 9)])
    assert matrices(found, 6, 9) == sorted([one] * 5 + [(6, 1, 9)])  # a single query reads states: there are no keys and values


def test_keys_and_values_that_are_no_plain_products_stay_whole() -> None:
    nodes = [entry for entry in attention(False) if entry.output[0] not in ("k", "v")]
    nodes[2:2] = [
        node("MatMul", ["x", "wk"], "k.raw"),
        node("Tanh", ["k.raw"], "k"),
        node("MatMul", ["x", "wv"], "v.raw"),
        node("Tanh", ["v.raw"], "v"),
    ]
    model = model_of([*nodes, *variable()])
    found = rewritten(LAST, model)
    full, one = (6, 9, WIDTH), (6, 1, WIDTH)
    assert matrices(found, 6, 9) == sorted([full] * 2 + [one] * 3 + [(6, 1, 9)])
    ids = np.random.default_rng(3).integers(1, ITEMS, (6, 9))
    np.testing.assert_allclose(answer(found, {"ids": ids}), answer(model, {"ids": ids}), atol=2e-6)


def test_keys_that_something_else_reads_are_left_to_it() -> None:
    more = [node("ReduceMean", ["k", "one"], "all", keepdims=0), node("Add", ["all", "user"], "both")]
    model = model_of([*attention(False), *variable(), *more], {"both": ["A", WIDTH]})
    found = rewritten(LAST, model)
    assert matrices(found, 6, 9).count((6, 9, WIDTH)) == 1
    ids = np.random.default_rng(4).integers(1, ITEMS, (6, 9))
    np.testing.assert_allclose(answer(found, {"ids": ids}), answer(model, {"ids": ids}), atol=2e-6)


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_heads_and_offsets_are_those_of_keys_and_values(kernel: Kernel, heads: int) -> None:
    model, _, sample = exported(kernel, "zoo/sasrec", num_heads=heads, num_layers=1)
    module = model.model.module
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("bias"):
                parameter.normal_()
    model = replace(model, graph=export_onnx(module, sample))
    found = LAST.compress(model, context(sample=sample))
    before, after = net_of(model), net_of(found)
    case = feeds(before, model, 5, np.random.default_rng(heads))
    assert work(after, case) < 0.25 * work(before, case)  # one layer: the states are read, and nothing else is as long as the history
    np.testing.assert_allclose(answer(found, case), answer(model, case), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("rows", "steps"), [(1, 1), (1, 40), (33, 2), (4, 7)])
def test_batch_and_length_stay_free(rows: int, steps: int) -> None:
    model = model_of([*attention(False), *variable()])
    found = rewritten(LAST, model)
    ids = np.random.default_rng(rows).integers(0, ITEMS, (rows, steps))
    ids = np.where(np.arange(steps) < np.random.default_rng(steps).integers(0, steps + 1, rows)[:, None], ids, 0)
    np.testing.assert_allclose(answer(found, {"ids": ids}), answer(model, {"ids": ids}), atol=1e-6)
    nobody = {"ids": np.zeros((rows, steps), np.int64)}
    np.testing.assert_allclose(answer(found, nobody), answer(model, nobody), atol=1e-6)


def test_states_that_something_else_reads_stay_whole() -> None:
    mean = [node("ReduceMean", ["states", "one"], "all", keepdims=0), node("Add", ["all", "user"], "both")]
    with pytest.raises(NotApplicable, match=r"no step of a sequence is kept alone|less work"):
        LAST.compress(model_of([*attention(False), *variable(), *mean], {"both": ["A", WIDTH]}), context())


def test_nothing_is_pushed_through_what_mixes_steps() -> None:
    for kind, options in (("Softmax", {"axis": 1}), ("CumSum", {})):
        mixing = node(kind, ["states", "first"] if kind == "CumSum" else ["states"], "mixing", **options)
        with pytest.raises(NotApplicable, match=r"no step of a sequence is kept alone|less work"):
            LAST.compress(model_of([*attention(False), mixing, *variable("mixing")]), context())


def test_nothing_is_pushed_through_a_scale_of_all_steps() -> None:
    """A product in eight bits is scaled by the largest number of all steps: one step alone would be rounded in another way."""
    rounded = [
        helper.make_node("DynamicQuantizeLinear", ["states"], ["bytes", "step_size", "middle"]),
        node("DequantizeLinear", ["bytes", "step_size", "middle"], "rounded"),
    ]
    with pytest.raises(NotApplicable, match=r"no step of a sequence is kept alone|less work"):
        LAST.compress(model_of([*attention(False), *rounded, *variable("rounded")]), context())


def test_two_places_that_are_kept_leave_states_whole() -> None:
    both = [*gathered(), node("Gather", ["states", "zero"], "oldest", axis=1), node("Add", ["user", "oldest"], "both")]
    with pytest.raises(NotApplicable, match=r"no step of a sequence is kept alone|less work"):
        LAST.compress(model_of([*attention(True), *both], {"both": ["A", WIDTH]}), context())


def test_a_wrong_rule_is_caught_before_the_graph_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {**autorec_rewrite.rows._RULES, "CumSum": autorec_rewrite.rows._RULES["LayerNormalization"]}
    monkeypatch.setattr(autorec_rewrite.rows, "_RULES", wrong)
    nodes = [*attention(False), node("CumSum", ["states", "first"], "mixing"), *variable("mixing")]
    with pytest.raises(NotApplicable, match="answers differently"):
        LAST.compress(model_of(nodes), context())


MODELS = {  # blueprint → largest share of the work that is left
    "zoo/sasrec": 0.55,
    "zoo/transformer": 0.58,
    "zoo/bert4rec": 0.55,
    "zoo/narm": 0.60,
    "zoo/stamp": 0.20,
    "zoo/gru4rec": 0.90,
    "zoo/bst": 0.30,
}
QUICK = {"zoo/stamp"}


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK)) for name in MODELS])
def test_models_of_the_zoo_do_less_and_answer_alike(kernel: Kernel, name: str) -> None:
    model, _, sample = exported(kernel, name)
    found = rewritten(LAST, model, context(sample=sample))
    before, after = net_of(model), net_of(found)
    given = feeds(before, model, 3, np.random.default_rng(5))
    assert work(after, given) <= MODELS[name] * work(before, given)
    for rows in (1, 4):
        for turn in (-1, 0, 1, 2):
            case = feeds(before, model, rows, np.random.default_rng(rows), turn=turn)
            np.testing.assert_allclose(answer(found, case), answer(model, case), rtol=1e-5, atol=1e-5)
    with pytest.raises(NotApplicable):
        LAST.compress(found, context(sample=sample))


@pytest.mark.parametrize(
    "name",
    [
        "zoo/mf",
        "zoo/deepfm",
        "baselines/ease",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("zoo/nextitnet", "zoo/din", "zoo/youtube-dnn")),
    ],
)
def test_models_that_keep_no_step_behind_work_on_all_are_left_alone(kernel: Kernel, name: str) -> None:
    model, _, sample = exported(kernel, name)
    with pytest.raises(NotApplicable):
        LAST.compress(model, context(sample=sample))
