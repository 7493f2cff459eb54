"""`Rerank`: a score for every shortlisted item, by its own view of the history and by what the closed forms say of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import nn

from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.models import linear
from autorec_kernel.records.architecture import Port, TensorSpec
from autorec_kernel.space import Float, Int, Ints

__all__ = ["Rerank"]

Steps = tuple[torch.Tensor, torch.Tensor]
_FLAT = 1e-12  # variance, where the largest score of a list is 1, below which the scores say nothing
_TINY = 1e-30
_FIRST = 0.01  # standard deviation of the last layer's first weights


class Rerank:
    """Σ_m w_m z_m + f(c, i, c ∘ i, c ∘ u, z): what M closed forms say of a candidate, and a perceptron f that starts from little.

    c is the candidate's vector, u the user's, and i the candidate's own view of the history: its steps weighed by a softmax of
    c · W h / √D - a log(1 + age), age 0 the newest (target attention as DIN and DIEN have it; Zhou et al. 2018, 2019), and zeros for an
    empty history. z_m are a closed form's scores of the candidates, brought to mean 0 and deviation 1 over the list. The last layer of f
    begins near 0 and so do the weights of all forms but the first, at 0: training begins with the order of the first one. It is stacked
    (Wolpert 1992): the scores it learns from are of events that the closed forms were solved without.
    """

    class Config(ComponentConfig):
        """Options."""

        hidden_dims: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Ints(Int(8, 128, log=True), length=Int(1, 2))] = Field(
            (64, 32), min_length=1, description="Layers of the perceptron."
        )
        dropout: Annotated[float, Float(0.0, 0.6), Field(ge=0, lt=1)] = Field(0.2, description="Share of units dropped while training.")
        ordered: bool = Field(True, description="Whether the order of the history is known; without one no step fades.")

    accepts: ClassVar[tuple[Port, ...]] = ("fields", "sequence", "vector", "fields", "scores")
    variadic: ClassVar[bool] = True
    arrays: ClassVar[tuple[str, ...]] = ()
    stacked: ClassVar[bool] = True

    def __init__(self, config: Config) -> None:
        self.config = config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a vector, one number a candidate.

        Raises:
            ContractError: Candidates, steps and user differ in width, rows are not one a candidate, or scores are no catalogue's.
        """
        candidates, steps, user, rows, *scores = specs
        if candidates.index or steps.index or user.index or not candidates.width == steps.width == user.width:
            widths = [candidates.width, steps.width, user.width]
            raise ContractError(f"rerank compares candidates, steps and a user in vectors of one width, got {widths}")
        if not rows.index or rows.fields != candidates.fields or any(one.rows != rows.rows or not one.rows for one in scores):
            raise ContractError(
                "rerank reads the candidates' item rows, one a candidate, and scores of the catalogue which they are rows of"
            )
        return TensorSpec("vector", candidates.axis, width=candidates.fields)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: [A, K, D], [A, L, D] with its mask, [A, D], int64 [A, K] and scores [A, N] each to [A, K]."""
        return _Rerank(specs[0].width, len(specs) - 4, self.config)


class _Rerank(nn.Module):
    def __init__(self, width: int, forms: int, config: Rerank.Config) -> None:
        super().__init__()
        self.ordered = config.ordered
        self.attention = nn.Linear(width, width, bias=False)
        self.fade = nn.Parameter(torch.tensor([0.5])) if config.ordered else None
        self.weights = nn.Parameter(torch.tensor([1.0] + [0.0] * (forms - 1)))
        sizes = (4 * width + forms, *config.hidden_dims)
        layers = [part for one, other in pairwise(sizes) for part in (nn.Linear(one, other), nn.ReLU(), nn.Dropout(config.dropout))]
        last = nn.Linear(sizes[-1], 1, bias=False)  # one number more for all candidates changes no order and no softmax
        nn.init.normal_(last.weight, 0.0, _FIRST)
        self.network = nn.Sequential(*layers, last)

    def forward(self, *values: Any) -> torch.Tensor:  # an export counts inputs of any number as one
        candidates, history, user, rows, *scores = values
        interest = self._interest(candidates, *history)
        said = torch.stack([_standardised(one.gather(1, rows)) for one in scores], 2)
        seen = [candidates, interest, candidates * interest, candidates * user.unsqueeze(1), said]
        found: torch.Tensor = (said * self.weights).sum(2) + self.network(torch.cat(seen, 2)).squeeze(2)
        return found

    def _interest(self, candidates: torch.Tensor, steps: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return float32 [A, K, D], the history as each candidate sees it."""
        steps = steps.masked_fill(~mask.unsqueeze(2), 0.0)
        fits = linear(candidates, self.attention.weight) @ steps.transpose(1, 2) / math.sqrt(steps.shape[2])
        real = mask.to(steps.dtype)
        if self.fade is not None:
            age = real.sum(1, keepdim=True) - real.cumsum(1)
            fits = fits - (self.fade * torch.log1p(age.clamp(min=0.0))).unsqueeze(1)
        seen: torch.Tensor = torch.softmax(fits.masked_fill(~mask.unsqueeze(1), -1e9), 2) @ steps
        return seen


def _standardised(scores: torch.Tensor) -> torch.Tensor:
    """Return float32 [A, K] with mean 0 and deviation 1 in each row; zeros where all are alike."""
    largest = scores.abs().amax(1, keepdim=True).clamp(min=_TINY)
    scores = scores / largest
    centred = scores - scores.mean(1, keepdim=True)
    return centred * torch.rsqrt(centred.square().mean(1, keepdim=True).clamp(min=_FLAT))
