"""`width`: a narrower network of the same graph, made of the coordinates with the largest weights: tables, residual streams, gates."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.contracts.deploy import CompressionContext, NotApplicable, Target
from autorec_kernel.errors import AutoRecError
from autorec_kernel.kernel import Kernel
from autorec_kernel.models import Network, build_network, solve_blocks, solving_seconds
from autorec_kernel.models.batches import to_tensors
from autorec_kernel.records.architecture import Architecture, Node
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.records.model import CompressedModel
from autorec_kernel.space import Float
from autorec_prune.cells import Cells, cells_of, importance, kept_of, sliced
from autorec_prune.coordinates import Coordinates
from autorec_prune.follow import follow

__all__ = ["WidthPruning", "narrowed"]

_NARROWEST = 16  # a width that is left alone, with all that are smaller
_WIDTHS = ("width", "hidden_dims")  # options of nodes that say how wide something is
_ROWS, _CLOSE = 8, 1e-3
_SOLVING = 5.0  # seconds that closed forms may take: their arrays are overwritten, but only solving tells their shapes


class WidthPruning:
    """Prunes what a network carries from layer to layer: columns of embedding tables, residual streams, hidden states and their gates.

    A coordinate is everything that cannot go alone: the column of a shared table, the rows and columns of the matrices that write and read
    it, its place in every norm and offset, and its rows in each gate. Which weights these are is found by following the network's operators
    (torch-pruning's graph knows neither tied tables nor recurrent units); the largest ones by their weights stay, equally many in each
    attention head. The finding is put to the test: with coordinates in another order the network has to answer alike. The graph says the
    new widths, so what is exported, stored and tuned is a network like any other. Removing a coordinate of zeros changes no answer, except
    by the mean and the variance of a layer norm and by the scale of an attention.
    """

    class Config(ComponentConfig):
        """Options."""

        sparsity: Annotated[float, Float(0.1, 0.9)] = Field(0.5, gt=0, lt=1, description="Share of each width above 16 that goes.")
        round_to: int = Field(8, ge=1, le=4096, description="Widths left are multiples of this.")
        fine_tune: float = Field(1.0, ge=0.0, le=1.0, description="Share of a full fine-tuning after the cut.")

    form: ClassVar[Literal["module", "graph"]] = "module"
    place: ClassVar[int] = 2

    def __init__(self, config: Config) -> None:
        self.config = config

    def propose(self, model: CompressedModel, target: Target) -> Iterable[ComponentConfig]:
        """Yield a mild and a hard cut where the network is built from a graph that has widths."""
        graph, module = model.model.architecture, model.model.module
        if isinstance(module, Network) and module.trainable and narrowed(graph, self.config.sparsity, self.config.round_to) != graph:
            yield self.config
            yield self.config.model_copy(update={"sparsity": (1 + self.config.sparsity) / 2})

    def compress(self, model: CompressedModel, context: CompressionContext) -> CompressedModel:
        """Return a narrower and fine-tuned network without a graph; the given one stays as it is.

        Raises:
            NotApplicable: No width can be cut, the cut is not understood, or there is no kernel to build the network with.
        """
        given, network = model.model, model.model.module
        graph = narrowed(given.architecture, self.config.sparsity, self.config.round_to)
        if context.trainer is None or not isinstance(network, Network) or not network.trainable or graph == given.architecture:
            raise NotApplicable(f"it takes a network that a run trained, of a graph with a width above {_NARROWEST}")
        small = _built(graph, network, given.features, context, context.trainer.kernel)
        inputs = to_tensors({name: np.asarray(context.sample[name])[:_ROWS] for name in network.inputs}, "cpu")
        model_at_work = copy.deepcopy(network).eval()
        names, tensors = _named(network, small), dict(model_at_work.state_dict(keep_vars=True))
        aliases = _aliases(tensors)
        floats = {name: tensor for name, tensor in tensors.items() if aliases[name] == name and _dense(tensor)}
        before = _answers(model_at_work, inputs)
        with _gates():
            found = follow(floats, lambda: _answers(model_at_work, inputs))
        cells = cells_of(found, _shapes(found, floats, names, small))
        _try(model_at_work, found, cells, floats, before, inputs, context.rng)
        kept = sliced(found, floats, kept_of(cells, importance(found, floats)))
        _load(small, {names[name]: kept.get(first, tensors[first]) for name, first in aliases.items()})
        _check(before, _answers(small, inputs))
        trained = replace(given, architecture=graph, module=small)
        return replace(model, model=context.fine_tune(trained, self.config.fine_tune) if self.config.fine_tune else trained, graph=None)


def narrowed(graph: Architecture, sparsity: float, round_to: int) -> Architecture:
    """Return the graph with every width above 16 cut to its share, down to a multiple of `round_to` but not to nothing."""

    def cut(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return [cut(one) for one in value]
        if isinstance(value, bool) or not isinstance(value, int) or value <= _NARROWEST:
            return value
        return min(value, max(round_to, int(value * (1.0 - sparsity) / round_to) * round_to))

    def changed(node: Node) -> Node:
        return replace(node, config={name: cut(value) if name in _WIDTHS else value for name, value in node.config.items()})

    nodes = tuple(changed(node) for node in graph.nodes)
    same = all(one.config == other.config for one, other in zip(nodes, graph.nodes, strict=True))
    return graph if same else replace(graph, nodes=nodes)


def _built(graph: Architecture, network: Network, features: FeatureSchema, context: CompressionContext, kernel: Kernel) -> Network:
    """Return a new network of a graph, whose entities are those of another.

    Raises:
        NotApplicable: Its widths do not fit together.
    """
    try:
        seconds = solving_seconds(graph, features, kernel)
        if seconds > _SOLVING:
            raise NotApplicable(f"its closed forms would be solved once more, which takes about {seconds:.3g} s")
        arrays = solve_blocks(graph, context.features, kernel, seed=np.random.SeedSequence(0))
        found = build_network(graph, features, kernel, arrays)
    except NotApplicable:
        raise
    except AutoRecError as error:
        raise NotApplicable(f"the graph has no narrower form: {error.message}") from error
    entities = network.tables.entities
    return found.eval() if entities is None else found.attach(entities).eval()


def _named(network: Network, small: Network) -> dict[str, str]:
    """Return the name of each tensor in the narrower network; tables are named by their width.

    Raises:
        NotApplicable: Tables of two widths became one, or there are other tensors.
    """
    stores = dict(zip(network.stores, small.stores, strict=False))
    ranges = [[store.ranges for store in one.embedding_stores()] for one in (network, small)]
    names = {name: _renamed(name, stores) for name in network.state_dict()}
    if ranges[0] != ranges[1] or set(names.values()) != set(small.state_dict()):
        raise NotApplicable("the narrower network has other tables or layers")
    return names


def _aliases(tensors: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Return name → the first name of the same tensor: parts of a graph may share their parameters."""
    first: dict[int, str] = {}
    return {name: first.setdefault(id(tensor), name) for name, tensor in tensors.items()}


def _dense(tensor: torch.Tensor) -> bool:
    return tensor.is_floating_point() and tensor.layout == torch.strided


def _renamed(name: str, stores: Mapping[str, str]) -> str:
    kind, _, rest = name.partition(".")
    width, _, rest = rest.partition(".")
    return f"stores.{stores[width]}.{rest}" if kind == "stores" else name


def _shapes(
    found: Coordinates, tensors: Mapping[str, torch.Tensor], names: Mapping[str, str], small: Network
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of tensors in the narrower network.

    Raises:
        NotApplicable: A tensor shrinks that no answer reads: which of it to keep cannot be told.
    """
    state = small.state_dict()
    shapes = {name: tuple(state[names[name]].shape) for name in tensors}
    unread = [name for name, shape in shapes.items() if shape != tuple(tensors[name].shape) and name not in found.seen]
    if unread:
        raise NotApplicable(f"no answer reads {', '.join(unread)}, which would shrink")
    return shapes


def _answers(network: Network, inputs: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
    """Return what the network says of the inputs: predictions, or the scores of all items; stored tables are computed anew."""
    network.tables.forget()
    with torch.no_grad():
        served = network.serve(*(inputs[name] for name in network.inputs))
        return [served[0] @ network.item_vectors().T] if network.serving_outputs == ("user",) else list(served)


@contextmanager
def _gates() -> Iterator[None]:
    """Have recurrent layers computed gate by gate for a while: oneDNN's are one operator, which says nothing of gates."""
    layers: Any = torch.backends.mkldnn
    before, layers.enabled = layers.enabled, False
    try:
        yield
    finally:
        layers.enabled = before


def _try(
    network: Network,
    found: Coordinates,
    cells: Cells,
    tensors: Mapping[str, torch.Tensor],
    before: list[torch.Tensor],
    inputs: Mapping[str, torch.Tensor],
    rng: np.random.Generator,
) -> None:
    """Put the coordinates of a copy in another order, and back.

    Raises:
        NotApplicable: It answers otherwise: what belongs together was not understood.
    """
    places = {int(a): int(b) for members in cells.members for a, b in zip(members, rng.permutation(members), strict=True)}
    known = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    network.load_state_dict(sliced(found, tensors, places), strict=False)
    after = _answers(network, inputs)
    network.load_state_dict(known, strict=False)
    off = max(float((one - other).abs().max() / one.abs().max().clamp(min=1e-6)) for one, other in zip(before, after, strict=True))
    if not off <= _CLOSE:
        told = f" ({', '.join(sorted(found.strange))} is not known)" if found.strange else ""
        raise NotApplicable(f"its answers depend on the order of its coordinates{told}")


def _load(small: Network, state: Mapping[str, torch.Tensor]) -> None:
    """Give a network its weights.

    Raises:
        NotApplicable: They have other shapes.
    """
    own = small.state_dict()
    wrong = [name for name, value in state.items() if value.shape != own[name].shape]
    if wrong:
        raise NotApplicable(f"{wrong[0]} would be {tuple(state[wrong[0]].shape)} instead of {tuple(own[wrong[0]].shape)}")
    small.load_state_dict(dict(state))


def _check(before: list[torch.Tensor], after: list[torch.Tensor]) -> None:
    """Raise where answers have other shapes or are no numbers.

    Raises:
        NotApplicable: They are.
    """
    shapes = [[tuple(one.shape) for one in answers] for answers in (before, after)]
    if shapes[0] != shapes[1] or not all(bool(torch.isfinite(one).all()) for one in after):
        raise NotApplicable(f"the narrower network answers {shapes[1]} instead of {shapes[0]}, or no numbers")
