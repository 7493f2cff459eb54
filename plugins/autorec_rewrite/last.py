"""`last-position`: where one step of a sequence is kept, everything behind the last mix of steps is computed for that step alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np

from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.deploy import CompressionContext, NotApplicable, Target
from autorec_kernel.records.model import CompressedModel
from autorec_rewrite.absorb import absorbed
from autorec_rewrite.check import check_equal, work
from autorec_rewrite.demand import demanded, narrowed
from autorec_rewrite.net import Net, bytes_of, net_of
from autorec_rewrite.probe import feeds, probed
from autorec_rewrite.split import split_products
from autorec_rewrite.tidy import tidied

__all__ = ["LastPosition", "last_alone"]

_LEAST = 0.02  # share of the work that must go
_ANCHORS = {"GatherElements", "Gather", "Slice"}


class LastPosition:
    """Pushes the choice of a step backwards through whatever works on each step for itself.

    In a transformer that ends in its last state, the last layer's queries, attention rows, feed-forward and norms are left for one
    position; its keys and values are not computed at all where a query can read the states before them: q · (x W)ᵀ = (q Wᵀ) xᵀ. Sums are
    taken in another order then: answers agree to about 1e-6, not bit for bit.
    """

    class Config(ComponentConfig):
        """No options."""

    form: ClassVar[Literal["module", "graph"]] = "graph"
    exact: ClassVar[bool] = True

    def __init__(self, config: Config) -> None:
        self.config = config

    def propose(self, model: CompressedModel, target: Target) -> Iterable[ComponentConfig]:
        """Yield the one setting where a retriever or ranker reads a history."""
        if model.graph is not None and any(entry.op_type in _ANCHORS for entry in net_of(model).nodes):
            yield self.config

    def compress(self, model: CompressedModel, context: CompressionContext) -> CompressedModel:
        """Return the model with less work a request; the same graph gives the same bytes.

        Raises:
            NotApplicable: No step is kept alone, the work would not shrink, or an answer would change.
        """
        net = net_of(model)
        plain = tidied(net, model)
        found = last_alone(plain, model)
        inputs = feeds(net, model, 2, np.random.default_rng(0))
        found = _with_absorbed(net, found, model, context, inputs)
        before, after = work(plain, inputs), work(found, inputs)
        if after > (1 - _LEAST) * before:
            raise NotApplicable(f"{1 - after / before:.1%} less work: what is behind the last mix of steps is too small")
        check_equal(net, found, model, context)
        return replace(model, graph=bytes_of(found))


def _with_absorbed(net: Net, found: Net, model: CompressedModel, context: CompressionContext, inputs: Mapping[str, np.ndarray]) -> Net:
    """Return the graph whose single queries read states in place of keys and values, where that is less work and answers stay."""
    fewer = tidied(absorbed(found, probed(found, model)), model)
    if work(fewer, inputs) >= work(found, inputs):
        return found
    try:
        check_equal(net, fewer, model, context)
    except NotApplicable:
        return found
    return fewer


def last_alone(net: Net, model: CompressedModel) -> Net:
    """Return a tidy graph with one step computed where one is kept.

    Raises:
        NotApplicable: None is kept alone, or nothing before it works on each step for itself.
    """
    shapes = probed(net, model)
    demand = demanded(net, shapes)
    if not demand.narrow:
        raise NotApplicable("no step of a sequence is kept alone")
    split = split_products(net, shapes, demand)
    if split is not net:
        shapes = probed(split, model)
        demand = demanded(split, shapes)
    return tidied(narrowed(split, shapes, demand), model)
