"""A searched option that changes nothing is caught; one that shows only in training, or beside another option, is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
import pytest
import torch
from pydantic import Field
from torch import nn

from autorec_kernel.config import ComponentConfig
from autorec_kernel.records.architecture import Port, TensorSpec
from autorec_kernel.space import Bool, Choice, Float, Int
from autorec_kernel.testing import Violation
from autorec_kernel.testing.checks import block_options


class Options(ComponentConfig):
    """One option of every sort that can be alive."""

    width: Annotated[int, Int(2, 6)] = Field(3, description="Output dimension.")
    dropout: Annotated[float, Float(0.0, 0.6)] = Field(0.0, description="Share of units dropped while training.")
    gated: Annotated[bool, Bool()] = Field(False, description="Multiply by a gate.")
    slope: Annotated[float, Float(0.5, 2.0)] = Field(1.0, description="Steepness of the gate, when there is one.")


class Layer(nn.Module):
    def __init__(self, width: int, config: Any) -> None:
        super().__init__()
        self.config = config
        self.layer = nn.Linear(width, config.width)
        nn.init.zeros_(self.layer.weight)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        found = nn.functional.dropout(self.layer(value), self.config.dropout, self.training)
        return found * torch.sigmoid(found * self.config.slope) if self.config.gated else found


class Sound:
    Config: ClassVar[type[ComponentConfig]] = Options
    accepts: ClassVar[tuple[Port, ...]] = ("vector",)
    variadic: ClassVar[bool] = False
    arrays: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: Any) -> None:
        self.config = config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        return TensorSpec("vector", specs[0].axis, width=self.config.width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        return Layer(specs[0].width, self.config)


class _DeadNumber(Options):
    momentum: Annotated[float, Float(0.1, 0.9)] = Field(0.5, description="Nobody reads it.")


class _DeadChoice(Options):
    flavour: Annotated[str, Choice("plain", "spicy", "sour")] = Field("plain", description="Nobody reads it.")


class _DeadCount(Options):
    neighbours: Annotated[int, Int(20, 400, log=True)] = Field(50, description="Nobody reads it.")


def test_options_that_matter_raise_no_alarm() -> None:
    block_options.check_options_matter(Sound, Options())


@pytest.mark.parametrize(("options", "name"), [(_DeadNumber, "momentum"), (_DeadChoice, "flavour"), (_DeadCount, "neighbours")])
def test_an_option_that_changes_nothing_is_caught(options: Any, name: str) -> None:
    with pytest.raises(Violation, match=f"option '{name}' changes nothing"):
        block_options.check_options_matter(type("Dead", (Sound,), {"Config": options}), options())


def test_an_option_that_changes_a_solved_array_only_matters() -> None:
    class Config(ComponentConfig):
        ridge: Annotated[float, Float(1.0, 9.0)] = Field(2.0, description="Penalty.")

    class Solving(Sound):
        arrays: ClassVar[tuple[str, ...]] = ("interactions",)

        def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
            return specs[0]

        def solve(self, specs: Any, arrays: Any, rng: Any) -> dict[str, np.ndarray]:
            return {"ridge": np.asarray([self.config.ridge])}

        def build(self, specs: Any, arrays: Any) -> nn.Module:
            return nn.Identity()

    Solving.Config = Config
    block_options.check_options_matter(Solving, Config())
