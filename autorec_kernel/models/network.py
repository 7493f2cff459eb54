"""`Network`: the torch module that an architecture decodes to. Training and serving run the same graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from autorec_kernel.contracts.models import ModelBlock, SolvingBlock
from autorec_kernel.errors import ContractError
from autorec_kernel.models.adapters import adapt_module, adapt_spec
from autorec_kernel.models.losses import pointwise_loss
from autorec_kernel.models.sources import LABEL, EmbeddingStore, Source, source_for, source_spec, vocabularies
from autorec_kernel.models.unsolved import Unsolved
from autorec_kernel.records.architecture import Architecture, Node, Port, TensorSpec
from autorec_kernel.records.features import FeatureSchema

if TYPE_CHECKING:
    from autorec_kernel.kernel import Kernel

__all__ = ["Network", "accepted_ports", "build_network", "infer_specs", "make_blocks"]

Arrays = Mapping[str, Mapping[str, np.ndarray]]  # node id -> what its block's `solve` returned


class Network(nn.Module):
    """An architecture as a module.

    Attributes:
        inputs: Names of the serving inputs, in the order `serve` takes them.
        training_inputs: Names of everything a training batch must hold.
        serving_outputs: ("score",) catalogue scores | ("user",) factorised | task names.
        lengths: History input -> longest history it reads, 0 = all of it; a source that reads less cuts it.
        solved: Prefixes of the state of closed forms, which no training changes.
    """

    def __init__(self, architecture: Architecture, features: FeatureSchema, blocks: Mapping[str, ModelBlock], arrays: Arrays) -> None:
        super().__init__()
        self.architecture = architecture
        self.specs = infer_specs(architecture, features, blocks)
        self.links = dict(features.tasks)
        self.stores = nn.ModuleDict({str(width): EmbeddingStore(sizes, width) for width, sizes in self._widths(features).items()})
        stores = {int(width): store for width, store in self.stores.items()}
        self.parts = nn.ModuleDict()
        self.adapters = nn.ModuleDict()
        for node in architecture.nodes:
            self._add(node, features, blocks, arrays, stores)  # type: ignore[arg-type]
        self.inputs = self._input_names(architecture.serving())
        self.training_inputs = self._input_names(iter(architecture.nodes))
        self.lengths = self._history_lengths()
        self.solved = tuple(f"parts.{_key(name)}." for name in arrays)
        self._reached = self._reaching(architecture.outputs["user"]) if "user" in architecture.outputs else set()
        self.loss_nodes = tuple(node.id for node in architecture.nodes if self.specs[node.id].port == "loss")
        if not self.loss_nodes:
            self.training_inputs += tuple(f"{LABEL}{task}" for task in self.tasks)

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
        key = _key(node.id)
        if node.is_source:
            self.parts[key] = source_for(node, self.specs[node.id], features, stores)
            return
        block = blocks[node.id]
        specs = [self.specs[name] for name in node.inputs]
        ports = accepted_ports(block, len(specs), node.id)
        for position, (spec, port) in enumerate(zip(specs, ports, strict=True)):
            if spec.port != port:
                self.adapters[f"{key}:{position}"] = adapt_module(spec, port)
        adapted = [adapt_spec(spec, port) for spec, port in zip(specs, ports, strict=True)]
        if node.shares:
            self.parts[key] = self.parts[_key(node.shares)]
        elif isinstance(block, SolvingBlock) and node.id not in arrays:
            self.parts[key] = Unsolved(self.specs[node.id])
        else:
            self.parts[key] = block.build(adapted, arrays.get(node.id, {}))

    def _input_names(self, nodes: Iterator[Node]) -> tuple[str, ...]:
        names: dict[str, None] = {}
        for node in nodes:
            if node.is_source:
                source = self.parts[_key(node.id)]
                assert isinstance(source, Source)
                extra = {"@target": ("@target",), "@negatives": ("@negatives",)}.get(node.block, ())
                names.update(dict.fromkeys((*source.names, *extra)))
        return tuple(names)

    def _history_lengths(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for node in self.architecture.nodes:
            if node.block == "@history":
                name, length = str(node.config["columns"][0]), int(node.config.get("length", 0))
                known = found.get(name, length)
                found[name] = 0 if 0 in (known, length) else max(known, length)
        for node in self.architecture.nodes:
            if node.block == "@history":
                source = self.parts[_key(node.id)]
                assert isinstance(source, Source)
                source.cut = source.length if source.length != found[source.names[0]] else 0
        return found

    @property
    def serving_outputs(self) -> tuple[str, ...]:
        """Return ("score",), ("user",) or the task names."""
        outputs = tuple(self.architecture.outputs)
        return ("user",) if "user" in outputs else outputs

    def forward(self, batch: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        """Return every node's value for a training batch."""
        return self._run(self.architecture.nodes, batch)

    def _run(self, nodes: Sequence[Node], batch: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for node in nodes:
            part = self.parts[_key(node.id)]
            values[node.id] = part(batch) if node.is_source else part(*self._arguments(node, values))
        return values

    def _arguments(self, node: Node, values: Mapping[str, Any]) -> list[Any]:
        key = _key(node.id)
        found = []
        for position, name in enumerate(node.inputs):
            adapter = f"{key}:{position}"
            found.append(self.adapters[adapter](values[name]) if adapter in self.adapters else values[name])
        return found

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
        if self.loss_nodes:
            return torch.stack([values[name] for name in self.loss_nodes]).sum()
        return torch.stack([self._default_loss(task, values[self.architecture.outputs[task]], batch) for task in self.tasks]).sum()

    def _default_loss(self, task: str, value: torch.Tensor, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        spec = self.specs[self.architecture.outputs[task]]
        column = value[:, spec.tasks.index(task)] if task in spec.tasks else value[:, 0]
        return pointwise_loss(column, batch[f"{LABEL}{task}"], spec.link or "value")

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
        batch = dict(zip(self.inputs, tensors, strict=True))
        factorised = self.serving_outputs == ("user",)
        values = self._run([node for node in self.architecture.serving() if not factorised or node.id in self._reached], batch)
        return {name: values[self.architecture.outputs[name]] for name in self.serving_outputs}

    def _reaching(self, output: str) -> set[str]:
        reached = {output}
        for node in reversed(self.architecture.nodes):
            if node.id in reached:
                reached.update(node.inputs)
        return reached

    def _linked(self, name: str, value: torch.Tensor) -> torch.Tensor:
        if name in ("user", "score"):
            return value
        spec = self.specs[self.architecture.outputs[name]]
        column = value[:, spec.tasks.index(name)] if name in spec.tasks else value[:, 0]
        return torch.sigmoid(column) if spec.link == "logit" else column

    @torch.no_grad()
    def item_vectors(self) -> torch.Tensor:
        """Return float32 [N, D] of a factorised retriever; nodes that depend on no row are computed once."""
        name = self.architecture.outputs["item"]
        reached = self._reaching(name)
        table: torch.Tensor = self._run([node for node in self.architecture.nodes if node.id in reached], {})[name]
        return table.detach()

    def note_met(self) -> None:
        """Remember after a backward pass which unknown rows training has met."""
        for store in self.stores.values():
            assert isinstance(store, EmbeddingStore)
            store.note_met()

    def settle(self) -> None:
        """Finish training: unknown rows take the mean of their vocabulary, but where training has met them."""
        for store in self.stores.values():
            assert isinstance(store, EmbeddingStore)
            store.settle_unknown()


def build_network(
    architecture: Architecture, features: FeatureSchema, kernel: Kernel, arrays: Arrays | None = None, seed: int = 0
) -> Network:
    """Decode an architecture.

    Args:
        architecture: The graph; a graph without a loss gets the default loss of its tasks.
        features: The schema its sources name columns of.
        kernel: Where block ids are looked up.
        arrays: Node id -> arrays of the blocks with a closed form.
        seed: Of the initial weights; the process's own random state is left as it was.

    Raises:
        ContractError: The graph cannot be built on these features.
    """
    blocks = make_blocks(architecture, kernel)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return Network(architecture, features, blocks, arrays or {})


def make_blocks(architecture: Architecture, kernel: Kernel) -> dict[str, ModelBlock]:
    """Return node id → configured block of every node that is not a source."""
    return {node.id: kernel.create("model-block", node.block, **node.config) for node in architecture.nodes if not node.is_source}


def infer_specs(architecture: Architecture, features: FeatureSchema, blocks: Mapping[str, ModelBlock]) -> dict[str, TensorSpec]:
    """Return node id → spec, without allocating anything."""
    specs: dict[str, TensorSpec] = {}
    for node in architecture.nodes:
        if node.is_source:
            specs[node.id] = source_spec(node, features, architecture.batching)
            continue
        ports = accepted_ports(blocks[node.id], len(node.inputs), node.id)
        adapted = [adapt_spec(_spec(specs, name, node), port) for name, port in zip(node.inputs, ports, strict=True)]
        specs[node.id] = blocks[node.id].output(adapted)
    return specs


def accepted_ports(block: ModelBlock, count: int, where: str) -> tuple[Port, ...]:
    """Return the port of each of `count` inputs; a variadic block repeats its last one."""
    ports = block.accepts
    if block.variadic and count >= len(ports):
        return ports + (ports[-1],) * (count - len(ports))
    if count != len(ports):
        raise ContractError(f"node {where!r} has {count} inputs, its block takes {len(ports)}{' or more' if block.variadic else ''}")
    return ports


def _spec(specs: Mapping[str, TensorSpec], name: str, node: Node) -> TensorSpec:
    if name.startswith("~"):
        raise ContractError(f"node {node.id!r} reads {name!r}: values of the previous step need session batching, which nothing trains yet")
    return specs[name]


def _key(name: str) -> str:
    """Return the module name of a node: torch allows no dots, and two nodes never share one."""
    return "n_" + name.replace("_", "__").replace(".", "_d")
