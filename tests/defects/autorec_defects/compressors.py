"""Structured pruning of two-layer towers, done well and in three ways that touch the model it was handed."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import nn

from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.deploy import CompressionContext, NotApplicable, Target
from autorec_kernel.records.model import CompressedModel


class Narrower:
    """Drops the hidden units with the smallest weights."""

    class Config(ComponentConfig):
        """Options."""

        keep: float = Field(0.5, gt=0, lt=1, description="Share of hidden units kept.")

    form: ClassVar[Literal["module", "graph"]] = "module"

    def __init__(self, config: Config) -> None:
        self.config = config

    def propose(self, model: CompressedModel, target: Target) -> Iterable[ComponentConfig]:
        yield self.Config()

    def compress(self, model: CompressedModel, context: CompressionContext) -> CompressedModel:
        copied = self.copied(model.model.module)
        towers = [part for part in copied.modules() if isinstance(part, nn.Sequential) and _is_tower(part)]
        if not towers:
            raise NotApplicable("there is no two-layer tower")
        for tower in towers:
            self.narrow(tower)
        return replace(model, model=replace(model.model, module=copied.eval()))

    def copied(self, module: Any) -> Any:
        return copy.deepcopy(module)

    @torch.no_grad()
    def narrow(self, tower: nn.Sequential) -> None:
        first, second = tower[0], tower[2]
        kept = first.weight.abs().sum(1).argsort(descending=True)[: max(1, int(self.config.keep * len(first.weight)))].sort().values
        small, after = nn.Linear(first.in_features, len(kept)), nn.Linear(len(kept), second.out_features)
        small.weight = nn.Parameter(first.weight[kept].clone())
        small.bias = nn.Parameter(first.bias[kept].clone())
        after.weight = nn.Parameter(second.weight[:, kept].clone())
        after.bias = nn.Parameter(second.bias.clone())
        tower[0], tower[2] = small, after


class ZeroesInput(Narrower):
    """DEFECT (changed input model): zeroes tiny weights before it copies."""

    def copied(self, module: Any) -> Any:
        with torch.no_grad():
            for parameter in module.parameters():
                parameter[parameter.abs() < 1e-3] = 0.0
        return super().copied(module)


class SharesTables(Narrower):
    """DEFECT (changed input model): copies all but the embedding tables, which both models then train."""

    def copied(self, module: Any) -> Any:
        return copy.deepcopy(module, {id(store): store for store in module.stores.values()})


class LeavesTraining(Narrower):
    """DEFECT (changed input model): switches the model to train mode to look at it, and forgets to switch back."""

    def copied(self, module: Any) -> Any:
        found = super().copied(module)
        module.train()
        return found


def _is_tower(part: nn.Sequential) -> bool:
    return len(part) >= 3 and isinstance(part[0], nn.Linear) and isinstance(part[2], nn.Linear)
