"""Networks of blueprints on the tiny data set: built, trained a few steps, asked (torch)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

import numpy as np
import torch

from autorec_kernel.errors import ContractError
from autorec_kernel.testing.model_cases import features_for

__all__ = ["answers", "batches", "network_for", "suited", "train_steps", "widened"]


def suited(blueprint: Any, kernel: Any) -> tuple[str, Any] | None:
    """Return the first of the blueprint's tasks with tiny data that suits it, and that feature set; None when there is none."""
    for task in blueprint.tasks:
        for further in (False, True):
            features = features_for(kernel, task, further=further)
            try:
                blueprint.architecture(features.schema)
            except ContractError:
                continue
            return task, features
    return None


def network_for(blueprint: Any, features: Any, kernel: Any, seed: int = 0) -> Any:
    """Return the network, closed forms solved, in training mode."""
    from autorec_kernel.models import Entities, build_network, solve_blocks

    graph = blueprint.architecture(features.schema)
    arrays = solve_blocks(graph, features, kernel, seed=np.random.SeedSequence(0))
    return build_network(graph, features.schema, kernel, arrays, seed).attach(Entities(features)).train()


def batches(network: Any, features: Any, size: int, count: int) -> list[Mapping[str, torch.Tensor]]:
    """Return the first `count` training batches, the same ones each time."""
    from autorec_kernel.models.batching import batches_for

    return list(islice(batches_for(network, features, size).epoch(np.random.default_rng(0)), count))


def train_steps(
    network: Any, given: list[Mapping[str, torch.Tensor]], steps: int, learning_rate: float = 0.01, seed: int = 3
) -> list[float]:
    """Take gradient steps through the batches in turn, and return the loss before each; nothing happens without parameters."""
    learned = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if not learned:
        return []
    optimizer, losses = torch.optim.Adam(learned, lr=learning_rate), []
    network.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for step in range(steps):
            optimizer.zero_grad(set_to_none=True)
            loss = network.loss(given[step % len(given)])
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
    return losses


def answers(network: Any, features: Any, rows: int = 17, padding: int = 0) -> list[np.ndarray]:
    """Return what the network serves for a few rows, and its item vectors where it has some.

    Args:
        padding: Columns of padding added behind every bag and history.
    """
    from autorec_kernel.models.batches import to_tensors

    inputs = features.row_inputs(network.inputs, features.rows("valid")[:rows])
    tensors = to_tensors(widened(inputs, features.schema, padding), "cpu")
    network.eval()
    with torch.no_grad():
        found = [value.numpy().copy() for value in network.serve(*(tensors[name] for name in network.inputs))]
        return [*found, *([network.item_vectors().numpy().copy()] if network.serving_outputs == ("user",) else [])]


def widened(inputs: Mapping[str, np.ndarray], schema: Any, columns: int) -> dict[str, np.ndarray]:
    """Return the inputs with more padding behind bags and histories."""
    ragged = {feature.name for feature in schema.of("bag", "history")}
    return {name: np.pad(value, ((0, 0), (0, columns))) if name in ragged else value for name, value in inputs.items()}
