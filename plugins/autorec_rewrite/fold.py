"""`fold`: constants are computed, arithmetic on shapes is shortened, equal parts are kept once; no bit of an answer changes."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from typing import ClassVar, Literal

from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.deploy import CompressionContext, NotApplicable, Target
from autorec_kernel.records.model import CompressedModel
from autorec_rewrite.bags import bags_counted
from autorec_rewrite.check import check_equal
from autorec_rewrite.moves import offset
from autorec_rewrite.net import Net, bytes_of, net_of
from autorec_rewrite.probe import probed
from autorec_rewrite.tidy import applied, tidied

__all__ = ["Fold"]

_DONE = "nothing is left to fold: the export did all of it"


class Fold:
    """Removes nodes that compute nothing new, and those that mask and count a small bag: its table does that (at most 4 KB more).

    Answers are bit for bit those of the graph before, which random inputs show on the processor at hand: sums of bags and offsets of
    products, which a runtime may add in another order, are left where they are not.
    """

    class Config(ComponentConfig):
        """No options."""

    form: ClassVar[Literal["module", "graph"]] = "graph"
    exact: ClassVar[bool] = True

    def __init__(self, config: Config) -> None:
        self.config = config

    def propose(self, model: CompressedModel, target: Target) -> Iterable[ComponentConfig]:
        """Yield the one setting for every model that has a graph of its own nodes."""
        if model.graph is not None:
            yield self.config

    def compress(self, model: CompressedModel, context: CompressionContext) -> CompressedModel:
        """Return the model with fewer nodes and bytes; the same graph gives the same bytes.

        Raises:
            NotApplicable: Nothing is left to fold, or an answer would change.
        """
        net = net_of(model)
        plain = tidied(net, model)
        counted = bags_counted(plain, model)
        both, one = (applied(part, probed(part, model), offset) for part in (counted, plain))
        for fewer in (both, counted, one):
            if len(fewer.nodes) < len(plain.nodes):
                with suppress(NotApplicable):  # where a processor adds in another order, offsets stay as they are, or bags
                    return _proved(net, tidied(fewer, model), model, context)
        if len(bytes_of(plain)) >= len(model.graph or b""):
            raise NotApplicable(_DONE)
        return _proved(net, plain, model, context)


def _proved(net: Net, small: Net, model: CompressedModel, context: CompressionContext) -> CompressedModel:
    if len(small.nodes) >= len(net.nodes):
        raise NotApplicable(_DONE)
    check_equal(net, small, model, context, tolerance=0.0)
    return replace(model, graph=bytes_of(small))
