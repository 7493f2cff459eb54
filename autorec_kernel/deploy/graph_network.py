"""`GraphNetwork`: an exported graph with the face of a network, so that the same code evaluates what was trained and what is served."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from autorec_kernel.deploy.export import graph_spec
from autorec_kernel.serving.graph import Graph

__all__ = ["GraphNetwork"]


class GraphNetwork:
    """Answers `serve` from onnxruntime; everything else is the network's.

    Args:
        network: The network the graph was exported from.
        graph: Serialised ONNX.
        threads: Threads of one call.
    """

    def __init__(self, network: Any, graph: bytes, *, threads: int = 1) -> None:
        self.inputs: tuple[str, ...] = tuple(network.inputs)
        self.serving_outputs: tuple[str, ...] = tuple(network.serving_outputs)
        self.lengths: dict[str, int] = dict(getattr(network, "lengths", {}))
        self.tasks: tuple[str, ...] = tuple(getattr(network, "tasks", ()))
        self._network = network
        self._graph = Graph(graph, graph_spec(network), name="graph", threads=threads)

    def serve(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the outputs for tensors in the order of `inputs`."""
        found = self._graph.run({name: tensor.numpy() for name, tensor in zip(self.inputs, tensors, strict=True)})
        return tuple(torch.from_numpy(found[name].copy()) for name in self.serving_outputs)

    def item_vectors(self) -> torch.Tensor:
        """Return what the graph holds of the items, which compressors may have changed; float32 [N, D]."""
        return torch.from_numpy(np.array(self._graph.items()))
