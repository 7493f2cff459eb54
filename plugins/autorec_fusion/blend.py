"""The weighted sum of several retrievers' scores, each brought to one scale, user by user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import nn

from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Port, TensorSpec

__all__ = ["BlendScores"]

_FLAT = 1e-12  # variance, where the largest score is 1, below which the scores of a row say nothing
_BLOCK = 128  # scores added up at a time
_TINY = 1e-30  # largest score below which a row has none


class BlendScores:
    """Σ_k w_k (s_k - μ_k) / σ_k over scores of one catalogue, μ_k and σ_k the mean and deviation of the row's scores of all items.

    It is the sum of metasearch (CombSUM, Fox and Shaw 1994) after the normalisation ZMUV (Montague and Aslam 2001): what two
    models call a large score has to mean the same before they are added. Row 0 is no item, so it counts in neither. Scores that are all 0
    (a history that a closed form knows nothing of) add nothing. Logits of a softmax have a meaning of their own, and can be left as they
    are: added to them, the others shift log-probabilities, as in a product of experts (Hinton 2002).
    """

    class Config(ComponentConfig):
        """Options."""

        weights: tuple[float, ...] = Field((), description="Weight of each input, in their order; none = all weigh 1.")
        standardise: tuple[bool, ...] = Field(
            (), description="Which inputs are brought to mean 0 and deviation 1 in each row first, in their order; none = all."
        )

    accepts: ClassVar[tuple[Port, ...]] = ("scores",)
    variadic: ClassVar[bool] = True
    arrays: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: Config) -> None:
        self.config = config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return catalogue scores.

        Raises:
            ContractError: The inputs are no scores of one catalogue, or the weights are not one an input.
        """
        rows = {spec.rows for spec in specs}
        if len(rows) != 1 or rows == {0}:
            raise ContractError(f"blend-scores adds scores of one catalogue, got catalogues of {sorted(rows)} rows")
        for name in ("weights", "standardise"):
            given = len(getattr(self.config, name))
            if given not in (0, len(specs)):
                raise ContractError(f"blend-scores has {len(specs)} inputs, and {name} {given} values: give one an input, or none")
        return TensorSpec("scores", specs[0].axis, width=specs[0].rows, rows=specs[0].rows, link="value")

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: scores [A, N] each to [A, N]."""
        return _Blend(self.config.weights or (1.0,) * len(specs), self.config.standardise or (True,) * len(specs))


class _Blend(nn.Module):
    def __init__(self, weights: Sequence[float], standardise: Sequence[bool]) -> None:
        super().__init__()
        self.weights, self.standardise = tuple(weights), tuple(standardise)

    def forward(self, *scores: torch.Tensor) -> torch.Tensor:
        scaled = [_standardised(values) if wanted else values for wanted, values in zip(self.standardise, scores, strict=True)]
        total = self.weights[0] * scaled[0]
        for weight, values in zip(self.weights[1:], scaled[1:], strict=True):
            total = total + weight * values
        return total


def _standardised(scores: torch.Tensor) -> torch.Tensor:
    """Return float32 [A, N] with mean 0 and deviation 1 over the items 1 to N - 1 of each row; zeros where these are all 0."""
    largest = scores[:, 1:].abs().amax(1, keepdim=True).clamp(min=_TINY)
    scores = scores / largest  # so that a closed form with small numbers is no flat one
    centred = scores - _mean(scores[:, 1:])
    variance = _mean(centred[:, 1:].square())
    return centred * torch.rsqrt(variance.clamp(min=_FLAT))  # a sum with so small a number is taken for one with 0 by the exporter


def _mean(values: torch.Tensor) -> torch.Tensor:
    """Return float32 [A, 1] of [A, M], summed in blocks: a sum of many thousands in one go is off at the fifth digit in onnxruntime."""
    count = values.shape[1]
    blocks: torch.Tensor = nn.functional.pad(values, (0, -count % _BLOCK)).reshape(-1, -(-count // _BLOCK), _BLOCK)
    return blocks.sum(2).sum(1, keepdim=True) / count
