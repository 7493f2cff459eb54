"""`magnitude`: removes whole hidden units by the size of their weights, with every weight that depended on them (Fang et al. 2023)."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal, TypeGuard

import numpy as np
import torch
import torch_pruning
from pydantic import Field
from torch import nn

from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.deploy import CompressionContext, NotApplicable, Target
from autorec_kernel.records.model import CompressedModel
from autorec_kernel.space import Float
from autorec_prune.channels import Channels, is_by_unit, of_units

__all__ = ["MagnitudePruning"]

_NARROWEST = 16  # a layer of this width or less is left alone
_KNOWN = (nn.LayerNorm, nn.BatchNorm1d)  # read several units or hold counters, and shrink all the same


class MagnitudePruning:
    """Prunes hidden layers of multi-layer perceptrons and feed-forward parts; embeddings, residual widths and outputs keep theirs."""

    class Config(ComponentConfig):
        """Options."""

        sparsity: Annotated[float, Float(0.1, 0.9)] = Field(0.5, gt=0, lt=1, description="Share of hidden units removed.")
        round_to: int = Field(8, ge=1, le=4096, description="Widths left are multiples of this.")
        fine_tune: float = Field(0.4, ge=0.0, le=1.0, description="Share of a full fine-tuning after the cut.")

    form: ClassVar[Literal["module", "graph"]] = "module"
    place: ClassVar[int] = 2

    def __init__(self, config: Config) -> None:
        self.config = config

    def propose(self, model: CompressedModel, target: Target) -> Iterable[ComponentConfig]:
        """Yield a mild and a hard cut where the network has hidden layers."""
        if _hidden_layers(model.model.module):
            yield self.config
            yield self.config.model_copy(update={"sparsity": 0.75})

    def compress(self, model: CompressedModel, context: CompressionContext) -> CompressedModel:
        """Return a pruned and fine-tuned copy without a graph; the given network stays as it is.

        Raises:
            NotApplicable: There is no hidden layer, the cut changed nothing, or the network no longer gives its shapes.
        """
        original = model.model.module
        if not _hidden_layers(original):
            raise NotApplicable(f"the network has no hidden layer wider than {_NARROWEST}")
        inputs = _tensors(original, context.sample)
        pruned = copy.deepcopy(original).eval()
        before, shapes = _parameters(pruned), _shapes(pruned, inputs)
        _prune(pruned, self.config)
        if _parameters(pruned) >= before:
            raise NotApplicable("the dependency graph left nothing to cut: the number of parameters did not change")
        _check(pruned, inputs, shapes)
        trained = replace(model.model, module=pruned)
        if self.config.fine_tune > 0:
            trained = context.fine_tune(trained, self.config.fine_tune)
            _check(trained.module, inputs, shapes)
        return replace(model, model=trained, graph=None)


def _prune(network: nn.Module, config: MagnitudePruning.Config) -> None:
    for parameter in network.parameters():
        parameter.requires_grad_(True)  # the tracer follows gradients
    for layers, hidden in _stacks(network):
        _prune_stack(layers, hidden, config)
    for parameter in network.parameters():
        parameter.requires_grad_(True)


def _prune_stack(layers: list[nn.Module], hidden: list[nn.Linear], config: MagnitudePruning.Config) -> None:
    """Prune one stack by itself: what surrounds it, look-ups and joins included, never meets the tracer; its two ends keep their width."""
    first = next(layer for layer in layers if isinstance(layer, nn.Linear))
    kept = [layer for layer in layers if isinstance(layer, nn.Linear) and layer not in hidden]
    own = {type(layer): Channels() for layer in layers if not type(layer).__module__.startswith("torch.") and of_units(layer)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pruner = torch_pruning.pruner.BasePruner(
            nn.Sequential(*layers),
            torch.zeros(2, first.in_features),
            importance=torch_pruning.importance.MagnitudeImportance(p=2),
            pruning_ratio=config.sparsity,
            round_to=config.round_to,
            ignored_layers=kept,
            customized_pruners=own,
            root_module_types=[nn.Linear],
        )
        pruner.step()


def _hidden_layers(network: nn.Module) -> list[nn.Linear]:
    """Return the layers of every sequential stack whose output only the next layer of the same stack reads."""
    return [layer for _, hidden in _stacks(network) for layer in hidden]


def _stacks(network: nn.Module) -> Iterator[tuple[list[nn.Module], list[nn.Linear]]]:
    """Yield (its modules, from the first affine layer to the last; those of its hidden layers that can shrink) of each sequential stack."""
    for stack in network.modules():
        parts = list(stack) if isinstance(stack, nn.Sequential) else []
        places = [place for place, part in enumerate(parts) if isinstance(part, nn.Linear)]
        hidden = [layer for start, end in pairwise(places) if _may_shrink(layer := parts[start], parts[start + 1 : end])]
        if hidden:
            yield parts[places[0] : places[-1] + 1], hidden


def _may_shrink(layer: nn.Module, between: list[nn.Module]) -> TypeGuard[nn.Linear]:
    """Return whether a layer is wide, and what follows it either works unit by unit or is known to torch-pruning."""
    width = layer.out_features if isinstance(layer, nn.Linear) else 0
    return width > _NARROWEST and all(isinstance(part, _KNOWN) or is_by_unit(part, width) for part in between)


def _tensors(network: Any, sample: Mapping[str, np.ndarray]) -> tuple[torch.Tensor, ...]:
    kinds = {name: np.int64 if sample[name].dtype.kind in "iu" else np.float32 for name in network.inputs}
    return tuple(torch.from_numpy(np.array(sample[name], dtype=kinds[name])) for name in network.inputs)


def _parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _shapes(network: Any, inputs: tuple[torch.Tensor, ...]) -> list[torch.Size]:
    with torch.no_grad():
        return [output.shape for output in network.serve(*inputs)]


def _check(network: Any, inputs: tuple[torch.Tensor, ...], shapes: list[torch.Size]) -> None:
    try:
        found = _shapes(network, inputs)
    except RuntimeError as error:
        raise NotApplicable(f"the pruned network no longer runs: {str(error)[:200]}") from error
    if found != shapes:
        raise NotApplicable(f"the pruned network gives {found} instead of {shapes}")
