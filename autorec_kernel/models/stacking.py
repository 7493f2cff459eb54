"""Stacking: what learns from the scores of a closed form learns on events which that form has not seen (Wolpert 1992).

A block says so by the attribute `stacked = True`. The closed forms that it reads are then solved twice, on the `fit` part of the training
events and on all of them. In training mode a network runs the first ones, and its batches hold the other events alone; in eval mode, which
judges an epoch, is exported and serves, it runs the second ones. So the rule holds wherever gradient steps are taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import nn

from autorec_kernel.contracts.models import ModelBlock, SolvingBlock
from autorec_kernel.models.reach import ancestors
from autorec_kernel.models.specs import adapted_specs
from autorec_kernel.records.architecture import Architecture, Node, TensorSpec

__all__ = ["EARLIER", "earlier_parts", "is_stacked", "part_key", "solved_twice"]

_Blocks = Mapping[str, ModelBlock]
_Arrays = Mapping[str, Mapping[str, np.ndarray]]
EARLIER = "@fit"  # behind a node's id: the arrays of its closed form on the `fit` part


def part_key(name: str) -> str:
    """Return the module name of a node: torch allows no dots, and two nodes never share one."""
    return "n_" + name.replace("_", "__").replace(".", "_d")


def is_stacked(node: Node, blocks: Mapping[str, ModelBlock]) -> bool:
    """Return whether a node learns from scores as they are on events that are new to them."""
    return not node.is_source and bool(getattr(blocks[node.id], "stacked", False))


def solved_twice(architecture: Architecture, blocks: Mapping[str, ModelBlock]) -> list[str]:
    """Return the ids of the nodes with a closed form that a stacked block reads."""
    stacked = [node.id for node in architecture.nodes if is_stacked(node, blocks)]
    above = ancestors(architecture, stacked, steps=True)
    return [node.id for node in above if not node.is_source and isinstance(blocks[node.id], SolvingBlock)]


def earlier_parts(nodes: Sequence[Node], blocks: _Blocks, specs: Mapping[str, TensorSpec], arrays: _Arrays) -> nn.ModuleDict:
    """Return module name → the closed form on the `fit` part, for the nodes that have one; a node that shares another's has its own."""
    found = nn.ModuleDict()
    for node in nodes:
        solved = arrays.get(f"{node.shares or node.id}{EARLIER}")
        if solved is not None:
            found[part_key(node.id)] = blocks[node.id].build(adapted_specs(node, blocks[node.id], dict(specs)), solved)
    return found
