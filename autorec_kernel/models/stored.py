"""`StoredTables`: the values of a network that depend on no row, computed once and kept until a weight behind them changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from autorec_kernel.errors import ContractError
from autorec_kernel.models.batches import to_tensors
from autorec_kernel.models.reach import ancestors

if TYPE_CHECKING:
    from autorec_kernel.models.entities import EntityInputs
    from autorec_kernel.models.network import Network

__all__ = ["StoredTables"]

_CHUNK = 4096  # entities computed at a time


class StoredTables:
    """The static side of a network.

    Args:
        network: Its graph, parts and specs.
        names: Nodes whose values are stored.
    """

    def __init__(self, network: Network, names: tuple[str, ...]) -> None:
        self.names = names
        self.entities: EntityInputs | None = None
        parts = [network.part(node.id) for node in ancestors(network.architecture, names)]
        keys = {key for key, module in network.parts.items() if any(module is part for part in parts)}
        self._parts = [*parts, *(module for key, module in network.adapters.items() if key.rpartition(":")[0] in keys)]
        self._state: dict[str, tuple[tuple[int, int, int], ...]] = {}
        self._inputs: dict[str, torch.Tensor] = {}

    def stale(self, network: Network, names: Sequence[str]) -> list[str]:
        """Return those that do not follow from the parameters and buffers as they are; writing into `.data` goes unnoticed."""
        weights = self._weights(network) if names else ()
        return [name for name in names if self._state.get(name) != weights]

    @torch.no_grad()
    def compute(self, network: Network, names: Sequence[str]) -> dict[str, torch.Tensor]:
        """Return node id → value over all entities, float32 [N, …], as in eval mode whatever the network's mode is."""
        known: dict[str, Any] = {}
        with _serving(network):
            found = {name: self._whole(network, name, known).detach() for name in names}
        self._state |= dict.fromkeys(names, self._weights(network))
        return found

    def forget(self) -> None:
        """Have everything computed again."""
        self._state = {}

    def attach(self, entities: EntityInputs) -> None:
        """Say where the inputs of users and items are found."""
        self.entities, self._inputs = entities, {}
        self.forget()

    def all_of(self, network: Network, name: str) -> torch.Tensor:
        """Return the input `@axis:feature` of every entity, on the network's device: what training reads of the whole catalogue."""
        device, kept = next(network.parameters()).device, self._inputs.get(name)
        if kept is None or kept.device != device:
            self._inputs[name] = to_tensors(self._read([name], np.arange(network.entity_count(name))), str(device))[name]
        return self._inputs[name]

    def _weights(self, network: Network) -> tuple[tuple[int, int, int], ...]:
        tensors = [tensor for part in self._parts for group in (part.parameters(), part.buffers()) for tensor in group]
        tensors += [store.weight for store in network.stores.values()]  # type: ignore[misc]
        return ((0, 0, 0), *((id(tensor), _address(tensor), tensor._version) for tensor in tensors))

    def _whole(self, network: Network, name: str, known: dict[str, Any]) -> Any:
        if name not in known:
            by_entity = network.specs[name].axis != "row" and network.specs[name].port != "table"
            known[name] = self._by_entity(network, name, known) if by_entity else self._table(network, name, known)
        return known[name]

    def _table(self, network: Network, name: str, known: dict[str, Any]) -> Any:
        node = network.architecture[name]
        return network.value(node, {part: self._whole(network, part, known) for part in node.inputs}, {})

    def _by_entity(self, network: Network, name: str, known: dict[str, Any]) -> torch.Tensor:
        """Compute a value on an entity axis some entities at a time; tables that it reads are whole."""
        nodes = ancestors(network.architecture, [name])
        tables = [node.id for node in nodes if network.specs[node.id].port == "table"]
        values = {table: self._whole(network, table, known) for table in tables}
        steps = [node for node in ancestors(network.architecture, [name], stop=tables)]
        names = network.entity_names(steps)
        device = str(next(iter(network.parameters()), torch.zeros(0)).device)
        parts = []
        for start in range(0, network.specs[name].rows, _CHUNK):
            rows = np.arange(start, min(start + _CHUNK, network.specs[name].rows))
            batch = to_tensors(self._read(names, rows), device)
            parts.append(network.run(steps, batch, dict(values))[name])
        return torch.cat(parts)

    def _read(self, names: list[str], rows: np.ndarray) -> dict[str, np.ndarray]:
        if not names:
            return {}
        if self.entities is None:
            raise ContractError(f"the network reads {names} of every entity: give it the data with attach()")
        return self.entities.inputs(names, rows)


@contextmanager
def _serving(network: Network) -> Iterator[None]:
    """Put every module into eval mode for a while, and each back into its own mode."""
    modes = [(module, module.training) for module in network.modules()]
    try:
        for module, _ in modes:
            module.training = False
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _address(tensor: torch.Tensor) -> int:
    """Return where the values lie, which another tensor put in place by `.data =` or a move changes; 0 for sparse tensors."""
    return tensor.data_ptr() if tensor.layout == torch.strided else 0
