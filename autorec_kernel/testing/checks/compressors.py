"""Laws of compressors: a new, smaller model with the same interface; the model they were handed stays bit-identical (torch)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from autorec_kernel.contracts.deploy import NotApplicable
from autorec_kernel.records.model import CompressedModel, TrainedModel
from autorec_kernel.serving.graph import PACKED
from autorec_kernel.testing.host import host
from autorec_kernel.testing.model_cases import TARGET, context_for, example_models, sample_of
from autorec_kernel.testing.snapshots import first_difference, leaves
from autorec_kernel.testing.surroundings import another_world, globals_kept
from autorec_kernel.testing.violation import demand, violated

__all__ = [
    "check_compression_is_deterministic",
    "check_compression_keeps_the_interface",
    "check_compression_makes_it_smaller",
    "check_compressor_leaves_the_model_alone",
    "check_compressor_proposes_its_settings",
]

_EXACT = 1e-5  # relative to max(1, |y|)
Case = tuple[TrainedModel, CompressedModel, Any]


def check_compressor_proposes_its_settings(component: Any, config: Any, kernel: Any = None) -> None:
    """`form` says what it works on; `propose` yields its own configs, the same when asked again, and leaves the model alone."""
    demand(component.form in ("module", "graph"), f"form is {component.form!r}, expected module or graph")
    for _, given, _ in example_models(host(kernel), component.form):
        before = list(leaves(given))
        with globals_kept("propose"):
            found = list(component(config).propose(given, TARGET))
        with another_world(2):
            again = list(component(config).propose(given, TARGET))
        strange = [type(one).__name__ for one in found if not isinstance(one, component.Config)]
        demand(not strange, f"propose yields {strange}, expected the compressor's own Config")
        demand(found == again, "propose answers differently when asked again")
        demand(first_difference(before, list(leaves(given))) is None, "propose changed the model")


def check_compressor_leaves_the_model_alone(component: Any, config: Any, kernel: Any = None) -> None:
    """Weights, buffers, modes, hooks, graph bytes, sample and answers of the input are as before; nothing is shared with the result."""
    for case, settings in _cases(component, config, kernel):
        trained, given, features = case
        context = context_for(trained, features, kernel=host(kernel))
        before, answers = list(leaves([given, context.sample])), _answers(trained.module, features)
        pointers = _pointers(trained.module)
        result = _compress(component(settings), given, context)
        changed = first_difference(before, list(leaves([given, context.sample])))
        demand(changed is None, f"compress changed the model it was handed: {changed}")
        demand(_pointers(trained.module) == pointers, "compress replaced tensors of the model it was handed")
        demand(
            first_difference(answers, _answers(trained.module, features)) is None, "the model it was handed answers differently afterwards"
        )
        if result is None or result.model.module is trained.module:
            continue
        shared = _pointers(result.model.module) & pointers
        demand(not shared, "the compressed model shares tensors with the model it was made from: fine-tuning one would change the other")


def check_compression_makes_it_smaller(component: Any, config: Any, kernel: Any = None) -> None:
    """What comes back is new and has fewer bytes or parameters; where nothing would change, NotApplicable is raised.

    A compressor of graphs that says `exact = True` may pay bytes for less work: its graph is another one, and answers alike.
    """
    for case, settings in _cases(component, config, kernel):
        trained, given, features = case
        result = _compress(component(settings), given, context_for(trained, features, kernel=host(kernel)))
        if result is None:
            continue
        demand(isinstance(result, CompressedModel), f"compress returned a {type(result).__name__}, expected a CompressedModel")
        demand(result.steps == given.steps, "compress wrote into `steps`: the caller adds them")
        if component.form == "graph" and getattr(component, "exact", False):
            _demand_exact(given.graph, result.graph, sample_of(trained.module, features))
            continue
        before, after = _size(component.form, given), _size(component.form, result)
        demand(after < before, f"the result has {after} bytes, the input {before}: nothing to gain = NotApplicable")


def check_compression_keeps_the_interface(component: Any, config: Any, kernel: Any = None) -> None:
    """Inputs, outputs, their types and shapes are as before, answers are finite, and a compressed network still exports."""
    for case, settings in _cases(component, config, kernel):
        trained, given, features = case
        result = _compress(component(settings), given, context_for(trained, features, kernel=host(kernel)))
        if result is None:
            continue
        if component.form == "graph":
            demand(isinstance(result.graph, bytes), f"the graph is a {type(result.graph).__name__}, expected bytes")
            _demand_equal(_signature(given.graph), _signature(result.graph))
            _demand_finite(_run(result.graph, sample_of(trained.module, features)))
            continue
        network = result.model.module
        demand(not network.training, "the compressed network is left in train mode")
        _demand_equal((trained.module.inputs, trained.module.serving_outputs), (network.inputs, network.serving_outputs))
        before, after = (_serve(module, features) for module in (trained.module, network))
        _demand_equal([a.shape for a in before], [a.shape for a in after])
        _demand_finite(after)
        _demand_exports(network, features)


def check_compression_is_deterministic(component: Any, config: Any, kernel: Any = None) -> None:
    """Equal models and equal generators give equal bytes, under other global seeds and clocks, which compress leaves alone."""
    for case, settings in _cases(component, config, kernel):
        trained, given, features = case
        with globals_kept("compress", builds_modules=True):
            first = _compress(component(settings), given, context_for(trained, features, 5, host(kernel)))
        with another_world(6):
            second = _compress(component(settings), given, context_for(trained, features, 5, host(kernel)))
        demand((first is None) == (second is None), "compress applies once and not the next time")
        if first is not None and second is not None:
            changed = first_difference(list(leaves(_content(component.form, first))), list(leaves(_content(component.form, second))))
            demand(changed is None, f"two compressions with equal generators differ: {changed}")


def _cases(component: Any, config: Any, kernel: Any) -> Iterator[tuple[Case, Any]]:
    for case in example_models(host(kernel), component.form):
        yield case, config
        for proposed in component(config).propose(case[1], TARGET):
            if proposed != config:
                yield case, proposed


def _compress(compressor: Any, given: CompressedModel, context: Any) -> CompressedModel | None:
    try:
        return compressor.compress(given, context)  # type: ignore[no-any-return]
    except NotApplicable:
        return None
    except Exception as error:
        violated(f"compress raised {type(error).__name__}: {error}; where it does not apply, NotApplicable is raised")


def _pointers(module: torch.nn.Module) -> set[int]:
    return {t.untyped_storage().data_ptr() for t in (*module.parameters(), *module.buffers()) if t.numel()}


def _size(form: str, model: CompressedModel) -> int:
    if form == "graph":
        return len(model.graph or b"")
    module = model.model.module
    return sum(t.numel() * t.element_size() for t in {id(t): t for t in (*module.parameters(), *module.buffers())}.values())


def _content(form: str, model: CompressedModel) -> Any:
    return model.graph if form == "graph" else dict(model.model.module.state_dict())


def _serve(network: Any, features: Any) -> list[np.ndarray]:
    from autorec_kernel.models.batches import to_tensors

    tensors = to_tensors(sample_of(network, features), "cpu")
    with torch.no_grad():
        answers = network.serve(*[tensors[name] for name in network.inputs])
        answers = [answers[0] @ network.item_vectors().T] if network.serving_outputs == ("user",) else answers  # whatever their width
        return [answer.numpy() for answer in answers]


def _answers(network: Any, features: Any) -> list[tuple[str, str]]:
    return list(leaves(_serve(network, features)))


def _session(graph: bytes | None) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        violated(f"onnxruntime refuses the compressed graph: {str(error)[:300]}")


def _signature(graph: bytes | None) -> Any:
    session = _session(graph)
    inputs = sorted((name, port.type, _rank(port)) for port in session.get_inputs() for name in port.name.split(PACKED))
    return [inputs, [(port.name, port.type, len(port.shape)) for port in session.get_outputs()]]


def _rank(port: Any) -> int:
    """Return the axes of a feature; ids that are packed are columns of one input."""
    return 1 if PACKED in port.name and "int64" in port.type else len(port.shape)


def _run(graph: bytes | None, sample: dict[str, np.ndarray]) -> list[np.ndarray]:
    session, feeds = _session(graph), {}
    for port in session.get_inputs():
        parts = [np.asarray(sample[name], dtype=np.int64 if "int64" in port.type else np.float32) for name in port.name.split(PACKED)]
        columns = [part[:, None] if part.ndim < len(port.shape) else part for part in parts]
        feeds[port.name] = np.concatenate(columns, 1) if len(columns) > 1 else columns[0]
    return list(session.run(None, feeds))


def _demand_exact(before: bytes | None, after: bytes | None, sample: dict[str, np.ndarray]) -> None:
    demand(after != before, "the result is its input: nothing to gain = NotApplicable")
    for expected, found in zip(_run(before, sample), _run(after, sample), strict=True):
        apart = float((np.abs(expected - found) / np.maximum(1.0, np.abs(expected))).max(initial=0.0))
        demand(apart <= _EXACT, f"it says it is exact, and an answer moved by {apart:.3g} (at most {_EXACT} is accepted)")


def _demand_equal(before: Any, after: Any) -> None:
    demand(before == after, f"the interface changed from {before} to {after}")


def _demand_finite(answers: list[np.ndarray]) -> None:
    demand(all(np.isfinite(answer).all() for answer in answers), "the compressed model answers with NaN or infinity")


def _demand_exports(network: Any, features: Any) -> None:
    from autorec_kernel.deploy.export import export_onnx, parity
    from autorec_kernel.errors import AutoRecError

    sample = sample_of(network, features)
    try:
        parity(network, export_onnx(network, sample), sample)
    except AutoRecError as error:
        violated(f"the compressed network cannot be served: {error}")
