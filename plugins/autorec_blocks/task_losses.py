"""What several tasks of one model need: probabilities that multiply, labels that meet, and losses weighed against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn

from autorec_blocks.base import Block
from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Port, TensorSpec

__all__ = ["JointLabel", "MultiplyScores", "TaskKind", "UncertaintyWeighting"]

TaskKind = Literal["classification", "regression"]


class MultiplyScores(Block):
    """The product of probabilities: the chance of a chain of events, such as pCTCVR = pCTR · pCVR (Ma et al. 2018, equation 1).

    Logits pass through the logistic function first; probabilities are taken as they are.
    """

    class Config(ComponentConfig):
        """Options."""

        tasks: tuple[str, ...] = Field(("label",), min_length=1, description="Names of the predicted labels.")

    accepts: ClassVar[tuple[Port, ...]] = ("scores",)
    variadic: ClassVar[bool] = True
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return probabilities, one a task.

        Raises:
            ContractError: An input has another number of scores, or holds values that are no probabilities.
        """
        count = len(self.config.tasks)
        if any(len(spec.tasks) != count or spec.link not in ("logit", "probability") for spec in specs):
            told = ", ".join(f"{len(spec.tasks)} of link {spec.link}" for spec in specs)
            raise ContractError(f"multiply-scores needs {count} logits or probabilities from each input, got {told}")
        return TensorSpec("scores", specs[0].axis, width=count, tasks=self.config.tasks, link="probability")

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: scores [A, T] each to probabilities [A, T]."""
        return _MultiplyScores([spec.link == "logit" for spec in specs])


class _MultiplyScores(nn.Module):
    def __init__(self, logits: Sequence[bool]) -> None:
        super().__init__()
        self.logits = tuple(logits)

    def forward(self, *scores: torch.Tensor) -> torch.Tensor:
        parts = [torch.sigmoid(value) if logit else value for value, logit in zip(scores, self.logits, strict=True)]
        return torch.stack(parts).prod(0)


class JointLabel(Block):
    """Whether all labels are 1: their product, where one 0 settles what others leave unknown (a conversion without a click is none).

    This is the label y & z of the entire space (Ma et al. 2018, section 2.2): rows without a click have one although nobody can know
    whether they would have converted.
    """

    class Config(ComponentConfig):
        """No options."""

    accepts: ClassVar[tuple[Port, ...]] = ("vector",)
    variadic: ClassVar[bool] = True

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return labels of the same width.

        Raises:
            ContractError: The widths differ, or an input holds row indices.
        """
        if len({spec.width for spec in specs}) != 1 or any(spec.index for spec in specs):
            raise ContractError(f"joint-label takes labels of one width, got {[spec.width for spec in specs]}")
        return TensorSpec("vector", specs[0].axis, width=specs[0].width)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: labels float32 [A, D] each (NaN = unknown) to [A, D]."""
        return _JointLabel()


class _JointLabel(nn.Module):
    def forward(self, *labels: torch.Tensor) -> torch.Tensor:
        together = torch.stack(labels)
        return torch.where((together == 0).any(0), torch.zeros_like(together[0]), together.prod(0))


class UncertaintyWeighting(Block):
    """Losses weighed by a learned variance each: Σ c·exp(-s)·L + s/2 with s = log σ² (Kendall et al. 2018, equations 7 and 10).

    c is 1 for a classification and 1/2 for a regression; s starts at 0, where every weight is c.
    """

    class Config(ComponentConfig):
        """Options."""

        kinds: tuple[TaskKind, ...] = Field((), description="What each loss is of, in order; empty = all are classifications.")

    accepts: ClassVar[tuple[Port, ...]] = ("loss",)
    variadic: ClassVar[bool] = True
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a loss.

        Raises:
            ContractError: There are more or fewer kinds than losses.
        """
        if self.config.kinds and len(self.config.kinds) != len(specs):
            raise ContractError(f"uncertainty-weighting has {len(specs)} losses and {len(self.config.kinds)} kinds")
        return TensorSpec("loss")

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: losses [] each to []."""
        kinds = self.config.kinds or ("classification",) * len(specs)
        return _UncertaintyWeighting([0.5 if kind == "regression" else 1.0 for kind in kinds])


class _UncertaintyWeighting(nn.Module):
    factors: torch.Tensor

    def __init__(self, factors: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("factors", torch.tensor(factors), persistent=False)
        self.log_variances = nn.Parameter(torch.zeros(len(factors)))

    def forward(self, *losses: torch.Tensor) -> torch.Tensor:
        weights = self.factors * torch.exp(-self.log_variances)
        return (weights * torch.stack(losses) + 0.5 * self.log_variances).sum()
