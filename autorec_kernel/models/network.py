"""`Network`: the torch module that an architecture decodes to. Training and serving run the same graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from autorec_kernel.contracts.models import ModelBlock, SolvingBlock
from autorec_kernel.errors import ContractError
from autorec_kernel.models.adapters import adapt_module
from autorec_kernel.models.entities import split_name
from autorec_kernel.models.histories import history_lengths
from autorec_kernel.models.losses import pointwise_loss
from autorec_kernel.models.memory import Memory
from autorec_kernel.models.reach import reach_of
from autorec_kernel.models.sources import LABEL, EmbeddingStore, Source, on_entity, source_for, vocabularies
from autorec_kernel.models.specs import accepted_ports, adapted_specs, infer_specs, make_blocks
from autorec_kernel.models.stacking import earlier_parts, is_stacked, part_key
from autorec_kernel.models.stored import StoredTables
from autorec_kernel.models.unsolved import Unsolved
from autorec_kernel.records.architecture import Architecture, Node
from autorec_kernel.records.features import FeatureSchema

if TYPE_CHECKING:
    from autorec_kernel.kernel import Kernel
    from autorec_kernel.models.entities import EntityInputs

__all__ = ["Network", "build_network"]

Arrays = Mapping[str, Mapping[str, np.ndarray]]  # node id -> what its block's `solve` returned


class Network(nn.Module):
    """An architecture as a module.

    Attributes:
        inputs: Names of the serving inputs, in the order `serve` takes them.
        training_inputs: Names of everything a training batch must hold.
        serving_outputs: ("score",) catalogue scores | ("user",) factorised | task names.
        lengths: History input -> longest history it reads, 0 = all of it; a source that reads less cuts it.
        solved: Prefixes of the state of closed forms, which no training changes.
        stacked: Whether it is trained on events that its closed forms have not seen; `earlier` holds these as they are in training mode.
        loss_nodes: Ids of the losses that are summed.
        tables: Values that depend on no row.
        reach: Which nodes run when.
    """

    def __init__(self, architecture: Architecture, features: FeatureSchema, blocks: Mapping[str, ModelBlock], arrays: Arrays) -> None:
        super().__init__()
        self.architecture = architecture
        self.specs = infer_specs(architecture, features, blocks)
        self.links = dict(features.tasks)
        widths = self._widths(features).items()
        self.stores = nn.ModuleDict({str(width): EmbeddingStore(sizes, width, ranking=bool(self.tasks)) for width, sizes in widths})
        stores = {int(width): store for width, store in self.stores.items()}
        self.parts, self.adapters = nn.ModuleDict(), nn.ModuleDict()
        for node in architecture.nodes:
            self._add(node, features, blocks, arrays, stores)  # type: ignore[arg-type]
        self.stacked = any(is_stacked(node, blocks) for node in architecture.nodes)
        self.earlier = earlier_parts(architecture.nodes, blocks, self.specs, arrays)
        self._counts = {"user": features.users, "item": features.items}
        self.reach = reach_of(architecture, self.specs)
        self.loss_nodes = self.reach.losses
        self.inputs = self._input_names(node for node in self.reach.serving if node.id not in self.reach.static)
        self.training_inputs = self._training_names()
        self.lengths = history_lengths(part for part in self.parts.values() if isinstance(part, Source) and part.kind == "@history")
        self.solved = (*(f"parts.{part_key(name)}." for name in arrays), *(f"earlier.{key}." for key in self.earlier))
        self.tables = StoredTables(self, self.reach.stored)
        self._memory = Memory(architecture.nodes, self.specs)

    def _widths(self, features: FeatureSchema) -> dict[int, dict[str, int]]:
        found: dict[int, dict[str, int]] = {}
        for node in self.architecture.nodes:
            if node.is_source:
                needed = vocabularies(node, self.specs[node.id], features)
                if needed:
                    found.setdefault(self.specs[node.id].width, {}).update(needed)
        return found

    def _add(
        self,
        node: Node,
        features: FeatureSchema,
        blocks: Mapping[str, ModelBlock],
        arrays: Arrays,
        stores: Mapping[int, EmbeddingStore],
    ) -> None:
        key = part_key(node.id)
        if node.is_source:
            self.parts[key] = source_for(node, self.specs[node.id], features, stores)
            return
        block = blocks[node.id]
        ports = accepted_ports(block, len(node.inputs), node.id)
        for position, (name, port) in enumerate(zip(node.inputs, ports, strict=True)):
            if self.specs[name.lstrip("~")].port != port:
                self.adapters[f"{key}:{position}"] = adapt_module(self.specs[name.lstrip("~")], port)
        first = self.parts[part_key(node.shares)] if node.shares else None
        if isinstance(first, Unsolved):
            self.parts[key] = Unsolved(self.specs[node.id], shared=True)  # the same closed form on a table of another width
        elif first is not None:
            self.parts[key] = first
        elif isinstance(block, SolvingBlock) and node.id not in arrays:
            self.parts[key] = Unsolved(self.specs[node.id])
        else:
            self.parts[key] = block.build(adapted_specs(node, block, self.specs), arrays.get(node.id, {}))

    def part(self, name: str) -> nn.Module:
        """Return the module of a node."""
        return self.parts[part_key(name)]

    def _input_names(self, nodes: Iterable[Node]) -> tuple[str, ...]:
        names: dict[str, None] = {}
        for node in nodes:
            if node.is_source:
                source = self.part(node.id)
                assert isinstance(source, Source)
                extra = {"@target": ("@target",), "@negatives": ("@negatives",)}.get(node.block, ())
                names.update(dict.fromkeys((*source.names, *extra)))
        return tuple(names)

    def _training_names(self) -> tuple[str, ...]:
        """Return what a batch holds; of the entity axes only that which batches are made of, the others are read whole."""
        names = self._input_names(self.reach.training)
        foreign = tuple(f"@{axis}:" for axis in ("user", "item") if axis != self.architecture.batching)
        labels = () if self.loss_nodes else tuple(f"{LABEL}{task}" for task in self.tasks)
        return (*(name for name in names if not name.startswith(foreign)), *labels)

    def entity_names(self, nodes: Iterable[Node]) -> list[str]:
        """Return the inputs `@axis:feature` that nodes read of users or items."""
        return list(self._input_names(node for node in nodes if on_entity(node)))

    def entity_count(self, name: str) -> int:
        """Return how many users or items an input `@axis:feature` has, row 0 included."""
        return self._counts[split_name(name)[0]]

    @property
    def serving_outputs(self) -> tuple[str, ...]:
        """Return ("score",), ("user",) or the task names."""
        outputs = tuple(self.architecture.outputs)
        return ("user",) if "user" in outputs else outputs

    def attach(self, entities: EntityInputs) -> Network:
        """Say where the inputs of users and items are found, for graphs that have something on their axes; return the network."""
        self.tables.attach(entities)
        return self

    def forward(self, batch: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        """Return the value of every node that training needs, for one batch."""
        missing = [name for name in self.entity_names(self.reach.training) if name not in batch]
        whole = {name: self.tables.all_of(self, name) for name in missing}
        values = self.run(self.reach.training, {**batch, **whole}, {})
        self._memory.keep(values, batch)
        return values

    def run(self, nodes: Iterable[Node], batch: Mapping[str, torch.Tensor], values: dict[str, Any]) -> dict[str, Any]:
        """Compute nodes in order; `values` holds what is known already and receives the rest."""
        for node in nodes:
            values[node.id] = self.value(node, values, batch)
        return values

    def value(self, node: Node, values: Mapping[str, Any], batch: Mapping[str, torch.Tensor]) -> Any:
        """Return the value of one node."""
        key = part_key(node.id)
        part = (self.earlier if self.training and key in self.earlier else self.parts)[key]
        if node.is_source:
            return part(batch)
        found = []
        for position, name in enumerate(node.inputs):
            value = self._memory.read(name[1:], batch) if name.startswith("~") else values[name]
            adapter = f"{key}:{position}"
            found.append(self.adapters[adapter](value) if adapter in self.adapters else value)
        return part(*found)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Return the tasks that a ranker predicts; empty for a retriever."""
        return () if self.serving_outputs in (("user",), ("score",)) else self.serving_outputs

    @property
    def trainable(self) -> bool:
        """Return whether there is anything to learn by gradient."""
        return any(parameter.requires_grad for parameter in self.parameters())

    def loss(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return float32 [], the sum of all LOSS nodes, or the tasks' default loss where the graph has none.

        Raises:
            ContractError: It has neither.
        """
        if not self.loss_nodes and not self.tasks:
            raise ContractError("a retriever that learns needs a loss, and its graph has no node with the port loss")
        values = self.forward(batch)
        losses = [values[name] for name in self.loss_nodes]
        losses = losses or [self._default_loss(task, values[self.architecture.outputs[task]], batch) for task in self.tasks]
        return losses[0] if len(losses) == 1 else torch.stack(losses).sum()

    def _default_loss(self, task: str, value: torch.Tensor, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        spec = self.specs[self.architecture.outputs[task]]
        column = value[:, spec.tasks.index(task)] if task in spec.tasks else value[:, 0]
        return pointwise_loss(column, batch[f"{LABEL}{task}"], spec.link or "value")

    def train(self, mode: bool = True) -> Network:
        """Switch between training and serving; what was stored for serving is computed again once the mode changes."""
        if mode or self.training:
            self.tables.forget()
            self._memory.clear()
        return super().train(mode)

    def store(self, names: Sequence[str] | None = None) -> Network:
        """Compute the tables `names` (None = all), as serving does (nothing is dropped out), unless known; return the network."""
        if not torch.compiler.is_exporting():
            stale = self.tables.stale(self, self.tables.names if names is None else names)
            for name, value in (self.tables.compute(self, stale) if stale else {}).items():
                self.register_buffer(f"stored_{part_key(name)}", value, persistent=False)
        return self

    def _stored(self, name: str) -> torch.Tensor:
        return self.get_buffer(f"stored_{part_key(name)}")

    def serve(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Run the serving graph.

        Args:
            tensors: In the order of `inputs`.

        Returns:
            Catalogue scores [A, N], user vectors [A, D], or one prediction [A] a task in label scale (probability or value).
        """
        return tuple(self._linked(name, value) for name, value in self.raw(*tensors).items())

    def raw(self, *tensors: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the serving outputs before links are applied."""
        self.store(self.reach.border)
        batch = dict(zip(self.inputs, tensors, strict=True))
        values = self.run(self.reach.serving, batch, {name: self._stored(name) for name in self.reach.border})
        return {name: values[self.architecture.outputs[name]] for name in self.serving_outputs}

    def _linked(self, name: str, value: torch.Tensor) -> torch.Tensor:
        if name in ("user", "score"):
            return value
        spec = self.specs[self.architecture.outputs[name]]
        column = value[:, spec.tasks.index(name)] if name in spec.tasks else value[:, 0]
        return torch.sigmoid(column) if spec.link == "logit" else column

    @torch.no_grad()
    def item_vectors(self) -> torch.Tensor:
        """Return float32 [N, D] of a factorised retriever."""
        name = self.architecture.outputs["item"]
        if name in self.tables.names:
            return self.store([name])._stored(name)
        table: torch.Tensor = self.value(self.architecture[name], {}, {})
        return table.detach()

    def embedding_stores(self) -> list[EmbeddingStore]:
        """Return the embedding tables, one a width."""
        return [store for store in self.stores.values() if isinstance(store, EmbeddingStore)]

    def note_met(self) -> None:
        """Remember after a backward pass which unknown rows training has met."""
        for store in self.embedding_stores():
            store.note_met()

    def settle(self) -> None:
        """Finish training: unknown rows take the mean of their vocabulary, but where training has met them."""
        for store in self.embedding_stores():
            store.settle_unknown()


def build_network(
    architecture: Architecture,
    features: FeatureSchema,
    kernel: Kernel,
    arrays: Arrays | None = None,
    seed: int = 0,
    kind: type[Network] = Network,
) -> Network:
    """Decode an architecture.

    Args:
        architecture: The graph; a graph without a loss gets the default loss of its tasks.
        features: The schema its sources name columns of.
        kernel: Where block ids are looked up.
        arrays: Node id -> arrays of the blocks with a closed form.
        seed: Of the initial weights; the process's own random state is left as it was.
        kind: The class of the network.

    Raises:
        ContractError: The graph cannot be built on these features.
    """
    blocks = make_blocks(architecture, kernel)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return kind(architecture, features, blocks, arrays or {})
