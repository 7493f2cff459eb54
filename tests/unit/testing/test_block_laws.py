"""Defects of blocks that hide well, each caught by the law it breaks; the sound block beside them passes everything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from pydantic import Field
from torch import nn

from autorec_kernel.config import ComponentConfig
from autorec_kernel.records.architecture import Port, TensorSpec
from autorec_kernel.testing import ModelBlockContract, Violation
from autorec_kernel.testing.checks import block_learning, block_shapes, block_storage


class Layer(nn.Module):
    """Reads a history: mean of the real steps, then one layer."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.layer = nn.Linear(width, out)

    def pool(self, steps: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        real = mask.unsqueeze(-1).to(steps.dtype)
        return (steps * real).sum(1) / real.sum(1).clamp(min=1.0)

    def forward(self, value: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return self.layer(self.pool(*value))


class Sound:
    class Config(ComponentConfig):
        width: int = Field(3, description="Output dimension.")

    accepts: ClassVar[tuple[Port, ...]] = ("sequence",)
    variadic: ClassVar[bool] = False
    arrays: ClassVar[tuple[str, ...]] = ()
    module: ClassVar[type[Layer]] = Layer

    def __init__(self, config: Config) -> None:
        self.config = config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        return TensorSpec("vector", specs[0].axis, width=self.config.width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        return self.module(specs[0].width, self.config.width)


class TestSound(ModelBlockContract):
    component = Sound
    configs = (Sound.Config(), Sound.Config(width=1))


class _BatchMates(Layer):
    def forward(self, value: Any) -> torch.Tensor:
        found = super().forward(value)
        return found - found.mean(0, keepdim=True)


class _CountsPadding(Layer):
    def pool(self, steps: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return steps.mean(1)


class _EmptyIsNan(Layer):
    def pool(self, steps: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        weights = torch.softmax(steps.sum(-1).masked_fill(~mask, float("-inf")), 1)
        return (steps * weights.unsqueeze(-1)).sum(1)


class _NoisyEval(Layer):
    def forward(self, value: Any) -> torch.Tensor:
        return nn.functional.dropout(super().forward(value), 0.5, training=True)


class _DriftsInEval(Layer):
    def __init__(self, width: int, out: int) -> None:
        super().__init__(width, out)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, value: Any) -> torch.Tensor:
        self.seen += 1
        return super().forward(value)


class _Branches(Layer):
    def forward(self, value: Any) -> torch.Tensor:
        found = super().forward(value)
        return found * 2 if float(found.sum()) > 0 else found


class _HalfUsed(Layer):
    def __init__(self, width: int, out: int) -> None:
        super().__init__(width, 2 * out)

    def forward(self, value: Any) -> torch.Tensor:
        found = super().forward(value)
        return found[:, : found.shape[1] // 2]


class _Frozen(Layer):
    def __init__(self, width: int, out: int) -> None:
        super().__init__(width, out)
        self.scale = nn.Parameter(torch.ones(out), requires_grad=False)

    def forward(self, value: Any) -> torch.Tensor:
        return super().forward(value) * self.scale


class _DeafToInput(Layer):
    def pool(self, steps: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return super().pool(steps.detach(), mask)


class _Doubles(Layer):
    def forward(self, value: Any) -> torch.Tensor:
        return super().forward(value).double()


_MODULES = (
    (_BatchMates, block_shapes.check_rows_are_independent),
    (_CountsPadding, block_shapes.check_padding_changes_nothing),
    (_EmptyIsNan, block_shapes.check_values_are_finite),
    (_NoisyEval, block_shapes.check_eval_is_deterministic),
    (_DriftsInEval, block_shapes.check_eval_is_deterministic),
    (_Doubles, block_shapes.check_module_gives_what_output_says),
    (_Branches, block_storage.check_exports_to_onnx),
    (_HalfUsed, block_learning.check_gradient_reaches_every_parameter),
    (_Frozen, block_learning.check_gradient_reaches_every_parameter),
    (_DeafToInput, block_learning.check_gradient_reaches_every_input),
)


@pytest.mark.parametrize(("module", "check"), _MODULES, ids=[module.__name__ for module, _ in _MODULES])
def test_a_hidden_defect_of_a_module_is_caught(module: type[Layer], check: Any) -> None:
    defect = type("Defect", (Sound,), {"module": module})
    with pytest.raises(Violation):
        check(defect, Sound.Config())


class _SharesModule(Sound):
    kept: ClassVar[dict[int, nn.Module]] = {}

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        return self.kept.setdefault(specs[0].width, super().build(specs, arrays))


class _Allocates(Sound):
    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        return TensorSpec("vector", specs[0].axis, width=nn.Linear(specs[0].width, self.config.width).out_features)


class _RefusesEverything(Sound):
    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        raise KeyError("width")


class _WithWords(Layer):
    def get_extra_state(self) -> Any:
        return {"words": ["a"]}


class _PlainArrays(Sound):
    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        return _WithWords(specs[0].width, self.config.width)


_BLOCKS = (
    (_SharesModule, block_shapes.check_eval_is_deterministic),
    (_Allocates, block_shapes.check_output_allocates_nothing),
    (_RefusesEverything, block_shapes.check_module_gives_what_output_says),
    (_PlainArrays, block_storage.check_state_survives_safetensors),
)


@pytest.mark.parametrize(("defect", "check"), _BLOCKS, ids=[defect.__name__ for defect, _ in _BLOCKS])
def test_a_hidden_defect_of_a_block_is_caught(defect: type[Sound], check: Any) -> None:
    with pytest.raises(Violation):
        check(defect, Sound.Config())


class Counted(Sound):
    """A closed form: the popularity of items as a table."""

    accepts: ClassVar[tuple[Port, ...]] = ("table",)
    arrays: ClassVar[tuple[str, ...]] = ("interactions",)

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        return TensorSpec("table", "item", width=1, rows=specs[0].rows)

    def solve(self, specs: Sequence[TensorSpec], arrays: Mapping[str, Any], rng: np.random.Generator) -> Mapping[str, np.ndarray]:
        counts = np.bincount(arrays["interactions"].items, minlength=specs[0].rows)
        return {"counts": counts[:, None].astype(np.float32)}

    def seconds(self, specs: Sequence[TensorSpec], schema: Any) -> float:
        return 0.0

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        return _Table(arrays["counts"])


class _Table(nn.Module):
    def __init__(self, counts: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("counts", torch.from_numpy(np.array(counts)))

    def forward(self, table: torch.Tensor) -> torch.Tensor:
        return self.counts  # type: ignore[return-value]


class TestCounted(ModelBlockContract):
    component = Counted


class _SortsInteractions(Counted):
    def solve(self, specs: Sequence[TensorSpec], arrays: Mapping[str, Any], rng: np.random.Generator) -> Mapping[str, np.ndarray]:
        arrays["interactions"].items.sort()
        return super().solve(specs, arrays, rng)


class _OwnDice(Counted):
    def solve(self, specs: Sequence[TensorSpec], arrays: Mapping[str, Any], rng: np.random.Generator) -> Mapping[str, np.ndarray]:
        return {"counts": np.random.default_rng().random((specs[0].rows, 1), np.float32)}


class _Objects(Counted):
    def solve(self, specs: Sequence[TensorSpec], arrays: Mapping[str, Any], rng: np.random.Generator) -> Mapping[str, np.ndarray]:
        return {**super().solve(specs, arrays, rng), "words": np.array(["a", None], dtype=object)}


@pytest.mark.parametrize("defect", [_SortsInteractions, _OwnDice, _Objects])
def test_a_defect_of_a_closed_form_is_caught(defect: type[Counted]) -> None:
    with pytest.raises(Violation):
        block_storage.check_solve_is_deterministic(defect, Counted.Config())
