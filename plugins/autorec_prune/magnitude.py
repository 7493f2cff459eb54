"""`magnitude`: removes whole hidden units by the size of their weights, with every weight that depended on them (Fang et al. 2023)."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
import torch_pruning
from pydantic import Field
from torch import nn

from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.deploy import CompressionContext, NotApplicable, Target
from autorec_kernel.records.model import CompressedModel
from autorec_kernel.space import Float

__all__ = ["MagnitudePruning"]

_NARROWEST = 16  # a layer of this width or less is left alone


class MagnitudePruning:
    """Prunes hidden layers of multi-layer perceptrons and feed-forward parts; embeddings, residual widths and outputs keep theirs."""

    class Config(ComponentConfig):
        """Options."""

        sparsity: Annotated[float, Float(0.1, 0.9)] = Field(0.5, gt=0, lt=1, description="Share of hidden units removed.")
        round_to: int = Field(8, ge=1, le=4096, description="Widths left are multiples of this.")
        fine_tune: float = Field(0.4, ge=0.0, le=1.0, description="Share of a full fine-tuning after the cut.")

    form: ClassVar[Literal["module", "graph"]] = "module"

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
        _prune(pruned, inputs, self.config)
        if _parameters(pruned) >= before:
            raise NotApplicable("the dependency graph left nothing to cut: the number of parameters did not change")
        _check(pruned, inputs, shapes)
        trained = replace(model.model, module=pruned)
        if self.config.fine_tune > 0:
            trained = context.fine_tune(trained, self.config.fine_tune)
            _check(trained.module, inputs, shapes)
        return replace(model, model=trained, graph=None)


class _Forward(nn.Module):
    """The serving forward under the name that the dependency tracer calls."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return torch.cat([output.flatten(1) if output.dim() > 1 else output.unsqueeze(1) for output in self.network.serve(*inputs)], dim=1)


def _prune(network: Any, inputs: tuple[torch.Tensor, ...], config: MagnitudePruning.Config) -> None:
    hidden = _hidden_layers(network)
    kept = [module for module in network.modules() if isinstance(module, nn.Linear) and module not in hidden]
    states = [(parameter, parameter.requires_grad) for parameter in network.parameters()]
    for parameter, _ in states:
        parameter.requires_grad_(True)  # the tracer follows gradients
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pruner = torch_pruning.pruner.BasePruner(
            _Forward(network),
            inputs,
            importance=torch_pruning.importance.MagnitudeImportance(p=2),
            pruning_ratio=config.sparsity,
            round_to=config.round_to,
            ignored_layers=kept,
            root_module_types=[nn.Linear],
        )
        pruner.step()
    for parameter in network.parameters():
        parameter.requires_grad_(True)


def _hidden_layers(network: nn.Module) -> list[nn.Linear]:
    """Return the layers of every sequential stack whose output only the next layer of the same stack reads."""
    found: list[nn.Linear] = []
    for stack in network.modules():
        if isinstance(stack, nn.Sequential):
            layers = [layer for layer in stack if isinstance(layer, nn.Linear)]
            found += [layer for layer in layers[:-1] if layer.out_features > _NARROWEST]
    return found


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
