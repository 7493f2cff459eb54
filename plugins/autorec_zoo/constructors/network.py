"""`Constructed`: the network that a Python constructor returns, which checks what it is called with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch

from autorec_kernel.contracts.models import ModelBlock
from autorec_kernel.errors import UsageError
from autorec_kernel.models import Network
from autorec_kernel.models.entities import EntityInputs
from autorec_kernel.records.architecture import Architecture
from autorec_kernel.records.features import FeatureSchema
from autorec_zoo.constructors.batch import demand_names, demand_values
from autorec_zoo.constructors.entities import Given, told

__all__ = ["Constructed"]

_STEPS = ("sequence", "session")


class Constructed(Network):
    """A network like any other one, same weights, same graph; calls from Python are checked once each, exported graphs never.

    Attributes:
        schema: The columns it reads.
    """

    def __init__(self, architecture: Architecture, features: FeatureSchema, blocks: Mapping[str, ModelBlock], arrays: Any) -> None:
        super().__init__(architecture, features, blocks, arrays)
        self.schema = features
        self._given: dict[str, np.ndarray] = {}
        self._base: EntityInputs | None = None
        self.attach()

    def attach(
        self,
        entities: EntityInputs | None = None,
        *,
        users: Mapping[str, Any] | None = None,
        items: Mapping[str, Any] | None = None,
    ) -> Constructed:
        """Say where the features of all users and items are found, or what they are; return the network.

        Args:
            entities: A place for all of them, such as `Entities(features)`.
            users, items: Feature → tensor or array with one row an entity, that of the unknown one, row 0, in front: int64 [N] for a
                `Field`, int64 [N, W] for a `Bag`, float32 [N] or [N, width] for a `Numeric`; `@interactions` float32 [N, M] are the
                labels that AutoRec reconstructs, NaN = none. What was given before and is not named again stays.

        Raises:
            UnknownNameError: There is no such feature of this side.
            UsageError: A value has another shape or type.
            DataError: An id is out of range.
        """
        self._base = entities if entities is not None else self._base
        self._given |= {**told(self.schema, "user", users or {}), **told(self.schema, "item", items or {})}
        super().attach(Given(self.schema, self._given, self._base))
        return self

    def forward(self, batch: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        """Return the value of every node that training needs, for one batch.

        Raises:
            UsageError: A column is missing, or of another type or shape.
            DataError: An id is out of range.
        """
        if not torch.compiler.is_compiling():
            labels = () if self.loss_nodes else tuple(f"@label:{task}" for task in self.tasks)
            self._demand(batch, (name for name in self.training_inputs if name not in labels))
        return super().forward(batch)

    def loss(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return float32 [], the sum of all losses of one batch.

        Raises:
            ContractError: The network has none.
            UsageError: A column is missing, or of another type or shape.
            DataError: An id is out of range.
        """
        demand_names(batch, self._rows(self.training_inputs))
        return super().loss(batch)

    def raw(self, *tensors: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the serving outputs before links are applied.

        Raises:
            UsageError: There are more or fewer tensors than `inputs`, or one is of another type or shape.
            DataError: An id is out of range.
        """
        if len(tensors) != len(self.inputs):
            raise UsageError(f"serve() takes {len(self.inputs)} tensors and got {len(tensors)}", hint=f"give {', '.join(self.inputs)}")
        if not torch.compiler.is_compiling():
            self._demand(dict(zip(self.inputs, tensors, strict=True)), ())
        return super().raw(*tensors)

    def _demand(self, batch: Mapping[str, torch.Tensor], names: Iterable[str]) -> None:
        demand_names(batch, self._rows(names))
        demand_values(batch, self.schema, steps=self.architecture.batching in _STEPS)

    def _rows(self, names: Iterable[str]) -> list[str]:
        """Return the names that a batch must hold: what is known of all entities is read where the batch has none of it."""
        return [name for name in names if not name.startswith(("@user:", "@item:"))]
