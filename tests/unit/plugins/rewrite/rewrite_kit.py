"""Graphs by hand and exported ones, and how they answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from autorec_kernel.contracts.deploy import CompressionContext, Compressor, NotApplicable, Target
from autorec_kernel.deploy.export import export_onnx
from autorec_kernel.deploy.normalise import normalise
from autorec_kernel.deploy.plan import serving_sample
from autorec_kernel.records.architecture import Architecture
from autorec_kernel.records.features import Feature, FeatureSchema
from autorec_kernel.records.model import CompressedModel, TrainedModel
from autorec_kernel.serving.wire import check_graph
from autorec_kernel.testing.network_cases import network_for, suited
from autorec_rewrite.net import net_of
from autorec_rewrite.probe import run

TARGET = Target("edge", max_bytes=64 << 20)
Arrays = Mapping[str, np.ndarray]


def context(target: Target = TARGET, sample: Arrays | None = None) -> CompressionContext:
    return CompressionContext(target, None, dict(sample or {}), lambda model, share: model, np.random.default_rng(0))  # type: ignore[arg-type]


def hand_made(
    nodes: Sequence[onnx.NodeProto],
    stored: Arrays,
    inputs: Mapping[str, Sequence[Any]],
    outputs: Mapping[str, Sequence[Any]],
    features: Sequence[Feature] = (),
) -> CompressedModel:
    """Return a model of a graph; inputs are int64 where they have no fixed axis, else float32."""
    given = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT if isinstance(axes[-1], int) else TensorProto.INT64, axes)
        for name, axes in inputs.items()
    ]
    answers = [helper.make_tensor_value_info(name, TensorProto.FLOAT, axes) for name, axes in outputs.items()]
    graph = helper.make_graph(list(nodes), "g", given, answers, [numpy_helper.from_array(np.asarray(v), n) for n, v in stored.items()])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(made, full_check=True)
    return CompressedModel(TrainedModel(Architecture((), {}), torch.nn.Identity(), FeatureSchema(tuple(features))), normalise(made))


def exported(kernel: Any, name: str, **options: Any) -> tuple[CompressedModel, Any, dict[str, np.ndarray]]:
    """Return (model with its graph, feature set, sample) of a blueprint."""
    blueprint = kernel.create("blueprint", name, **options)
    found = suited(blueprint, kernel)
    assert found is not None
    network = network_for(blueprint, found[1], kernel).eval()
    sample = serving_sample(network, found[1])
    trained = TrainedModel(network.architecture, network, found[1].schema)
    return CompressedModel(trained, export_onnx(network, sample)), found[1], sample


def rewritten(instance: Any, model: CompressedModel, given: CompressionContext | None = None) -> CompressedModel:
    """Rewrite twice, and check what holds for every rewrite."""
    assert isinstance(instance, Compressor)
    assert instance.exact
    before = bytes(model.graph or b"")
    found = instance.compress(model, given or context())
    assert instance.compress(model, given or context()).graph == found.graph
    assert model.graph == before
    assert found.graph != before
    assert found.model is model.model
    check_graph(found.graph, "x.onnx")
    assert instance.config in list(instance.propose(model, TARGET))
    with pytest.raises(NotApplicable, match="no exported graph"):
        instance.compress(replace(model, graph=None), context())
    assert list(instance.propose(replace(model, graph=None), TARGET)) == []
    return found  # type: ignore[no-any-return]


def answer(model: CompressedModel, inputs: Arrays) -> np.ndarray:
    """Return the first output."""
    return next(iter(run(model.graph or b"", inputs).values()))


def operators(model: CompressedModel) -> list[str]:
    return [entry.op_type for entry in net_of(model).nodes]
