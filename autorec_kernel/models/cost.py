"""What a candidate costs, known before it is trained: exact parameters and bytes, latency and training time from a device profile."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from autorec_kernel.contracts.models import SolvingBlock
from autorec_kernel.features.stacked import RERANK_SHARE
from autorec_kernel.models.batches import to_tensors
from autorec_kernel.models.entities import BlankEntities
from autorec_kernel.models.network import Network, build_network
from autorec_kernel.models.sources import LABEL, NEGATIVES, TARGET
from autorec_kernel.models.specs import adapted_specs, infer_specs, make_blocks
from autorec_kernel.models.stacking import solved_twice
from autorec_kernel.models.unsolved import Unsolved
from autorec_kernel.records.architecture import Architecture
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.records.trial import Cost

if TYPE_CHECKING:
    from autorec_kernel.kernel import Kernel

__all__ = ["DeviceProfile", "estimate_cost", "solving_seconds"]

_STEPS = 20  # history length assumed for an unbounded history
_PROBE = 64  # rows of the probe batch
_SPREAD_US = 0.008  # gathering one neighbour and adding it to its score
_OPERATORS = 6  # operators of the runtime that a block becomes, on average


@dataclass(frozen=True, slots=True)
class DeviceProfile:
    """Constants that predict latency and training time; stored in the run, so that predictions are reproducible.

    Args:
        floor_us: Cost of one call of the runtime.
        node_us: Cost of one small operator.
        gflops: Dense float32 speed of one core.
        gbytes: Memory read speed of one core, GB/s.
        step_us: Overhead of one training step.
    """

    floor_us: float = 7.4
    node_us: float = 0.4
    gflops: float = 40.0
    gbytes: float = 10.0
    step_us: float = 1500.0

    def to_json(self) -> dict[str, float]:
        """Return plain JSON values."""
        return asdict(self)


def solving_seconds(architecture: Architecture, features: FeatureSchema, kernel: Kernel) -> float:
    """Return the predicted time of all closed forms of a graph (s, one thread); nothing is allocated."""
    blocks = make_blocks(architecture, kernel)
    specs = infer_specs(architecture, features, blocks)
    total, again = 0.0, solved_twice(architecture, blocks)
    for node in architecture.nodes:
        block = None if node.is_source else blocks[node.id]
        if isinstance(block, SolvingBlock):
            total += block.seconds(adapted_specs(node, block, specs), features) * (1 + (node.id in again))
    return total


def estimate_cost(
    architecture: Architecture, features: FeatureSchema, kernel: Kernel, profile: DeviceProfile, *, batch_size: int, epochs: int
) -> Cost:
    """Return the cost of an architecture before anything is solved or trained.

    Args:
        epochs: Passes over the training rows that a network with weights would take.
    """
    network = build_network(architecture, features, kernel).attach(BlankEntities(features)).eval()
    waiting = [part.stored for part in network.modules() if isinstance(part, Unsolved)]
    weights = {id(weight): weight for weight in network.state_dict(keep_vars=True).values()}.values()  # what is stored, each once
    parameters = sum(weight.numel() for weight in weights) + sum(count for count, _ in waiting)
    stored = sum(weight.numel() * weight.element_size() for weight in weights) + sum(size for _, size in waiting)
    network.store()
    flops = _flops(lambda: network.serve(*(_input(name, network, features, 1) for name in network.inputs)))
    item = architecture.outputs.get("item")
    interests = max(1, network.specs[architecture.outputs["user"]].fields) if item else 0
    flops += 2 * features.items * network.specs[item].width * interests if item else 0
    latency = profile.floor_us + _OPERATORS * sum(1 for _ in architecture.serving()) * profile.node_us + flops / (profile.gflops * 1e3)
    latency += sum(_STEPS * spec.width * _SPREAD_US for spec in network.specs.values() if spec.neighbours)
    seconds = solving_seconds(architecture, features, kernel) + _training(network, features, profile, batch_size, epochs)
    return Cost(parameters, stored, round(latency / 1e3, 6), round(seconds, 3))


def _training(network: Network, features: FeatureSchema, profile: DeviceProfile, batch_size: int, epochs: int) -> float:
    if not network.trainable or not epochs:
        return 0.0
    batch = {name: _input(name, network, features, _PROBE) for name in network.training_inputs}
    forward = _flops(lambda: network.loss(batch)) / _PROBE
    batching = network.architecture.batching
    rows = {"sequence": features.users, "user": features.users, "item": features.items}.get(batching, features.events)
    steps = math.ceil(rows / (max(8, batch_size // 8) if batching == "sequence" else batch_size))
    rows = round(RERANK_SHARE * rows) if network.stacked else rows
    weights = sum(p.numel() for p in network.parameters())
    step = profile.step_us * 1e-6 + 24 * weights / (profile.gbytes * 1e9)  # AdamW reads and writes about 24 bytes a weight
    return epochs * (3 * forward * rows / (profile.gflops * 1e9) + steps * step)


def _flops(call: Callable[[], object]) -> int:
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:  # fused attention is not counted
        call()
    return int(counter.get_total_flops())


def _input(name: str, network: Network, features: FeatureSchema, rows: int) -> torch.Tensor:
    if name.startswith(LABEL):
        return torch.zeros(rows)
    sequential = network.architecture.batching in ("sequence", "session", "user")
    steps = max(network.lengths.values(), default=0) or _STEPS
    if name == TARGET:
        return torch.ones((rows, steps) if sequential else (rows,), dtype=torch.int64)
    if name == NEGATIVES:
        return _negatives(network, rows)
    if name.startswith("@"):
        return to_tensors(BlankEntities(features).inputs([name], np.zeros(rows, np.int64)), "cpu")[name]
    feature = features[name]
    if feature.kind == "numeric":
        return torch.zeros(rows, feature.width)
    shape: Sequence[int] = {"id": (rows,), "bag": (rows, 3), "history": (rows, network.lengths.get(name, 0) or _STEPS)}[feature.kind]
    return torch.full(tuple(shape), min(1, feature.size - 1), dtype=torch.int64)


def _negatives(network: Network, rows: int) -> torch.Tensor:
    config: Mapping[str, object] = next(node.config for node in network.architecture.nodes if node.block == "@negatives")
    count = int(str(config.get("count", 1)))
    return torch.ones((count,) if config.get("shared", False) else (rows, count), dtype=torch.int64)
