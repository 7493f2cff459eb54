"""`first-layer`: the first products of a ranker take the user's half from one row, and products of constants are computed ahead."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import numpy as np
import onnx
from pydantic import Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.deploy import CompressionContext, NotApplicable, Target
from autorec_kernel.records.model import CompressedModel
from autorec_kernel.space import Bool, Int
from autorec_rewrite.check import check_equal, check_once, work
from autorec_rewrite.net import Net, bytes_of, makers, net_of, with_nodes
from autorec_rewrite.probe import feeds, probed
from autorec_rewrite.sides import Sides, once
from autorec_rewrite.sums import WORTH, Ids, Sum
from autorec_rewrite.terms import product_of
from autorec_rewrite.tidy import tidied

__all__ = ["FirstLayer"]

_ROWS = 100  # candidates of one user that the work is counted for
_LEAST = 0.02  # share of that work that must go


class FirstLayer:
    """Tells the input of a product apart into what the user gives and what changes with the candidate.

    Three exact steps: what depends on the user alone is computed for the rows that the user's inputs have, one row for all candidates
    where serving hands in one; a product behind a widening product (numbers that are embedded first) multiplies with the product of both
    constants; and, where asked, a wide embedding that is looked up by one id gives way to a table of its products, as far as the target's
    bytes allow: many more bytes for a little less time. Other readers of the embeddings (factorisation machines, crosses, attention) keep
    them. Sums are taken in another order: answers agree to about 1e-6.
    """

    class Config(ComponentConfig):
        """Options."""

        tables: Annotated[bool, Bool()] = Field(False, description="Whether products of wide embeddings are stored, row by row.")
        narrowest: Annotated[int, Int(32, 256, log=True)] = Field(
            64, ge=1, description="Width of an embedding from which its products are stored: narrower ones are multiplied faster."
        )

    form: ClassVar[Literal["module", "graph"]] = "graph"
    exact: ClassVar[bool] = True
    config: Config

    def __init__(self, config: Config) -> None:
        self.config = config

    def propose(self, model: CompressedModel, target: Target) -> Iterable[ComponentConfig]:
        """Yield the setting for rankers of users and items, and the one that stores products beside it."""
        if model.graph is not None and _users(model, net_of(model)):
            yield self.config
            if not self.config.tables:
                yield self.config.model_copy(update={"tables": True})

    def compress(self, model: CompressedModel, context: CompressionContext) -> CompressedModel:
        """Return the model with less work a candidate; the same graph gives the same bytes.

        Raises:
            NotApplicable: No input is the user's alone, the work would not shrink, the target's bytes are exceeded, or an answer changes.
        """
        net = net_of(model)
        users = _users(model, net)
        if not users:
            raise NotApplicable("no input is the user's alone beside those of candidates")
        plain = tidied(net, model)
        found = self._rewritten(plain, model, users, context.target)
        one = _one_user(net, model, users, _ROWS)
        before, after = work(plain, _repeated(one, users, _ROWS)), work(found, one)
        if after > (1 - _LEAST) * before or before - after < WORTH * _ROWS:
            raise NotApplicable(f"{1 - after / before:.1%} less work for {_ROWS} candidates of a user: too little is the user's alone")
        graph = bytes_of(found)
        if context.target.max_bytes and len(model.graph or b"") <= context.target.max_bytes < len(graph):
            raise NotApplicable(f"the graph would grow to {len(graph):,} bytes, past the target's limit")
        check_equal(net, found, model, context)
        check_once(net, found, [(_repeated(case, users, rows), case) for rows in (1, 7) for case in [_one_user(net, model, users, rows)]])
        return replace(model, graph=graph)

    def _rewritten(self, net: Net, model: CompressedModel, users: Collection[str], target: Target) -> Net:
        shapes, made = probed(net, model), makers(net)
        sides, ids = Sides(net, users), Ids(net, shapes, model)
        room = 0 if not self.config.tables else target.max_bytes - len(model.graph or b"") if target.max_bytes else 2**62
        before = room
        nodes: list[onnx.NodeProto] = []
        stored: dict[str, np.ndarray] = {}
        for entry in net.nodes:
            product = product_of(entry, net, shapes, made)
            write = None if product is None else Sum(entry, product, net, sides, self.config.narrowest, room, ids)
            if write is None or not write.worth:
                nodes.append(entry)
                continue
            nodes += write.nodes()
            stored |= write.stored
            room -= write.more
        if self.config.tables and room == before:
            raise NotApplicable(
                f"no embedding of width {self.config.narrowest} or more is looked up by an item, or its products fit nowhere"
            )
        split = tidied(with_nodes(net, nodes, stored), model)
        return tidied(once(split, probed(split, model), users), model)


def _users(model: CompressedModel, net: Net) -> list[str]:
    """Return the inputs that depend on the user alone, if others do not and the model predicts rows."""
    if {value.name for value in net.model.graph.output} & {"user", "score"}:
        return []
    known = {feature.name: feature.depends for feature in model.model.features.features}
    users = [name for name in net.inputs if known.get(name) == "user"]
    return users if len(users) < len(net.inputs) and all(name in known for name in net.inputs) else []


def _one_user(net: Net, model: CompressedModel, users: Collection[str], rows: int) -> dict[str, np.ndarray]:
    """Return random inputs of one user and `rows` candidates."""
    found = feeds(net, model, rows, np.random.default_rng(rows))
    return {name: value[:1] if name in users else value for name, value in found.items()}


def _repeated(inputs: dict[str, np.ndarray], users: Collection[str], rows: int) -> dict[str, np.ndarray]:
    return {name: np.repeat(value, rows, axis=0) if name in users else value for name, value in inputs.items()}
