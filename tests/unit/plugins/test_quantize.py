from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from autorec_kernel.config import parse_config
from autorec_kernel.contracts.deploy import CompressionContext, Compressor, NotApplicable, Target
from autorec_kernel.deploy.export import export_onnx, graph_spec
from autorec_kernel.errors import UsageError
from autorec_kernel.records.architecture import Architecture
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.records.model import CompressedModel, TrainedModel
from autorec_kernel.serving.graph import Graph
from autorec_kernel.serving.wire import check_graph
from autorec_quantize.dynamic import DynamicInt8
from autorec_quantize.graphs import looked_up, smaller
from autorec_quantize.half import Float16
from autorec_quantize.nibbles import Int4Tables
from autorec_quantize.tables import Int8Tables, quantise_rows


class Net(nn.Module):
    """A tied item table, a user table that is only looked up, and a perceptron."""

    inputs, serving_outputs, lengths = ("user", "history"), ("score",), {"history": 5}

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.users, self.items = nn.Embedding(500, 16), nn.Embedding(600, 16)
            self.mlp = nn.Sequential(nn.Linear(32, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 16))
        self.eval()

    def serve(self, user: torch.Tensor, history: torch.Tensor) -> tuple[torch.Tensor, ...]:
        mask = (history != 0).float().unsqueeze(-1)
        mean = (self.items(history) * mask).sum(1) / mask.sum(1).clamp(min=1)
        return (self.mlp(torch.cat([self.users(user), mean], 1)) @ self.items.weight.T,)


class Retriever(Net):
    """A user vector in place of scores."""

    inputs, serving_outputs = ("user_id", "history"), ("user",)

    def serve(self, user: torch.Tensor, history: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (self.mlp(torch.cat([self.users(user), self.items(history).mean(1)], 1)),)

    def item_vectors(self) -> torch.Tensor:
        return self.items.weight.detach()


SAMPLE = {"user": np.arange(8), "history": np.arange(40).reshape(8, 5) % 7}
CONTEXT = CompressionContext(Target("cloud"), None, SAMPLE, lambda model, share: model, np.random.default_rng(0))  # type: ignore[arg-type]


def model_of(network: nn.Module, sample: Mapping[str, np.ndarray] = SAMPLE) -> CompressedModel:
    trained = TrainedModel(Architecture((), {}), network, FeatureSchema())
    return CompressedModel(trained, export_onnx(network, sample))


@pytest.fixture(scope="module")
def model() -> CompressedModel:
    return model_of(Net())


def ops(graph: bytes | None) -> list[str]:
    return [node.op_type for node in onnx.ModelProto.FromString(graph or b"").graph.node]


def answers(graph: bytes | None) -> np.ndarray:
    return Graph(graph or b"", graph_spec(Net())).run(SAMPLE)["score"]


def error(graph: bytes | None, model: CompressedModel) -> float:
    exact = answers(model.graph)
    return float(np.abs(answers(graph) - exact).mean() / np.abs(exact).mean())


def made(component: Any) -> Any:
    """Return a compressor that takes up products as small as those of these models."""
    return component(component.Config(**({"smallest": 4096} if component is DynamicInt8 else {})))


@pytest.mark.parametrize(("component", "most"), [(Int8Tables, 0.01), (Int4Tables, 0.12), (Float16, 0.001)])
def test_item_vectors_are_compressed_with_the_table_that_they_are(component: Any, most: float) -> None:
    sample = {"user_id": SAMPLE["user"], "history": SAMPLE["history"]}
    given = model_of(Retriever(), sample)
    found = made(component).compress(given, CONTEXT)
    graph = Graph(found.graph, graph_spec(Retriever()))
    exact, items = given.model.module.item_vectors().numpy(), graph.items()
    assert items is not None
    assert items.dtype == np.float32
    assert 0 < np.abs(items - exact).max() / np.abs(exact).max() < most
    spared = len(given.graph or b"") - len(found.graph)
    assert spared > (0.45 if component is Float16 else 0.6) * 4 * exact.size
    answered = Graph(given.graph or b"", graph_spec(Retriever())).run(sample)["user"]
    assert np.abs(graph.run(sample)["user"] - answered).max() < 2 * most


COMPONENTS: tuple[Any, ...] = (DynamicInt8, Float16, Int4Tables, Int8Tables)


@pytest.mark.parametrize("component", COMPONENTS)
class TestEach:
    def test_it_keeps_the_contract(self, component: Any, model: CompressedModel) -> None:
        instance = made(component)
        assert isinstance(instance, Compressor)
        assert next(iter(instance.propose(model, CONTEXT.target))) == made(component).config
        with pytest.raises(UsageError, match="smallest"):
            parse_config(component.Config, {"smalest": 1}, where="x")

    def test_the_bytes_shrink_and_the_answers_stay_close(self, component: Any, model: CompressedModel) -> None:
        small = made(component).compress(model, CONTEXT)
        assert len(small.graph or b"") < 0.85 * len(model.graph or b"")
        assert 0 < error(small.graph, model) < (0.08 if component is Int4Tables else 0.05)

    def test_the_same_graph_gives_the_same_bytes(self, component: Any, model: CompressedModel) -> None:
        instance = made(component)
        assert instance.compress(model, CONTEXT).graph == instance.compress(model, CONTEXT).graph

    def test_the_input_stays_bit_identical(self, component: Any, model: CompressedModel) -> None:
        graph = bytes(model.graph or b"")
        weights = {name: value.clone() for name, value in model.model.module.state_dict().items()}
        found = made(component).compress(model, CONTEXT)
        assert model.graph == graph
        assert found.model is model.model
        assert all(torch.equal(value, weights[name]) for name, value in model.model.module.state_dict().items())

    def test_the_result_passes_the_serving_check(self, component: Any, model: CompressedModel) -> None:
        check_graph(made(component).compress(model, CONTEXT).graph or b"", "x.onnx")

    def test_nothing_to_do_is_not_applicable(self, component: Any, model: CompressedModel) -> None:
        instance = component(component.Config(smallest=65536))
        assert list(instance.propose(model, CONTEXT.target)) == []
        with pytest.raises(NotApplicable):
            instance.compress(model, CONTEXT)
        with pytest.raises(NotApplicable, match="no exported graph"):
            instance.compress(replace(model, graph=None), CONTEXT)

    def test_it_is_silent(self, component: Any, model: CompressedModel, capfd: pytest.CaptureFixture[str], caplog: Any) -> None:
        caplog.set_level(logging.DEBUG)
        filters = list(logging.getLogger().filters)
        made(component).compress(model, CONTEXT)
        assert capfd.readouterr() == ("", "")
        assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
        assert logging.getLogger().filters == filters


@pytest.mark.parametrize("component", [DynamicInt8, Int4Tables, Int8Tables])
def test_what_is_stored_as_float16_is_quantised_as_if_it_were_float32(component: Any, model: CompressedModel) -> None:
    half = Float16(Float16.Config()).compress(model, CONTEXT)
    alone, after = (made(component).compress(given, CONTEXT) for given in (model, half))
    assert len(after.graph or b"") <= len(alone.graph or b"") + 1024
    assert error(after.graph, alone) < 0.03
    with pytest.raises(NotApplicable):
        made(component).compress(after, CONTEXT)


def test_integer_products_are_in_the_graph_and_a_gather_never_is_quantised_by_them(model: CompressedModel) -> None:
    found = ops(made(DynamicInt8).compress(model, CONTEXT).graph)
    assert {"MatMulInteger", "DynamicQuantizeLinear"} <= set(found)
    assert "DequantizeLinear" not in found


def test_a_table_that_a_product_shares_is_stored_once_in_eight_bits(model: CompressedModel) -> None:
    small = onnx.ModelProto.FromString(made(DynamicInt8).compress(model, CONTEXT).graph or b"")
    stored = [tensor for tensor in small.graph.initializer if 600 in tensor.dims and 16 in tensor.dims]
    assert [(list(t.dims), t.data_type) for t in stored] == [([600, 16], onnx.TensorProto.INT8)]


def test_small_products_stay_in_float(model: CompressedModel) -> None:
    found = ops(DynamicInt8(DynamicInt8.Config(smallest=9000)).compress(model, CONTEXT).graph)
    assert found.count("MatMulInteger") == 1
    assert found.count("Gemm") + found.count("MatMul") == 3


def test_stacks_of_matrices_stay_in_float_and_the_graph_answers() -> None:
    class Stacked(Net):
        def __init__(self) -> None:
            super().__init__()
            self.heads = nn.Parameter(torch.linspace(-1, 1, 2 * 16 * 64).reshape(2, 1, 16, 64))

        def serve(self, user: torch.Tensor, history: torch.Tensor) -> tuple[torch.Tensor, ...]:
            (scores,) = super().serve(user, history)
            return (scores + (self.users(user) @ self.heads[:, 0]).sum((0, 2))[:, None],)

    given = model_of(Stacked())
    found = DynamicInt8(DynamicInt8.Config(smallest=1024)).compress(given, CONTEXT)
    assert error(found.graph, given) < 0.05
    assert [2, 16, 64] in [list(tensor.dims) for tensor in onnx.ModelProto.FromString(found.graph or b"").graph.initializer]


def test_both_together_quantise_every_table(model: CompressedModel) -> None:
    small = Int8Tables(Int8Tables.Config()).compress(made(DynamicInt8).compress(model, CONTEXT), CONTEXT)
    kinds = {tuple(t.dims): t.data_type for t in onnx.ModelProto.FromString(small.graph or b"").graph.initializer if len(t.dims) == 2}
    assert kinds[(500, 16)] == kinds[(600, 16)] == onnx.TensorProto.INT8
    assert len(small.graph or b"") < 0.45 * len(model.graph or b"")
    assert error(small.graph, model) < 0.05


def test_a_list_of_rows_is_dequantised_by_one_node_and_histories_by_their_own(model: CompressedModel) -> None:
    """`users` is read as [A], `items` as [A, L] and by a product, which keeps it: the values are integers times the scale of the row."""
    small = Int8Tables(Int8Tables.Config()).compress(model, CONTEXT)
    assert "DequantizeLinear" in ops(small.graph)
    apart = model_of(Retriever(), {"user_id": SAMPLE["user"], "history": SAMPLE["history"]})
    read = ops(Int8Tables(Int8Tables.Config()).compress(apart, CONTEXT).graph)
    assert read.count("DequantizeLinear") == 1 and "Cast" in read
    graph, table = onnx.ModelProto.FromString(small.graph or b""), model.model.module.users.weight.detach().numpy()
    stored = {tuple(t.dims): numpy_helper.to_array(t) for t in graph.graph.initializer}
    assert stored[(500,)].dtype == np.float32
    assert np.abs(stored[(500, 16)] * stored[(500,)][:, None] - table).max() <= 0.5001 * stored[(500,)].max()


def test_scales_of_two_bytes_save_two_bytes_a_row_and_answer_alike(model: CompressedModel) -> None:
    plain, short = (Int8Tables(Int8Tables.Config(half=half)).compress(model, CONTEXT) for half in (False, True))
    kinds = {tuple(t.dims): t.data_type for t in onnx.ModelProto.FromString(short.graph or b"").graph.initializer}
    assert kinds[(500,)] == onnx.TensorProto.FLOAT16 and kinds[(500, 16)] == onnx.TensorProto.INT8
    assert 900 < len(plain.graph or b"") - len(short.graph or b"") < 1100  # of 500 rows, less a node
    assert error(short.graph, model) < 1.05 * error(plain.graph, model) < 0.05
    targets = Target("edge", prefer="bytes"), Target("cloud", prefer="quality")
    proposed = [Int8Tables(Int8Tables.Config()).propose(model, target) for target in targets]
    assert [[one.model_dump()["half"] for one in found] for found in proposed] == [[False, True], [False]]


@pytest.mark.parametrize("half", [False, True])
def test_rows_are_quantised_within_half_a_step(half: bool) -> None:
    rng = np.random.default_rng(0)
    table = rng.normal(size=(50, 9)).astype(np.float32) * rng.uniform(1e-3, 1e3, (50, 1)).astype(np.float32)
    table[7] = 0
    integers, scale = quantise_rows(table, half=half)
    assert (integers.dtype, scale.dtype, scale.shape) == (np.int8, np.float16 if half else np.float32, (50, 1))
    scale = scale.astype(np.float32)
    assert (np.abs(integers * scale - table) <= scale * 0.5001).all()
    exact = np.abs(table).max(1, keepdims=True) / 127
    assert (scale >= exact * (1 - 1e-6))[exact > 0].all(), "no number of a row is cut off"
    assert (scale <= exact * (1 + 2.0**-10 + 1e-6))[exact > 0].all()
    assert not (integers[7] * scale[7]).any()
    np.testing.assert_array_equal(quantise_rows(-table, half=half)[0], -integers)
    if not half:
        np.testing.assert_array_equal(quantise_rows(integers * scale)[0], integers)


@pytest.mark.parametrize("size", [1e8, 1e-3, 1e-6])
def test_scales_that_float16_cannot_hold_stay(size: float) -> None:
    """Below its least normal number, 6.1e-5, a scale of float16 would be many times too large."""
    assert quantise_rows(np.full((2, 8), size, np.float32), half=True)[1].dtype == np.float32
    assert quantise_rows(np.full((2, 8), 0.1, np.float32), half=True)[1].dtype == np.float16


def test_rows_of_the_smallest_numbers_are_zeros_without_a_warning() -> None:
    with np.errstate(all="raise", under="ignore"):
        integers, scale = quantise_rows(np.full((2, 8), 1e-44, np.float32))
    assert np.isfinite(scale).all() and not (integers * scale).any()


def test_tables_with_numbers_that_are_not_finite_stay(model: CompressedModel) -> None:
    network = Net()
    with torch.no_grad():
        network.users.weight[3, 0] = float("inf")
    kinds = {tuple(t.dims): t.data_type for t in looked_up(onnx.ModelProto.FromString(model_of(network).graph or b""), 4096, 8).values()}
    assert (500, 16) not in kinds
    assert (500, 16) in {tuple(t.dims) for t in looked_up(onnx.ModelProto.FromString(model.graph or b""), 4096, 8).values()}


def test_a_graph_that_is_no_smaller_is_refused() -> None:
    model = CompressedModel(None, b"four")  # type: ignore[arg-type]
    assert smaller(model, b"one").graph == b"one"
    for graph in (b"same", b"larger"):
        with pytest.raises(NotApplicable, match="grew from 4 to"):
            smaller(model, graph)
