from __future__ import annotations

import sys
import tempfile

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from serving_toys import TOYS, HistoryScores, Toy, sample

from autorec_kernel.deploy.export import export_onnx, graph_spec, parity
from autorec_kernel.deploy.normalise import normalise
from autorec_kernel.deploy.rewrite import tie_tables
from autorec_kernel.errors import BundleError
from autorec_kernel.serving.graph import Graph
from autorec_kernel.serving.wire import check_graph


@pytest.fixture(scope="module")
def graphs() -> dict[str, bytes]:
    return {kind: export_onnx(network(), sample(network.inputs)) for kind, network in TOYS.items()}


@pytest.mark.parametrize("kind", TOYS)
def test_the_graph_answers_as_the_network_does_at_every_batch_size(graphs: dict[str, bytes], kind: str) -> None:
    network = TOYS[kind]()
    assert parity(network, graphs[kind], sample(network.inputs)) <= 1e-5


@pytest.mark.parametrize("kind", TOYS)
def test_exported_graphs_pass_the_serving_check(graphs: dict[str, bytes], kind: str) -> None:
    check_graph(graphs[kind], "x.onnx")


def test_the_same_network_gives_the_same_bytes(graphs: dict[str, bytes]) -> None:
    for kind, network in TOYS.items():
        assert export_onnx(network(), sample(network.inputs)) == graphs[kind]


def test_nothing_in_the_bytes_says_where_they_were_made(graphs: dict[str, bytes]) -> None:
    for data in graphs.values():
        for trace in (sys.prefix, tempfile.gettempdir(), "site-packages", "pytorch", "serving_toys", "torch"):
            assert trace.encode() not in data


def test_opset_and_ir_version_are_pinned(graphs: dict[str, bytes]) -> None:
    for data in graphs.values():
        model = onnx.ModelProto.FromString(data)
        assert (model.ir_version, [(entry.domain, entry.version) for entry in model.opset_import]) == (10, [("", 20)])


def test_exporting_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    export_onnx(TOYS["factors"](), sample(("user_id",)))
    assert capfd.readouterr() == ("", "")


def test_a_different_network_fails_parity(graphs: dict[str, bytes]) -> None:
    network = TOYS["scores"]()
    with torch.no_grad():
        network.mlp[2].weight.mul_(1.01)
    with pytest.raises(BundleError, match="differs from the network"):
        parity(network, graphs["scores"], sample(network.inputs))


class Untraceable(Toy):
    inputs, serving_outputs = ("user_id",), ("user",)

    def serve(self, user: torch.Tensor) -> tuple[torch.Tensor, ...]:
        raise RuntimeError("no")


def test_a_network_that_cannot_be_exported_is_a_bundle_error() -> None:
    with pytest.raises(BundleError, match="cannot be exported"):
        export_onnx(Untraceable(), sample(("user_id",)))


class WideScores(HistoryScores):
    """A tied table large enough to be worth tying."""

    def __init__(self) -> None:
        super().__init__()
        self.items = torch.nn.Embedding(300, 8)
        self.eval()


def test_a_tied_table_is_stored_once() -> None:
    network = WideScores()
    data = export_onnx(network, sample(("history",)))
    stored = [t for t in onnx.ModelProto.FromString(data).graph.initializer if 300 in t.dims]
    assert [sorted(t.dims) for t in stored] == [[8, 300]]
    assert parity(network, data, sample(("history",))) <= 1e-5
    assert tie_tables(data) == data


class WideVectors(WideScores):
    """User vectors from the history, against the table that the history is read with."""

    serving_outputs = ("user",)

    def serve(self, history: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (self.mlp(self.items(history).mean(1).repeat(1, 2)),)

    def item_vectors(self) -> torch.Tensor:
        return self.items.weight.detach()


def test_item_vectors_come_out_of_the_graph_and_are_stored_once() -> None:
    network = WideVectors()
    data = export_onnx(network, sample(("history",)))
    assert [list(t.dims) for t in onnx.ModelProto.FromString(data).graph.initializer if 300 in t.dims] == [[300, 8]]
    graph = Graph(data, graph_spec(network))
    assert np.array_equal(graph.items(), network.item_vectors().numpy())
    assert list(graph.run(sample(("history",)))) == ["user"]
    apart = WideVectors()
    apart.item_vectors = lambda: 2 * network.item_vectors()  # type: ignore[method-assign]
    graph = Graph(export_onnx(apart, sample(("history",))), graph_spec(apart))
    assert np.array_equal(graph.items(), 2 * network.item_vectors().numpy())
    assert Graph(export_onnx(WideScores(), sample(("history",))), graph_spec(WideScores())).items() is None


def test_normalising_twice_changes_nothing(graphs: dict[str, bytes]) -> None:
    for data in graphs.values():
        assert normalise(onnx.ModelProto.FromString(data)) == data
        weights = [numpy_helper.to_array(t) for t in onnx.ModelProto.FromString(data).graph.initializer]
        assert any(np.asarray(weight).size > 8 for weight in weights)


class BagScores(Toy):
    inputs, serving_outputs = ("tags",), ("score",)

    def __init__(self) -> None:
        super().__init__()
        self.tags = torch.nn.Embedding(5, 3, padding_idx=0)
        self.eval()

    def serve(self, tags: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (self.tags(tags).sum((1, 2)),)


def test_a_bag_that_holds_one_value_in_the_sample_may_hold_more_in_serving() -> None:
    network, asked = BagScores(), np.array([[1, 2, 3], [4, 0, 0]])
    graph = export_onnx(network, {"tags": np.ones((4, 1), np.int64)})
    found = Graph(graph, graph_spec(network), name="bags").run({"tags": asked})["score"]
    np.testing.assert_allclose(found, network.serve(torch.from_numpy(asked))[0].detach().numpy(), rtol=1e-5)
