"""Pruning of exported graphs: rare rows, item-item matrices, single weights; what is left, and that answers are what they should be."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from autorec_kernel.contracts.deploy import CompressionContext, Compressor, NotApplicable, Target
from autorec_kernel.deploy.export import export_onnx, graph_spec
from autorec_kernel.deploy.normalise import normalise
from autorec_kernel.deploy.plan import serving_sample
from autorec_kernel.kernel import Kernel
from autorec_kernel.records.architecture import Architecture
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.records.model import CompressedModel, TrainedModel
from autorec_kernel.serving.graph import Graph
from autorec_kernel.serving.wire import check_graph
from autorec_kernel.testing.model_cases import context_for, features_for
from autorec_kernel.testing.network_cases import network_for
from autorec_prune.sparse import SparseItems, largest_entries
from autorec_prune.tail import TailRows
from autorec_prune.unstructured import Unstructured, packed

CONTEXT = CompressionContext(Target("edge"), None, {}, lambda model, share: model, np.random.default_rng(0))  # type: ignore[arg-type]
Inputs = dict[str, np.ndarray]


def initialisers(model: CompressedModel) -> dict[tuple[int, ...], int]:
    """Return shape → type of what the graph stores."""
    return {tuple(t.dims): t.data_type for t in onnx.ModelProto.FromString(model.graph or b"").graph.initializer}


def operators(model: CompressedModel) -> list[str]:
    return [node.op_type for node in onnx.ModelProto.FromString(model.graph or b"").graph.node]


def compressed(instance: Any, model: CompressedModel, context: Any = CONTEXT) -> CompressedModel:
    """Compress twice, and check what holds for every compressor of graphs."""
    assert isinstance(instance, Compressor)
    before = bytes(model.graph or b"")
    found = instance.compress(model, context)
    assert instance.compress(model, context).graph == found.graph
    assert model.graph == before
    assert found.model is model.model
    assert len(found.graph) < len(before)
    check_graph(found.graph, "x.onnx")
    with pytest.raises(NotApplicable, match="no exported graph"):
        instance.compress(replace(model, graph=None), context)
    assert list(instance.propose(replace(model, graph=None), CONTEXT.target)) == []
    return found  # type: ignore[no-any-return]


def hand_made(nodes: list[onnx.NodeProto], stored: Inputs, inputs: Inputs, answer: tuple[Any, ...]) -> CompressedModel:
    """Return a model of a graph of these inputs and of the output y."""
    kinds = {"i": TensorProto.INT64, "f": TensorProto.FLOAT}
    given = [helper.make_tensor_value_info(name, kinds[value.dtype.kind], ["A", *value.shape[1:]]) for name, value in inputs.items()]
    out = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["A", *answer])]
    graph = helper.make_graph(nodes, "g", given, out, [numpy_helper.from_array(np.asarray(value), name) for name, value in stored.items()])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return CompressedModel(TrainedModel(Architecture((), {}), torch.nn.Identity(), FeatureSchema()), normalise(made))


def answer(model: CompressedModel, inputs: Inputs, folded: str = "") -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = folded
    session = onnxruntime.InferenceSession(model.graph, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, inputs)[0])


# --- rows that are rarely read --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exported(kernel: Kernel) -> dict[str, tuple[CompressedModel, Any, Inputs]]:
    """Return blueprint → (model with its graph, features, serving inputs)."""
    found = {}
    for name, task in (
        ("zoo/deepfm", "click"),
        ("zoo/mf", "recommend"),
        ("baselines/ease", "recommend"),
        ("baselines/item-knn", "recommend"),
    ):
        features = features_for(kernel, task)
        network = network_for(kernel.create("blueprint", name), features, kernel).eval()
        sample = serving_sample(network, features)
        found[name] = (
            CompressedModel(TrainedModel(network.architecture, network, features.schema), export_onnx(network, sample)),
            features,
            sample,
        )
    return found


def served(model: CompressedModel, inputs: Inputs) -> np.ndarray:
    spec = graph_spec(model.model.module)
    return Graph(model.graph or b"", spec).run(inputs)[spec["outputs"][0]]


def rare(model: CompressedModel, features: Any, share: float) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return vocabulary → ids whose rows go, and vocabulary → events of each id."""
    counts, rows = {}, features.rows("train")
    for name, (_, size) in model.model.module.stores["16"].ranges.items():
        columns = [feature.name for feature in features.schema.of("id", "bag") if feature.vocabulary == name]
        values = features.row_inputs(columns, rows)
        counts[name] = np.sum([np.bincount(values[column].ravel(), minlength=size) for column in columns], axis=0)
    pairs = [(count, place, name) for name, found in counts.items() for place, count in enumerate(found) if place]
    chosen = sorted(pairs, key=lambda pair: pair[0])[: int(share * len(pairs))]
    return {name: np.array([place for _, place, other in chosen if other == name], dtype=np.int64) for name in counts}, counts


@pytest.mark.parametrize("share", [0.5, 0.75])
def test_rare_ids_read_the_unknown_row_and_all_others_their_own(exported: Any, share: float, caplog: Any) -> None:
    model, features, _ = exported["zoo/deepfm"]
    caplog.set_level(logging.INFO, logger="autorec_prune.tail")
    small = compressed(TailRows(TailRows.Config(share=share)), model, context_for(model.model, features))
    gone, _ = rare(model, features, share)
    size = features.schema["item_id"].size
    assert 0 < len(gone["item"]) < size - 1
    assert not len(gone["items.genres"])  # read so often that none is rare
    assert f"item: {size - len(gone['item'])} of {size} rows remain" in caplog.text
    given = features.row_inputs(model.model.module.inputs, features.rows("train")[:200])
    known = {name: features.schema[name].vocabulary for name in given if features.schema[name].kind == "id"}
    unknown = {name: np.where(np.isin(given[name], gone[vocabulary]), 0, given[name]) for name, vocabulary in known.items()}
    np.testing.assert_allclose(served(small, given), served(model, {**given, **unknown}), atol=1e-6)
    assert np.abs(served(model, given) - served(model, {**given, **unknown})).max() > 1e-4


def test_rows_are_kept_by_events_and_shared_rows_hold_means(exported: Any) -> None:
    model, features, _ = exported["zoo/deepfm"]
    small = compressed(TailRows(TailRows.Config(share=0.75, shared=3)), model, context_for(model.model, features))
    store = model.model.module.stores["16"]
    start, size = store.ranges["item"]
    weights = store.weight.detach().numpy()[start : start + size]
    tensors = onnx.ModelProto.FromString(small.graph or b"").graph.initializer
    places = next(numpy_helper.to_array(t) for t in tensors if list(t.dims) == [len(store.weight)] and t.data_type == TensorProto.INT32)
    left = next(numpy_helper.to_array(t) for t in tensors if len(t.dims) == 2 and t.dims[1] == 16 and t.dims[0] < len(store.weight))
    places = places[start : start + size]
    gone, counts = (found["item"] for found in rare(model, features, 0.75))
    kept = np.setdiff1d(np.arange(size), gone)
    np.testing.assert_array_equal(left[places[kept]], weights[kept])
    assert 1 <= len(np.unique(places[gone])) <= 3
    for place in np.unique(places[gone]):
        ids = gone[places[gone] == place]
        np.testing.assert_allclose(left[place], np.average(weights[ids], axis=0, weights=counts[ids] + 1), atol=1e-6)


def test_a_vocabulary_that_the_graph_never_reads_goes_without_changing_an_answer(exported: Any) -> None:
    model, features, sample = exported["zoo/mf"]
    small = compressed(TailRows(TailRows.Config(share=0.01)), model, context_for(model.model, features))
    np.testing.assert_array_equal(served(small, sample), served(model, sample))
    users, width = features.schema["user_id"].size, model.model.module.item_vectors().shape[1]
    assert (users + 1, width) in initialisers(small)  # and the unknown item


def test_tables_that_products_read_too_keep_their_rows() -> None:
    table = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    store = type("Store", (), {"weight": torch.from_numpy(table), "ranges": {"item": (0, 300)}})()
    nodes = [helper.make_node("Gather", ["t", "x"], ["r"]), helper.make_node("Gemm", ["r", "t"], ["y"], transB=1)]
    model = hand_made(nodes, {"t": table}, {"x": np.arange(3)}, (300,))
    module = type("Module", (), {"embedding_stores": lambda self: [store], "inputs": ("x",)})()
    model = replace(model, model=replace(model.model, module=module))
    assert list(TailRows(TailRows.Config()).propose(model, CONTEXT.target)) == []
    with pytest.raises(NotApplicable, match="only looked up"):
        TailRows(TailRows.Config()).compress(model, CONTEXT)


def test_it_proposes_three_shares_and_says_when_nothing_is_saved(exported: Any) -> None:
    model, features, _ = exported["zoo/deepfm"]
    assert [config.share for config in TailRows(TailRows.Config()).propose(model, CONTEXT.target)] == [0.25, 0.5, 0.75]
    with pytest.raises(NotApplicable, match="grew"):
        TailRows(TailRows.Config(share=0.01)).compress(model, context_for(model.model, features))


# --- item-item matrices ---------------------------------------------------------------------------------------------------------

ITEMS = 200


def matrix(seed: int = 0) -> np.ndarray:
    """Return float32 [N, N] of which a few entries a row are large."""
    rng = np.random.default_rng(seed)
    large = rng.random((ITEMS, ITEMS)) < 0.1
    return np.where(large, rng.normal(size=large.shape), rng.normal(size=large.shape) * 1e-3).astype(np.float32)


def history_scores(*after: onnx.NodeProto) -> CompressedModel:
    """Return the graph that `blocks/neighbour-scores` exports: weights added up in zeros, times an item-item matrix."""
    nodes = [
        helper.make_node("Shape", ["h"], ["rows"], end=1),
        helper.make_node("Concat", ["rows", "size"], ["shape"], axis=0),
        helper.make_node("Expand", ["zero", "shape"], ["zeros"]),
        helper.make_node("ScatterElements", ["zeros", "h", "w"], ["history"], axis=1, reduction="add"),
        helper.make_node("MatMul", ["history", "m"], ["scores" if after else "y"]),
        *after,
    ]
    stored = {"size": np.array([ITEMS]), "zero": np.float32(0), "m": matrix()}
    return hand_made(nodes, stored, histories(), (ITEMS,))


def histories() -> Inputs:
    rng = np.random.default_rng(1)
    steps = rng.integers(1, ITEMS, (6, 9))
    steps[2] = 7  # one item many times
    weights = rng.random((6, 9)).astype(np.float32)
    weights[3] = 0
    return {"h": steps, "w": weights}


def cut(values: np.ndarray, entries: int) -> np.ndarray:
    """Return the matrix with all but the largest entries of each row set to zero."""
    least = np.sort(np.abs(values), 1)[:, -entries, None]
    return np.where(np.abs(values) >= least, values, 0)


@pytest.mark.parametrize("entries", [8, 32, 64])
def test_histories_are_scored_by_the_largest_entries_alone(entries: int) -> None:
    model, given = history_scores(), histories()
    small = compressed(SparseItems(SparseItems.Config(entries=entries)), model)
    dense = np.zeros((6, ITEMS), np.float32)
    np.add.at(dense, (np.arange(6)[:, None], given["h"]), given["w"])
    np.testing.assert_allclose(answer(small, given), dense @ cut(matrix(), entries), atol=1e-5)
    stored = initialisers(small)
    assert stored[(ITEMS, entries)] in (TensorProto.FLOAT, TensorProto.UINT16)
    assert (ITEMS, ITEMS) not in stored
    assert "MatMul" not in operators(small)
    assert len(small.graph or b"") < (6 * entries / (4 * ITEMS) + 0.02) * len(model.graph or b"")


def test_looked_up_rows_are_spread_into_zeros() -> None:
    nodes = [helper.make_node("Gather", ["m", "h"], ["y"], axis=0)]
    model, given = hand_made(nodes, {"m": matrix()}, {"h": histories()["h"]}, (9, ITEMS)), {"h": histories()["h"]}
    small = compressed(SparseItems(SparseItems.Config(entries=16)), model)
    np.testing.assert_array_equal(answer(small, given), cut(matrix(), 16)[given["h"]])


def test_a_matrix_that_something_else_reads_too_is_rebuilt_once_at_load(tmp_path: Any) -> None:
    model, given = history_scores(helper.make_node("MatMul", ["scores", "m"], ["y"])), histories()
    small = compressed(SparseItems(SparseItems.Config(entries=16)), model)
    dense = np.zeros((6, ITEMS), np.float32)
    np.add.at(dense, (np.arange(6)[:, None], given["h"]), given["w"])
    few = cut(matrix(), 16)
    np.testing.assert_allclose(answer(small, given, str(tmp_path / "folded.onnx")), dense @ few @ few, atol=1e-4)
    assert (ITEMS, ITEMS) not in initialisers(small)
    folded = onnx.load(tmp_path / "folded.onnx").graph.initializer
    assert [ITEMS, ITEMS] in [list(tensor.dims) for tensor in folded]


def test_square_weights_of_a_perceptron_are_no_item_matrix() -> None:
    nodes = [helper.make_node("MatMul", ["x", "m"], ["y"])]
    model = hand_made(nodes, {"m": matrix()}, {"x": np.zeros((2, ITEMS), np.float32)}, (ITEMS,))
    assert list(SparseItems(SparseItems.Config()).propose(model, CONTEXT.target)) == []
    with pytest.raises(NotApplicable, match="no item-item matrix"):
        SparseItems(SparseItems.Config()).compress(model, CONTEXT)


def test_it_proposes_several_sizes_that_at_most_halve_the_matrix() -> None:
    assert [config.entries for config in SparseItems(SparseItems.Config()).propose(history_scores(), CONTEXT.target)] == [64, 32]
    with pytest.raises(NotApplicable, match="grew"):
        SparseItems(SparseItems.Config(entries=200)).compress(history_scores(), CONTEXT)


def test_large_catalogues_have_wider_columns() -> None:
    row = np.zeros((1, 70_000), np.float32)
    row[0, [5, 69_999]] = 3, -4
    columns, values = largest_entries(row, 2)
    assert (columns.dtype, columns.tolist(), values.tolist()) == (np.int32, [[5, 69_999]], [[3.0, -4.0]])


def test_the_graph_of_a_closed_form_is_recognised(exported: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, _, sample = exported["baselines/ease"]
    monkeypatch.setattr("autorec_prune.sparse._FEWEST", 16)
    values = next(v for v in model.model.module.state_dict().values() if v.dim() == 2 and v.shape[0] == v.shape[1]).numpy()
    small = SparseItems(SparseItems.Config(entries=6)).compress(model, CONTEXT)
    dense = np.zeros((len(sample["history"]), len(values)), np.float32)
    np.add.at(dense, (np.arange(len(dense))[:, None], sample["history"]), (sample["history"] != 0).astype(np.float32))
    np.testing.assert_allclose(served(small, sample), dense @ cut(values, 6), atol=1e-5)


def neighbours(rows: str, entries: int = 60) -> CompressedModel:
    """Return the graph that `blocks/neighbour-scores` exports on stored neighbours."""
    columns, values = largest_entries(matrix(), entries)
    nodes = [
        helper.make_node("Shape", ["h"], ["rows"], end=1),
        helper.make_node("Concat", ["rows", "size"], ["shape"], axis=0),
        helper.make_node("Expand", ["zero", "shape"], ["zeros"]),
        helper.make_node("Unsqueeze", ["h", "last"], ["deep"]),
        helper.make_node(rows, ["columns", "deep" if rows == "GatherND" else "h"], ["short"]),
        helper.make_node("Cast", ["short"], ["long"], to=TensorProto.INT64),
        helper.make_node("Gather", ["values", "h"], ["read"]),
        helper.make_node("Unsqueeze", ["w", "last"], ["weights"]),
        helper.make_node("Mul", ["read", "weights"], ["weighed"]),
        helper.make_node("Concat", ["rows", "flat"], ["wide"], axis=0),
        helper.make_node("Reshape", ["long", "wide"], ["places"]),
        helper.make_node("Reshape", ["weighed", "wide"], ["parts"]),
        helper.make_node("ScatterElements", ["zeros", "places", "parts"], ["y"], axis=1, reduction="add"),
    ]
    stored = {"size": np.array([ITEMS]), "zero": np.float32(0), "last": np.array([-1]), "flat": np.array([9 * entries])}
    return hand_made(nodes, {**stored, "columns": columns.astype(np.int32), "values": values}, histories(), (ITEMS,))


@pytest.mark.parametrize("rows", ["GatherND", "Gather"])
def test_stored_neighbours_are_cut_to_the_largest_too(rows: str) -> None:
    model, given = neighbours(rows), histories()
    small = compressed(SparseItems(SparseItems.Config(entries=20)), model)
    dense = np.zeros((6, ITEMS), np.float32)
    np.add.at(dense, (np.arange(6)[:, None], given["h"]), given["w"])
    np.testing.assert_allclose(answer(small, given), dense @ cut(matrix(), 20), atol=1e-5)
    assert initialisers(small)[(ITEMS, 20)] in (TensorProto.FLOAT, TensorProto.UINT16)
    assert (ITEMS, 60) not in initialisers(small)


def test_all_neighbours_in_two_bytes_each_change_no_answer() -> None:
    model, given = neighbours("Gather"), histories()
    assert [config.entries for config in SparseItems(SparseItems.Config()).propose(model, CONTEXT.target)] == [60, 32]
    small = compressed(SparseItems(SparseItems.Config(entries=60)), model)
    np.testing.assert_allclose(answer(small, given), answer(model, given), atol=1e-6)
    assert len(small.graph or b"") < 0.78 * len(model.graph or b"")


def test_the_graph_of_a_neighbour_model_is_recognised(exported: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, _, sample = exported["baselines/item-knn"]
    monkeypatch.setattr("autorec_prune.sparse._FEWEST", 16)
    whole = SparseItems(SparseItems.Config(entries=1000)).compress(model, CONTEXT)
    np.testing.assert_allclose(served(whole, sample), served(model, sample), atol=1e-6)
    few = SparseItems(SparseItems.Config(entries=4)).compress(model, CONTEXT)
    assert len(few.graph or b"") < 0.5 * len(whole.graph or b"")
    assert np.corrcoef(served(few, sample).ravel(), served(model, sample).ravel())[0, 1] > 0.5


# --- single weights -------------------------------------------------------------------------------------------------------------


def perceptron() -> CompressedModel:
    rng = np.random.default_rng(3)
    stored = {"a": rng.normal(size=(90, 70)).astype(np.float32), "b": rng.normal(size=(90, 66)).astype(np.float32) * 0.5}
    nodes = [
        helper.make_node("Gemm", ["x", "a"], ["h"], transB=1),
        helper.make_node("Relu", ["h"], ["i"]),
        helper.make_node("MatMul", ["i", "b"], ["y"]),
    ]
    return hand_made(nodes, stored, {"x": np.zeros((2, 70), np.float32)}, (66,))


def test_the_smallest_weights_of_all_matrices_become_zero_and_the_rest_is_exact(tmp_path: Any) -> None:
    model = perceptron()
    small = compressed(Unstructured(Unstructured.Config(sparsity=0.8)), model)
    weights = [numpy_helper.to_array(t) for t in onnx.ModelProto.FromString(model.graph or b"").graph.initializer]
    least = np.quantile(np.concatenate([np.abs(one).ravel() for one in weights]), 0.8)
    a, b = (np.where(np.abs(one) >= least, one, 0) for one in weights)
    x = np.random.default_rng(0).normal(size=(5, 70)).astype(np.float32)
    np.testing.assert_allclose(answer(small, {"x": x}, str(tmp_path / "folded.onnx")), np.maximum(x @ a.T, 0) @ b, rtol=1e-4, atol=1e-4)
    assert len(small.graph or b"") < 0.25 * len(model.graph or b"") + 2048
    folded = onnx.load(tmp_path / "folded.onnx").graph
    assert {node.op_type for node in folded.node} <= {"Gemm", "FusedGemm", "Relu", "MatMul"}  # unpacked once, when the model loads


def test_bits_and_values_say_what_a_matrix_was() -> None:
    bits, values = packed(np.array([[0, 2, 0], [-1, 0, 0], [0, 0, 3]]))
    assert (bits.tolist(), values.tolist()) == ([0b00001010, 0b1], [0, 2, -1, 3])


def test_it_is_proposed_where_the_graph_is_too_large_only() -> None:
    instance, model = Unstructured(Unstructured.Config()), perceptron()
    size = len(model.graph or b"")
    assert list(instance.propose(model, Target("any"))) == []
    assert list(instance.propose(model, Target("any", max_bytes=size))) == []
    assert list(instance.propose(model, Target("any", max_bytes=size - 1))) == [instance.config]
    with pytest.raises(NotApplicable, match="65536"):
        Unstructured(Unstructured.Config(smallest=65536)).compress(model, CONTEXT)
