"""Defects of networks that blueprints decode to, each caught by the law it breaks."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch

from autorec_kernel.config import ComponentConfig
from autorec_kernel.records.architecture import Architecture, Node, Port, TensorSpec
from autorec_kernel.testing.checks.blueprint_networks import check_network_survives_storage, check_padding_changes_no_answer
from autorec_kernel.testing.host import host
from autorec_kernel.testing.violation import Violation


class _Pool:
    """The mean over real steps."""

    Config = ComponentConfig
    accepts: ClassVar[tuple[Port, ...]] = ("sequence",)
    variadic: ClassVar[bool] = False
    arrays: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: Any) -> None:
        self.config = config

    def output(self, specs: Any) -> TensorSpec:
        return TensorSpec("vector", specs[0].axis, width=specs[0].width)

    def build(self, specs: Any, arrays: Any) -> torch.nn.Module:
        return _Mean()


class _Mean(torch.nn.Module):
    def forward(self, value: Any) -> torch.Tensor:
        steps, mask = value
        return steps.sum(1) / mask.sum(1, keepdim=True).clamp(min=1)


class _ReadsPadding(_Pool):
    def build(self, specs: Any, arrays: Any) -> torch.nn.Module:
        class Module(torch.nn.Module):
            def forward(self, value: Any) -> torch.Tensor:
                return value[0].mean(1)

        return Module()


class _ForgetsItsShift(_Pool):
    def build(self, specs: Any, arrays: Any) -> torch.nn.Module:
        class Module(_Mean):
            def __init__(self) -> None:
                super().__init__()
                self.shift = torch.randn(()).item()  # neither a parameter nor a buffer

            def forward(self, value: Any) -> torch.Tensor:
                return super().forward(value) + self.shift

        return Module()


class _Blueprint:
    Config = ComponentConfig
    role: ClassVar[str] = "ranker"
    tasks: ClassVar[tuple[str, ...]] = ("click",)

    def __init__(self, config: Any) -> None:
        self.config = config

    def architecture(self, features: Any) -> Architecture:
        nodes = (
            Node("history", "@history", config={"columns": ["history"], "width": 4}),
            Node("mean", "test/pool", ("history",)),
            Node("score", "blocks/head", ("mean",), {"tasks": ["rating"], "link": "logit"}),
        )
        return Architecture(nodes, {"rating": "score"})


class _With:
    """The installed kernel with one more block."""

    def __init__(self, pool: type[_Pool]) -> None:
        self.pool = pool

    def create(self, kind: str, name: str, /, **config: Any) -> Any:
        return self.pool(None) if name == "test/pool" else host(None).create(kind, name, **config)

    def __getattr__(self, name: str) -> Any:
        return getattr(host(None), name)


@pytest.mark.parametrize("check", [check_network_survives_storage, check_padding_changes_no_answer])
def test_a_sound_network_keeps_the_laws(check: Any) -> None:
    check(_Blueprint, None, _With(_Pool))


@pytest.mark.parametrize(
    ("defect", "check"), [(_ReadsPadding, check_padding_changes_no_answer), (_ForgetsItsShift, check_network_survives_storage)]
)
def test_a_defect_of_a_network_is_caught(defect: Any, check: Any) -> None:
    with pytest.raises(Violation):
        check(_Blueprint, None, _With(defect))
