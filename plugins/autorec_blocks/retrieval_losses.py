"""Losses that rank a chosen item above items not chosen; port LOSS, training only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from autorec_blocks.base import Block
from autorec_blocks.softmax_losses import Steps, real_steps
from autorec_blocks.tables import rows_of
from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Port, TensorSpec
from autorec_kernel.space import Choice, Float

__all__ = ["BprLoss", "RankingMaxLoss", "SampledBceLoss"]


class BprLoss(Block):
    """Mean of -log σ(score of the chosen item - score of an item not chosen) (Rendle et al. 2009, section 4)."""

    class Config(ComponentConfig):
        """No options."""

    accepts: ClassVar[tuple[Port, ...]] = ("vector", "vector", "fields")

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a loss.

        Raises:
            ContractError: User, item and negatives differ in width.
        """
        if len({spec.width for spec in specs}) != 1:
            raise ContractError(f"users, items and negatives must have one width, got {[spec.width for spec in specs]}")
        return TensorSpec("loss")

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: users [A, D], items [A, D], negatives [A, K, D] to []."""
        return _Bpr()


class _Bpr(nn.Module):
    def forward(self, users: torch.Tensor, items: torch.Tensor, negatives: torch.Tensor) -> torch.Tensor:
        margin = (users * items).sum(1, keepdim=True) - (users.unsqueeze(1) * negatives).sum(2)
        return functional.softplus(-margin).mean()


class RankingMaxLoss(Block):
    """Pairwise losses that weigh each shared negative by its softmax score, so that many easy ones do not hide the hard ones.

    With r the chosen item's score, r_j and s_j a negative's score and its softmax over the negatives (Hidasi and Karatzoglou 2018):
    `bpr-max` is -log Σ_j s_j σ(r - r_j) + λ Σ_j s_j r_j² (equation 11), `top1-max` is Σ_j s_j (σ(r_j - r) + σ(r_j²)) (equation 8).
    A negative that equals the chosen item is left out.
    """

    class Config(ComponentConfig):
        """Options."""

        kind: Annotated[Literal["bpr-max", "top1-max"], Choice("bpr-max", "top1-max")] = Field("bpr-max", description="Which loss.")
        regularisation: float = Field(1.0, ge=0, description="λ: weight of the squared scores of negatives (bpr-max).")

    accepts: ClassVar[tuple[Port, ...]] = ("sequence", "sequence", "table", "table")
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a loss.

        Raises:
            ContractError: The widths differ, or targets and negatives are not item rows.
        """
        return _compared(specs)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: states [A, L, D], targets int64 [A, L], items [N, D], negatives int64 [K] to []."""
        return _RankingMax(self.config.kind == "bpr-max", self.config.regularisation)


class _RankingMax(nn.Module):
    def __init__(self, pairwise: bool, regularisation: float) -> None:
        super().__init__()
        self.pairwise, self.regularisation = pairwise, regularisation

    def forward(self, states: Steps, targets: Steps, items: torch.Tensor, negatives: torch.Tensor) -> torch.Tensor:
        chosen, others, clash = _scores(states, targets, items, negatives)
        real = (~clash).to(others.dtype)
        share = torch.softmax(others.masked_fill(clash, -1e9), 1) * real
        if self.pairwise:
            won = (share * torch.sigmoid(chosen - others)).sum(1)
            losses = -torch.log(won + 1e-24) * real.amax(1) + self.regularisation * (share * others.square()).sum(1)
        else:
            losses = (share * (torch.sigmoid(others - chosen) + torch.sigmoid(others.square()))).sum(1)
        return losses.sum() / max(1, len(losses))


class SampledBceLoss(Block):
    """Chosen or not, judged item by item: cross-entropy of the chosen item and of shared negatives.

    -(β log σ(r) + Σ_j log(1 - σ(r_j))) / (K + 1). With calibration t = 0, β is 1: SASRec's loss (Kang and McAuley 2018, section 3.6). Few
    negatives make a model overconfident; t > 0 takes β = α(t(1 - 1/α) + 1/α), α = K/(N - 1) (gBCE: Petrov and Macdonald 2023, equation 12).
    A negative that equals the chosen item is left out.
    """

    class Config(ComponentConfig):
        """Options."""

        calibration: Annotated[float, Float(0.0, 1.0)] = Field(0.0, ge=0, le=1, description="t: 0 = plain, 1 = fully calibrated.")

    accepts: ClassVar[tuple[Port, ...]] = ("sequence", "sequence", "table", "table")
    config: Config

    def output(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        """Return a loss.

        Raises:
            ContractError: The widths differ, or targets and negatives are not item rows.
        """
        return _compared(specs)

    def build(self, specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray]) -> nn.Module:
        """Return the module: states [A, L, D], targets int64 [A, L], items [N, D], negatives int64 [K] to []."""
        return _SampledBce(self.config.calibration)


class _SampledBce(nn.Module):
    def __init__(self, calibration: float) -> None:
        super().__init__()
        self.calibration = calibration

    def forward(self, states: Steps, targets: Steps, items: torch.Tensor, negatives: torch.Tensor) -> torch.Tensor:
        chosen, others, clash = _scores(states, targets, items, negatives)
        rate = min(1.0, len(negatives) / max(1, len(items) - 2))
        power = rate * (self.calibration * (1 - 1 / rate) + 1 / rate)
        lost = (functional.softplus(others) * (~clash).to(others.dtype)).sum(1)
        losses = (power * functional.softplus(-chosen[:, 0]) + lost) / (len(negatives) + 1)
        return losses.sum() / max(1, len(losses))


def _scores(states: Steps, targets: Steps, items: torch.Tensor, negatives: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the chosen items' scores [P, 1], the negatives' [P, K] and bool [P, K], where a negative is the chosen item."""
    rows, wanted = real_steps(states, targets)
    chosen = (rows * rows_of(items, wanted)).sum(1, keepdim=True)
    others = rows @ rows_of(items, negatives).T
    return chosen, others, wanted.unsqueeze(1) == negatives.unsqueeze(0)


def _compared(specs: Sequence[TensorSpec]) -> TensorSpec:
    if specs[0].width != specs[2].width or specs[0].index or specs[2].index or not (specs[1].index and specs[3].index):
        raise ContractError("this loss takes states, targets as item rows, an item table as wide, and negatives as item rows")
    return TensorSpec("loss")
