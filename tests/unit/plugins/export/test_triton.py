"""What `--format triton` writes: configurations that protobuf accepts and that fit the graphs, and a backend that answers."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime
import pytest
from google.protobuf.text_format import ParseError
from model_config import read_config

from autorec_export.triton import write_triton
from autorec_kernel.records.table import Coded
from autorec_kernel.serving import Recommender, verify_bundle

DTYPES = {"tensor(int64)": "TYPE_INT64", "tensor(float)": "TYPE_FP32"}


@pytest.fixture(scope="module")
def repositories(cases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("triton")
    for name, bundle in cases.items():
        write_triton(bundle, base / name)
    return {name: base / name for name in cases}


CASES = ["retriever", "factors", "scores", "ranker", "events"]


def enum(message: Any, field: str, value: int) -> str:
    return str(message.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number[value].name)


def config_of(folder: Path) -> Any:
    found = read_config((folder / "config.pbtxt").read_text())
    assert found.name == folder.name
    return found


def test_the_reader_of_configurations_is_strict() -> None:
    for text in ('nmae: "x"', "max_batch_size: many", "input { data_type: TYPE_INT65 }", "input { dims: [ 1.5 ] }", "name: x"):
        with pytest.raises(ParseError):
            read_config(text)


@pytest.mark.parametrize("case", CASES)
def test_the_layout_is_a_model_repository(repositories: dict[str, Path], case: str) -> None:
    role = "ranker" if case in ("ranker", "events") else "retriever"
    assert sorted(path.name for path in repositories[case].iterdir()) == ["answers", role]
    for name in (role, "answers"):
        folder = repositories[case] / name
        assert sorted(path.name for path in folder.iterdir()) == ["1", "config.pbtxt"]
        config = config_of(folder)
        assert config.max_batch_size > 0
        assert config.HasField("dynamic_batching")
        assert config.dynamic_batching.max_queue_delay_microseconds > 0
        assert [enum(group, "kind", group.kind) for group in config.instance_group] == ["KIND_CPU"]
        assert config.version_policy.latest.num_versions == 1
    assert (repositories[case] / role / "1" / "model.onnx").is_file()
    assert verify_bundle(repositories[case] / "answers" / "1" / "bundle")


@pytest.mark.parametrize("case", CASES)
def test_the_configuration_of_the_graph_fits_the_graph(repositories: dict[str, Path], case: str) -> None:
    (folder,) = [path for path in repositories[case].iterdir() if path.name != "answers"]
    config, session = config_of(folder), onnxruntime.InferenceSession(folder / "1" / "model.onnx", providers=["CPUExecutionProvider"])
    assert (config.backend, config.parameters["intra_op_thread_count"].string_value) == ("onnxruntime", "1")
    for told, ports in ((config.input, session.get_inputs()), (config.output, session.get_outputs())):
        assert [one.name for one in told] == [port.name for port in ports]
        for one, port in zip(told, ports, strict=True):
            assert enum(one, "data_type", one.data_type) == DTYPES[port.type]
            sizes = [size if isinstance(size, int) else -1 for size in port.shape]
            assert sizes[0] == -1, "the batch is free"
            # Triton hands the graph [batch, *dims], or [batch, *reshape.shape] where there is a reshape: `HasField` tells an empty one
            assert list(one.reshape.shape if one.HasField("reshape") else one.dims) == sizes[1:]
            assert list(one.dims) == (sizes[1:] or [1])


@pytest.mark.parametrize("case", CASES)
def test_a_batch_as_triton_makes_it_runs(repositories: dict[str, Path], case: str) -> None:
    (folder,) = [path for path in repositories[case].iterdir() if path.name != "answers"]
    config, session = config_of(folder), onnxruntime.InferenceSession(folder / "1" / "model.onnx", providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        feeds = {}
        for one in config.input:
            shape = [batch, *(5 if size < 0 else size for size in (one.reshape.shape if one.HasField("reshape") else one.dims))]
            feeds[one.name] = np.ones(shape, np.int64 if enum(one, "data_type", one.data_type) == "TYPE_INT64" else np.float32)
        assert [len(found) for found in session.run(None, feeds)] == [batch] * len(config.output)


# --- the python backend, with Triton's own module stood in for ------------------------------------------------------------------


class Tensor:
    def __init__(self, name: str, value: np.ndarray) -> None:
        self._name, self._value = name, value

    def name(self) -> str:
        return self._name

    def as_numpy(self) -> np.ndarray:
        return self._value


class Response:
    def __init__(self, output_tensors: list[Tensor], error: Any = None) -> None:
        self.outputs = {tensor.name(): tensor.as_numpy() for tensor in output_tensors}
        self.error = error


@pytest.fixture
def backend(repositories: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Any:
    utils: Any = ModuleType("triton_python_backend_utils")
    utils.Tensor, utils.InferenceResponse, utils.TritonError = Tensor, Response, str
    utils.get_input_tensor_by_name = lambda request, name: request.get(name)
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", utils)

    def load(case: str) -> Any:
        folder = repositories[case] / "answers"
        spec = importlib.util.spec_from_file_location("model_under_test", folder / "1" / "model.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "model_under_test", module)
        spec.loader.exec_module(module)
        model = module.TritonPythonModel()
        model.initialize({"model_repository": str(folder), "model_version": "1"})
        return model, config_of(folder)

    return load


def ask(model: Any, config: Any, **inputs: Any) -> Response:
    """Send one request whose inputs are those of the configuration; check that the outputs are."""
    known = {one.name: one for one in config.input}
    tensors = {}
    for name, value in inputs.items():
        kind = enum(known[name], "data_type", known[name].data_type)
        dtype = {"TYPE_STRING": object, "TYPE_INT32": np.int32, "TYPE_INT64": np.int64, "TYPE_FP64": np.float64}[kind]
        rows = [[one.encode() if isinstance(one, str) else one for one in row] for row in value]
        tensors[name] = Tensor(name, np.array(rows, dtype=dtype))
    (found,) = model.execute([tensors])
    if found.error is None:
        assert list(found.outputs) == [one.name for one in config.output]
        for one in config.output:
            array = found.outputs[one.name]
            assert array.dtype == (object if enum(one, "data_type", one.data_type) == "TYPE_STRING" else np.float32)
            assert all(size in (-1, got) for size, got in zip(one.dims, array.shape[1:], strict=True))
    return found


@pytest.mark.parametrize("case", ["retriever", "factors", "scores"])
def test_lists_are_those_of_the_recommender(backend: Any, cases: dict[str, Path], case: str) -> None:
    model, config = backend(case)
    found = ask(model, config, USER=[["u1"], ["nobody"]], K=[[4], [4]])
    for row, answer in enumerate(Recommender.load(cases[case]).recommend(["u1", "nobody"], k=4)):
        assert [item.decode() for item in found.outputs["ITEMS"][row]] == list(answer.items)
        assert np.allclose(found.outputs["SCORES"][row], answer.scores)
        assert found.outputs["ANSWERED_BY"][row, 0].decode() == answer.answered_by


def test_histories_are_read_and_short_lists_are_filled(backend: Any, cases: dict[str, Path]) -> None:
    model, config = backend("scores")
    found = ask(model, config, HISTORY=[["i01", "i02"], ["i05", ""]], K=[[1000], [1000]])
    expected = Recommender.load(cases["scores"]).recommend(None, [["i01", "i02"], ["i05"]], k=1000)
    for row, answer in enumerate(expected):
        assert [item.decode() for item in found.outputs["ITEMS"][row] if item] == list(answer.items)
    assert found.outputs["ITEMS"].shape[1] == max(len(answer.items) for answer in expected)
    assert np.isneginf(found.outputs["SCORES"][found.outputs["ITEMS"] == b""]).all()


def test_a_request_of_nothing_is_an_error_of_its_own_and_the_next_one_is_answered(backend: Any) -> None:
    model, config = backend("factors")
    assert "USER or HISTORY" in ask(model, config).error
    assert ask(model, config, USER=[["u1"]]).error is None


@pytest.mark.parametrize("case", ["ranker", "events"])
def test_predictions_are_those_of_the_recommender(backend: Any, cases: dict[str, Path], case: str) -> None:
    model, config = backend(case)
    users, items = ["u1", "u2", "nobody"], ["i01", "strange", "i03"]
    found = ask(model, config, USER=[[one] for one in users], ITEM=[[one] for one in items])
    expected = Recommender.load(cases[case]).predict(users, items)
    assert np.allclose(found.outputs["rating"][:, 0], expected.values, atol=1e-5)


def test_columns_of_the_event_are_read(backend: Any, cases: dict[str, Path]) -> None:
    model, config = backend("events")
    assert {one.name: enum(one, "data_type", one.data_type) for one in config.input} == {
        "USER": "TYPE_STRING",
        "ITEM": "TYPE_STRING",
        "price": "TYPE_FP64",
        "when": "TYPE_INT64",
    }
    hour = 3600 * 10**9
    found = ask(model, config, USER=[["u1"]], ITEM=[["i01"]], price=[[2.5]], when=[[7 * hour]])
    when = np.array([7 * hour])
    expected = Recommender.load(cases["events"]).predict(["u1"], ["i01"], {"price": np.array([2.5]), "when": when, "@clock": when})
    plain = ask(model, config, USER=[["u1"]], ITEM=[["i01"]])
    assert np.isclose(found.outputs["rating"][0, 0], expected.values[0], atol=1e-5)
    assert found.outputs["rating"][0, 0] > plain.outputs["rating"][0, 0] + 11


def test_texts_of_columns_become_codes(backend: Any, cases: dict[str, Path]) -> None:
    model, _ = backend("events")
    coded = sys.modules["model_under_test"]._coded(["a", "", "b", "a"])
    assert type(model).__module__ == "model_under_test"
    assert isinstance(coded, Coded)
    assert list(coded.text()) == ["a", None, "b", "a"]


def test_a_graph_without_inputs_is_left_to_the_python_backend(tmp_path: Path) -> None:
    from onnx import helper
    from serving_toys import state

    from autorec_kernel.deploy.bundle import BundleFacts, ServedModel, write_bundle
    from autorec_kernel.testing.bundle_cases import _graph

    scores = {"scores": np.arange(41, dtype=np.float32)[None]}
    graph = _graph([helper.make_node("Identity", ["scores"], ["score"])], {}, "score", [1, 41], scores)
    model = ServedModel("retriever", graph, {"inputs": [], "outputs": ["score"], "lengths": {}})
    write_bundle(tmp_path / "bundle", model=model, state=state(), sample={}, facts=BundleFacts("recommend", "given/test"))
    write_triton(tmp_path / "bundle", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["answers"]
