"""The free ranker: a cell over fields, history and candidate, whose leaves are scored together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from autorec_cells.cell import leaves_of
from autorec_cells.columns import SOURCES, Columns
from autorec_cells.draft import HISTORY, Draft, Value
from autorec_cells.options import OPERATIONS, config_of
from autorec_cells.sentence import cell_of
from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.records.architecture import Architecture
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.space import Bool, Choice

__all__ = ["FreeRanker"]

_STATES = (8, 16, 32, 64)  # widths of a step: every row has a history of its own
_Width = Annotated[int, Choice(4, 8, 16, 32), Field(ge=1)]


class _Options(ComponentConfig):
    """Options that belong to no node."""

    cell: str = Field("", description="The nodes in their readable form, such as [LSTM-64, MLP-128]; it takes the place of their options.")
    small_dim: _Width = Field(16, description="Embedding width of vocabularies of at most 100 rows.")
    medium_dim: _Width = Field(16, description="Embedding width of vocabularies of 101 to 10,000 rows.")
    large_dim: _Width = Field(16, description="Embedding width of larger vocabularies.")
    length: Annotated[int, Choice(5, 10, 20), Field(ge=1)] = Field(20, description="Newest steps of the history that are read.")
    dropout: Annotated[float, Choice(0.0, 0.1, 0.2, 0.4), Field(ge=0, lt=1)] = Field(
        0.2, description="Share of units dropped while training."
    )
    first_order: Annotated[bool, Bool()] = Field(True, description="Whether a weight for every category and number is added.")
    reading: Annotated[Literal["last", "mean", "max"], Choice("last", "mean", "max")] = Field(
        "last", description="How a leaf that is a history becomes one vector."
    )


class FreeRanker:
    """Up to six blocks over fields, flat vector, history and candidate; every block fits behind every other one.

    A leaf adds to the score through one affine layer. By default it is DeepFM (Guo et al. 2017).
    """

    role: ClassVar[Literal["retriever", "ranker"]] = "ranker"
    tasks: ClassVar[tuple[str, ...]] = ("rate", "click")
    Config: ClassVar[type[ComponentConfig]] = config_of(
        "FreeRankerConfig",
        SOURCES,
        OPERATIONS,
        {"nodes": 2, "operation_1": "fm", "left_2": "fields", "size_2": 256, "layers_2": 3, "taper_2": True},
        _Options,
        Choice(*_STATES),
    )

    def __init__(self, config: ComponentConfig) -> None:
        self.config: Any = config

    def architecture(self, features: FeatureSchema) -> Architecture:
        """Return the graph.

        Raises:
            ContractError: There is no label, or nothing to read.
            UsageError: `cell` is no cell.
        """
        if not features.tasks:
            raise ContractError("a ranker predicts a label, and the data has none")
        config = cell_of(self.config)
        draft = Draft()
        columns = Columns(draft, features, config)
        leaves = [_read(draft, leaf, config.reading) for leaf in leaves_of(draft, config, columns, causal=False, widest=_STATES[-1])]
        label = next(iter(features.tasks))
        score = _summed(draft, features, label, columns, leaves) if config.first_order else _headed(draft, features, label, leaves)
        return draft.finish({label: score}, (), "row")


def _read(draft: Draft, leaf: Value, reading: str) -> Value:
    """Return a leaf as a vector; the last step stands for all of them in histories alone."""
    if leaf.port != "sequence":
        return leaf
    mode = reading if leaf.line.startswith(HISTORY) or reading != "last" else "mean"
    return draft.add("blocks/pool", [leaf], {"mode": mode}, port="vector", width=leaf.width)


def _headed(draft: Draft, features: FeatureSchema, label: str, leaves: Sequence[Value]) -> Value:
    config = {"tasks": [label], "link": features.tasks[label], "offset": _offset(features, label)}
    return draft.add("blocks/head", leaves, config, port="scores", width=1)


def _summed(draft: Draft, features: FeatureSchema, label: str, columns: Columns, leaves: Sequence[Value]) -> Value:
    """Return the plain sum of the first-order parts and of one number a leaf."""
    number = {"width": 1, "bias": False}
    parts = [leaf if leaf.flat == 1 else draft.add("blocks/linear", [leaf], number, port="vector", width=1) for leaf in leaves]
    config = {"task": label, "link": features.tasks[label], "offset": _offset(features, label)}
    return draft.add("blocks/sum-scores", [*columns.linear(), *parts], config, port="scores", width=1)


def _offset(features: FeatureSchema, label: str) -> float:
    """Return where the offset starts: the mean label, as a logit for 0/1 labels."""
    mean = features.label_range[label][2]
    if features.tasks[label] != "logit":
        return mean
    share = min(max(mean, 1e-4), 1 - 1e-4)
    return math.log(share / (1 - share))
