"""Four bits and sixteen: what is stored, how far off it is, and that what is served computes it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from autorec_kernel.contracts.deploy import CompressionContext, Compressor, NotApplicable, Target
from autorec_kernel.deploy.normalise import normalise
from autorec_kernel.records.architecture import Architecture
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.records.model import CompressedModel, TrainedModel
from autorec_kernel.serving.wire import check_graph
from autorec_quantize.half import Float16
from autorec_quantize.nibbles import Int4Tables, quantise_nibbles
from autorec_quantize.stored import Int8Weights, quantise_outputs
from autorec_quantize.weights import Int4Weights, quantise_blocks

CONTEXT = CompressionContext(Target("edge"), None, {}, lambda model, share: model, np.random.default_rng(0))  # type: ignore[arg-type]


def model_of(nodes: list[onnx.NodeProto], stored: dict[str, np.ndarray], x: Any, width: int) -> CompressedModel:
    """Return a model of a graph from x to y float32 [A, width]."""
    kind = TensorProto.INT64 if np.asarray(x).dtype.kind == "i" else TensorProto.FLOAT
    shape = ["A", *np.asarray(x).shape[1:]]
    given, answer = helper.make_tensor_value_info("x", kind, shape), helper.make_tensor_value_info("y", TensorProto.FLOAT, ["A", width])
    graph = helper.make_graph(nodes, "g", [given], [answer], [numpy_helper.from_array(value, name) for name, value in stored.items()])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return CompressedModel(TrainedModel(Architecture((), {}), None, FeatureSchema()), normalise(made))


def answer(model: CompressedModel, x: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.graph, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


def tables_of(model: CompressedModel) -> list[tuple[list[int], int]]:
    return [(list(t.dims), t.data_type) for t in onnx.ModelProto.FromString(model.graph or b"").graph.initializer]


def operators(model: CompressedModel) -> list[str]:
    return [node.op_type for node in onnx.ModelProto.FromString(model.graph or b"").graph.node]


def table(rows: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32) * 0.05


def look_up(values: np.ndarray) -> CompressedModel:
    """Return a graph that answers with rows of a table."""
    return model_of([helper.make_node("Gather", ["t", "x"], ["y"], axis=0)], {"t": values}, np.arange(3), values.shape[1])


def compressed(kind: Any, model: CompressedModel, **config: Any) -> CompressedModel:
    before = bytes(model.graph or b"")
    found = kind(kind.Config(**config)).compress(model, CONTEXT)
    assert model.graph == before
    assert kind(kind.Config(**config)).compress(model, CONTEXT).graph == found.graph
    assert found.model is model.model
    check_graph(found.graph or b"", "x.onnx")
    return found  # type: ignore[no-any-return]


# --- four-bit tables ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [8, 9, 16, 33, 64])
def test_rows_read_from_four_bits_are_the_codes_scaled_and_moved(width: int) -> None:
    values = table(700, width)
    small = compressed(Int4Tables, look_up(values))
    packed, ranges = quantise_nibbles(values)
    assert (packed.shape, packed.dtype, ranges.shape, ranges.dtype) == ((700, (width + 1) // 2), np.uint8, (700, 2), np.float16)
    codes = np.concatenate([packed & 15, packed >> 4], 1)[:, :width]
    exact = codes * ranges[:, :1].astype(np.float32) + ranges[:, 1:].astype(np.float32)
    np.testing.assert_allclose(answer(small, np.arange(700)), exact, rtol=0, atol=1e-7)
    assert {"BitwiseAnd", "BitShift"} <= set(operators(small))
    assert ("Slice" in operators(small)) == (width % 2 == 1)


def test_a_table_of_width_64_takes_a_seventh_of_its_bytes() -> None:
    model = look_up(table(2000, 64))
    assert len(compressed(Int4Tables, model).graph or b"") <= 0.16 * len(model.graph or b"")


def test_the_error_of_a_row_is_at_most_that_of_sixteen_even_steps_and_the_search_makes_it_smaller() -> None:
    values = table(500, 64) * np.random.default_rng(1).uniform(0.01, 100, (500, 1)).astype(np.float32)
    values[3, 5] *= 40  # an outlier that the range should not follow to the end
    read = answer(compressed(Int4Tables, look_up(values)), np.arange(500))
    step = (values.max(1) - values.min(1)) / 15
    even = values.min(1, keepdims=True) + np.rint((values - values.min(1, keepdims=True)) / step[:, None]) * step[:, None]
    found, plain = (np.sqrt(np.square(one - values).mean(1)) for one in (read, even))
    assert (found <= 1.01 * plain + 1e-6).all()
    assert (found <= 0.5 * step + 1e-6).all()
    assert (found / step).mean() < 12**-0.5  # what an error that is spread evenly over a step has
    assert np.linalg.norm(read - values) / np.linalg.norm(values) < 0.1
    assert found.mean() < 0.97 * plain.mean()


def test_constant_rows_and_rows_too_large_for_float16_survive() -> None:
    values = table(600, 16)
    values[4], values[5] = 0.0, 0.75
    read = answer(compressed(Int4Tables, look_up(values)), np.arange(600))
    assert not read[4].any()
    np.testing.assert_array_equal(read[5], 0.75)
    huge = values * np.float32(1e7)
    assert quantise_nibbles(huge)[1].dtype == np.float32
    read = answer(compressed(Int4Tables, look_up(huge)), np.arange(600))
    assert np.linalg.norm(read - huge) / np.linalg.norm(huge) < 0.12


# --- sixteen bits ---------------------------------------------------------------------------------------------------------------


def test_float16_halves_a_table_and_every_weight_stays_within_a_thousandth() -> None:
    values = table(900, 32)
    model = look_up(values)
    small = compressed(Float16, model)
    assert len(small.graph or b"") < 0.51 * len(model.graph or b"")
    np.testing.assert_array_equal(answer(small, np.arange(900)), values.astype(np.float16).astype(np.float32))
    assert (np.abs(values.astype(np.float16) - values) <= np.maximum(2**-11 * np.abs(values), 2**-25)).all()
    assert tables_of(small) == [([900, 32], TensorProto.FLOAT16)]


def test_a_table_that_a_look_up_and_a_product_read_is_stored_once_as_float16() -> None:
    values = table(400, 16)
    nodes = [
        helper.make_node("Gather", ["t", "x"], ["rows"], axis=0),
        helper.make_node("Transpose", ["t"], ["turned"], perm=[1, 0]),
        helper.make_node("MatMul", ["rows", "turned"], ["y"]),
    ]
    model, x = model_of(nodes, {"t": values}, np.arange(5), 400), np.arange(5)
    small = compressed(Float16, model)
    assert tables_of(small) == [([400, 16], TensorProto.FLOAT16)]
    np.testing.assert_allclose(answer(small, x), answer(model, x), atol=1e-4)


def test_a_tensor_that_overflows_float16_stays_and_an_infinity_does_not_matter() -> None:
    values = table(400, 16)
    values[0, 0] = -np.inf
    assert np.isneginf(answer(compressed(Float16, look_up(values)), np.arange(2))[0, 0])
    values[1, 1] = 1e6
    with pytest.raises(NotApplicable, match="fits float16"):
        compressed(Float16, look_up(values))
    assert list(Float16(Float16.Config()).propose(look_up(values), CONTEXT.target)) == []


# --- four-bit matrices ----------------------------------------------------------------------------------------------------------


def tower(widths: tuple[int, ...] = (300, 256, 320, 8)) -> CompressedModel:
    """Return Gemm with transB and an offset, Relu, MatMul, Relu, and a narrow Gemm."""
    a, b, c, d = widths
    stored = {"w": table(b, a), "o": table(1, b)[0], "v": table(b, c, 1), "u": table(d, c, 2), "n": table(1, d)[0]}
    nodes = [
        helper.make_node("Gemm", ["x", "w", "o"], ["h"], transB=1),
        helper.make_node("Relu", ["h"], ["i"]),
        helper.make_node("MatMul", ["i", "v"], ["j"]),
        helper.make_node("Relu", ["j"], ["k"]),
        helper.make_node("Gemm", ["k", "u", "n"], ["y"], transB=1),
    ]
    return model_of(nodes, stored, np.zeros((2, a), np.float32), d)


def test_large_matrices_become_four_bit_products_whether_they_were_gemm_or_matmul() -> None:
    model, x = tower(), np.random.default_rng(0).normal(size=(17, 300)).astype(np.float32)
    instance = Int4Weights(Int4Weights.Config())
    assert isinstance(instance, Compressor)
    assert list(instance.propose(model, CONTEXT.target)) == [Int4Weights.Config()]
    assert list(instance.propose(model, Target("cloud", prefer="quality"))) == []
    small = compressed(Int4Weights, model)
    assert operators(small) == ["MatMulNBits", "Add", "Relu", "MatMulNBits", "Relu", "Gemm"]
    assert len(small.graph or b"") < 0.22 * len(model.graph or b"")
    exact = answer(model, x)
    assert 0 < np.linalg.norm(answer(small, x) - exact) / np.linalg.norm(exact) < 0.15


def test_matrices_stored_as_float16_are_quantised_too() -> None:
    model, x = tower(), np.random.default_rng(0).normal(size=(4, 300)).astype(np.float32)
    small = compressed(Int4Weights, compressed(Float16, model))
    assert operators(small).count("MatMulNBits") == 2
    np.testing.assert_allclose(answer(small, x), answer(compressed(Int4Weights, model), x), atol=0.02)


@pytest.mark.parametrize("block", [32, 64, 128])
def test_blocks_are_within_half_a_step_of_what_they_stand_for(block: int) -> None:
    weights = table(40, 300) * np.random.default_rng(2).uniform(0.01, 10, (40, 1)).astype(np.float32)
    codes, scales = quantise_blocks(weights, block)
    blocks = -(-300 // block)
    assert (codes.shape, scales.shape) == ((40, blocks, block // 2), (40 * blocks,))
    whole = np.stack([codes & 15, codes >> 4], 3).reshape(40, blocks, block).astype(np.float32)
    read = ((whole - 8) * scales.reshape(40, blocks, 1)).reshape(40, -1)
    assert not read[:, 300:].any()
    padded = np.pad(weights, ((0, 0), (0, blocks * block - 300))).reshape(40, blocks, block)
    step = np.abs(padded).max(2) / 8
    found = np.sqrt(np.square(read.reshape(padded.shape) - padded).mean(2))
    assert (found <= 0.45 * step).all()
    assert found.mean() < 0.3 * step.mean()
    zero = np.zeros((2, 32), np.float32)
    assert (quantise_blocks(zero, 32)[0] == 0x88).all()


def test_small_matrices_and_shared_ones_stay() -> None:
    instance = Int4Weights(Int4Weights.Config())
    for model in (tower((200, 255, 300, 8)), look_up(table(500, 300))):
        assert list(instance.propose(model, CONTEXT.target)) == []
        with pytest.raises(NotApplicable, match="256 x 256"):
            instance.compress(model, CONTEXT)
    values = table(300, 256)
    nodes = [
        helper.make_node("Gather", ["t", "x"], ["rows"], axis=0),
        helper.make_node("Gemm", ["rows", "t"], ["y"], transB=1),
    ]
    with pytest.raises(NotApplicable, match="to itself"):
        instance.compress(model_of(nodes, {"t": values}, np.arange(3), 300), CONTEXT)
    with pytest.raises(NotApplicable, match="no exported graph"):
        instance.compress(CompressedModel(tower().model, None), CONTEXT)


@pytest.mark.parametrize("axis", [-1, -2])
def test_weights_in_eight_bits_are_within_half_a_step_of_their_output(axis: int) -> None:
    weights = table(40, 24) * np.linspace(0, 9, 24, dtype=np.float32)
    integers, scale = quantise_outputs(weights, axis)
    assert integers.dtype == np.int8 and scale.shape == ((40, 1) if axis == -1 else (1, 24))
    assert (np.abs(integers * scale - weights) <= scale / 2 + 1e-7).all()
    assert (np.abs(integers).max(axis)[np.abs(weights).max(axis) > 0] == 127).all()


@pytest.mark.parametrize(
    ("node", "weights", "x"),
    [
        (helper.make_node("MatMul", ["x", "w"], ["y"]), table(48, 32), table(3, 48)),
        (helper.make_node("Gemm", ["x", "w"], ["y"], transB=1), table(32, 48), table(3, 48)),
        (helper.make_node("MatMul", ["x", "w"], ["y"]), table(96, 32).reshape(2, 48, 32), table(6, 48).reshape(2, 3, 48)),
    ],
    ids=["product", "turned", "stack"],
)
def test_weights_are_stored_in_a_quarter_of_their_bytes_and_multiplied_in_float32(
    node: onnx.NodeProto, weights: np.ndarray, x: np.ndarray
) -> None:
    plain = model_of([node], {"w": weights}, x, 32)
    small = compressed(Int8Weights, plain)
    check_graph(small.graph or b"", "m")
    assert ([*weights.shape], TensorProto.INT8) in tables_of(small) and not {"MatMulInteger", "DynamicQuantizeLinear"} & {*operators(small)}
    scales = [dims for dims, kind in tables_of(small) if kind == TensorProto.FLOAT]
    assert int(np.prod(scales[0])) == weights.size // 48  # one an output, and none a summand
    integers, scale = quantise_outputs(weights, -1 if node.op_type == "Gemm" else -2)
    wide = integers * scale
    np.testing.assert_allclose(answer(small, x), x @ (wide.T if node.op_type == "Gemm" else wide), atol=1e-6)
    assert len(small.graph or b"") < len(plain.graph or b"") - 2 * weights.size


def test_onnxruntime_widens_stored_weights_once_when_it_loads(tmp_path: Any) -> None:
    plain = model_of([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": table(48, 32)}, table(3, 48), 32)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(tmp_path / "folded.onnx"), 4
    onnxruntime.InferenceSession(compressed(Int8Weights, plain).graph, options, providers=["CPUExecutionProvider"])
    assert [node.op_type for node in onnx.load(tmp_path / "folded.onnx").graph.node] == ["MatMul"]


def test_constants_that_are_small_or_read_by_more_than_products_stay_in_float32() -> None:
    twice = [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Add", ["p", "w"], ["y"])]
    for plain in (
        model_of([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": table(48, 16)}, table(3, 48), 16),
        model_of(twice, {"w": table(48, 48)}, table(48, 48), 48),
        model_of([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": table(4, 400)}, table(3, 4), 400),
        model_of([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": np.full((48, 32), np.inf, np.float32)}, table(3, 48), 32),
    ):
        assert list(Int8Weights(Int8Weights.Config()).propose(plain, CONTEXT.target)) == []
        with pytest.raises(NotApplicable, match="no product has a constant of 1024 numbers"):
            compressed(Int8Weights, plain)
