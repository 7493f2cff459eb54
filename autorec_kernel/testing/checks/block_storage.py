"""Laws of blocks that are stored and served: state as plain tensors, closed forms that repeat, export to ONNX (torch, onnxruntime)."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import numpy as np
import torch

from autorec_kernel.records.architecture import TensorSpec
from autorec_kernel.records.features import Feature, FeatureSchema
from autorec_kernel.testing.block_cases import build, cases, example_interactions, run, solved, tensors_of
from autorec_kernel.testing.block_inputs import ITEMS, USERS, values_for
from autorec_kernel.testing.snapshots import digest, first_difference, leaves
from autorec_kernel.testing.surroundings import another_world, globals_kept
from autorec_kernel.testing.violation import demand, violated

__all__ = ["check_exports_to_onnx", "check_solve_is_deterministic", "check_state_survives_safetensors"]


def check_state_survives_safetensors(component: Any, config: Any, kernel: Any = None) -> None:
    """The module's state is plain tensors: saved with safetensors and loaded into a freshly built module, it gives the same bits."""
    from safetensors.torch import load, save

    for block, specs in cases(component, config):
        arrays = solved(block, specs)
        module = build(block, specs, seed=1, arrays=arrays).eval()
        state = module.state_dict()
        strange = [name for name, value in state.items() if not isinstance(value, torch.Tensor)]
        demand(not strange, f"the state holds {strange}, which are not tensors: it cannot be stored")
        try:
            stored = save({name: value.contiguous() for name, value in state.items()})
        except Exception as error:
            violated(f"the state cannot be stored with safetensors: {error}")
        fresh = build(block, specs, seed=2, arrays={name: np.zeros_like(value) for name, value in arrays.items()}).eval()
        try:
            fresh.load_state_dict(load(stored))
        except Exception as error:
            violated(f"a freshly built module does not take the stored state: {error}")
        values = values_for(specs, 9, 7, seed=21)
        pair = [list(leaves(run(part, values, "a batch of 9"))) for part in (module, fresh)]
        demand(
            first_difference(*pair) is None,
            "a module loaded from the stored state answers differently: state outside parameters and buffers",
        )


def check_solve_is_deterministic(component: Any, config: Any, kernel: Any = None) -> None:
    """A closed form is a pure function of specs, arrays and rng; its arrays are plain, its estimate is a number of seconds."""
    if not hasattr(component, "solve"):
        return
    for block, specs in cases(component, config):
        interactions = example_interactions()
        before = list(leaves(interactions))
        with globals_kept("solve"):
            first = block.solve(specs, {name: interactions for name in block.arrays}, np.random.default_rng(4))
        changed = first_difference(before, list(leaves(interactions)))
        demand(changed is None, f"solve changed the interactions it was given: {changed}")
        _demand_arrays(first)
        with another_world(5):
            second = solved(component(config), specs, seed=4)
        changed = first_difference(list(leaves(dict(first))), list(leaves(dict(second))))
        demand(changed is None, f"solve gives different arrays for the same rng: {changed}")
        seconds = block.seconds(specs, _schema())
        demand(isinstance(seconds, (int, float)) and 0 <= seconds < 1e9, f"seconds returned {seconds!r}, expected a finite number >= 0")


def check_exports_to_onnx(component: Any, config: Any, kernel: Any = None) -> None:
    """The module exports with a free batch axis and onnxruntime gives torch's values at batch 1, 2 and 17."""
    block, specs = next(iter(cases(component, config)))
    batched = [spec for spec in specs if spec.port not in ("table", "loss")]
    if block.output(specs).port in ("loss", "table") or not batched:
        return  # losses exist in training only; values without a batch axis are stored as tables
    module = build(block, specs).eval()
    graph = _exported(module, values_for(specs, 3, 6, seed=31), specs)
    for rows in (1, 2, 17):
        values = values_for(specs, rows, 6, seed=rows)
        expected = [t.detach().numpy() for t in tensors_of(run(module, values, f"a batch of {rows}"))]
        for name, (want, got) in enumerate(zip(expected, _answer(graph, values), strict=True)):
            same = want.shape == got.shape and np.allclose(want, got, rtol=1e-4, atol=1e-5)
            demand(same, f"onnxruntime differs from torch in output {name} at batch {rows}: {want.shape} against {got.shape}")


def _exported(module: torch.nn.Module, values: Sequence[Any], specs: Sequence[TensorSpec]) -> bytes:
    batch = torch.export.Dim("batch", min=1, max=4096)
    shapes = [_axes(value, spec, batch) for value, spec in zip(values, specs, strict=True)]
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    try:
        logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module, tuple(values), dynamo=True, dynamic_shapes=(tuple(shapes),) if _packed(module) else tuple(shapes)
            )
    except Exception as error:
        violated(f"the module does not export to ONNX with a free batch axis: {type(error).__name__}: {str(error)[:400]}")
    finally:
        logger.setLevel(level)
    demand(program is not None, "torch.onnx.export returned nothing")
    assert program is not None
    return bytes(program.model_proto.SerializeToString())


def _packed(module: torch.nn.Module) -> bool:
    """Return whether `forward` takes its inputs as *args, which torch.export counts as one."""
    import inspect

    return any(p.kind is p.VAR_POSITIONAL for p in inspect.signature(module.forward).parameters.values())


def _axes(value: Any, spec: TensorSpec, batch: Any) -> Any:
    if spec.port in ("table", "loss"):
        return tuple({} for _ in value) if isinstance(value, tuple) else {}
    return tuple({0: batch} for _ in value) if isinstance(value, tuple) else {0: batch}


def _answer(graph: bytes, values: Sequence[Any]) -> list[np.ndarray]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    arrays = [t.numpy() for value in values for t in tensors_of(value)]
    names = [part.name for part in session.get_inputs()]
    if len(names) != len(arrays):
        violated(f"the exported graph reads {len(names)} of {len(arrays)} inputs: {names}")
    return list(session.run(None, dict(zip(names, arrays, strict=True))))


def _demand_arrays(arrays: Any) -> None:
    demand(isinstance(arrays, Mapping), f"solve returned {type(arrays).__name__}, expected a mapping of arrays")
    for name, value in arrays.items():
        good = isinstance(name, str) and isinstance(value, np.ndarray) and value.dtype.kind in "biuf"
        demand(
            good,
            f"solve returned {name!r}: {getattr(value, 'dtype', type(value).__name__)}; expected arrays of numbers, which can be stored",
        )
        demand(value.dtype.kind != "f" or np.isfinite(value).all(), f"solve returned {name!r} with NaN or infinity")
    demand(digest(dict(arrays)), "")


def _schema() -> FeatureSchema:
    ids = (Feature("user", "id", "user", vocabulary="user", size=USERS), Feature("item", "id", "item", vocabulary="item", size=ITEMS))
    return FeatureSchema(ids, "user", "item", USERS, ITEMS, {}, {}, 17)
