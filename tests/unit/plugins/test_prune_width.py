"""Narrower networks: what belongs together is found, the right coordinates go, and where it is not understood it is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from autorec_kernel.contracts.deploy import CompressionContext, Compressor, NotApplicable, Trainer
from autorec_kernel.deploy.export import export_onnx, parity
from autorec_kernel.kernel import Kernel
from autorec_kernel.models import build_network
from autorec_kernel.models.batches import to_tensors
from autorec_kernel.records.architecture import Node
from autorec_kernel.records.model import CompressedModel, TrainedModel
from autorec_kernel.testing.host import host
from autorec_kernel.testing.model_cases import TARGET, context_for
from autorec_kernel.testing.network_cases import batches, network_for, suited, train_steps
from autorec_prune.cells import cells_of, sliced
from autorec_prune.coordinates import FIXED, Coordinates
from autorec_prune.follow import follow
from autorec_prune.width import WidthPruning, narrowed

pytestmark = pytest.mark.plugins


@cache
def kernel() -> Kernel:
    torch.set_num_threads(1)
    found: Kernel = host(None)
    return found


def nothing(*_: Any) -> Any:
    raise AssertionError("nobody is trained here")


def case(name: str, **options: Any) -> tuple[TrainedModel, Any, CompressionContext]:
    """Return (model, its features, context) of a blueprint that took two steps."""
    blueprint = kernel().create("blueprint", name, **options)
    features = suited(blueprint, kernel())[1]  # type: ignore[index]
    network = network_for(blueprint, features, kernel())
    train_steps(network, batches(network, features, 32, 1), 2)
    trained = TrainedModel(network.architecture, network.eval(), features.schema)
    context = replace(context_for(trained, features), trainer=Trainer(kernel(), nothing, nothing))
    return trained, features, context


def narrow(model: TrainedModel, context: CompressionContext, **config: Any) -> TrainedModel:
    return WidthPruning(WidthPruning.Config(**{"fine_tune": 0.0, **config})).compress(CompressedModel(model, b"graph"), context).model


def scores(model: TrainedModel, context: CompressionContext) -> torch.Tensor:
    network = model.module
    inputs = to_tensors({name: context.sample[name] for name in network.inputs}, "cpu")
    with torch.no_grad():
        served = network.serve(*(inputs[name] for name in network.inputs))[0]
        found: torch.Tensor = served @ network.item_vectors().T if network.serving_outputs == ("user",) else served
        return found


def parameters(model: TrainedModel) -> int:
    return sum(parameter.numel() for parameter in model.module.parameters())


def test_removing_zero_factors_changes_no_score_of_a_factorisation() -> None:
    model, _, context = case("zoo/bpr-mf", embedding_dim=32, biases=True)
    weak = torch.from_numpy(np.random.default_rng(0).permutation(32)[:16])
    with torch.no_grad():
        model.module.stores["32"].weight[:, weak] = 0.0
    small = narrow(model, context)
    assert small.module.item_vectors().shape[1] == 17 and parameters(small) < 0.55 * parameters(model)
    assert torch.allclose(scores(model, context), scores(small, context), atol=1e-6)


def test_removing_zero_units_changes_no_score_of_a_recurrent_network() -> None:
    """Units go gate by gate, together with the columns that read them, and columns of the item table with what they feed."""
    model, _, context = case("zoo/gru4rec", hidden_size=32, embedding_dim=48, num_layers=2)
    network, rng = model.module, np.random.default_rng(1)
    weak, columns = (torch.from_numpy(rng.permutation(size)[: size // 2]) for size in (32, 48))
    with torch.no_grad():
        network.stores["48"].weight[:, columns] = 0.0
        for name in ("states1", "states2"):
            unit = network.part(name).unit
            for gate in range(3):
                for weight in (unit.weight_ih_l0, unit.weight_hh_l0, unit.bias_ih_l0, unit.bias_hh_l0):
                    weight[gate * 32 + weak] = 0.0
            unit.weight_hh_l0[:, weak] = 0.0
            unit.weight_ih_l0[:, columns if name == "states1" else weak] = 0.0
        network.part("answers").layer.weight[:, weak] = 0.0
        network.part("answers").layer.weight[columns] = 0.0
    small = narrow(model, context)
    assert small.module.part("states1").unit.weight_hh_l0.shape == (48, 16) and small.module.item_vectors().shape[1] == 24
    assert torch.allclose(scores(model, context), scores(small, context), atol=1e-6)
    assert [small.module.specs[f"end{layer}"].width for layer in (1, 2)] == [16, 16]  # states that a session begins with


def test_removing_zero_columns_of_an_autoencoder_changes_no_rating() -> None:
    model, _, context = case("zoo/autorec-item", hidden_units=(32,), encoder_activation="tanh")
    weak = torch.arange(1, 32, 2)
    with torch.no_grad():
        for weight in (model.module.part("weighed").weight.t(), model.module.part("weights").weight):
            weight[:, weak] = 0.0
        model.module.part("hidden").bias[weak] = 0.0
    small = narrow(model, context)
    assert parameters(small) < 0.6 * parameters(model)
    assert torch.allclose(scores(model, context), scores(small, context), atol=1e-6)


def test_a_residual_stream_is_cut_at_the_same_places_everywhere_and_heads_stay_equal() -> None:
    model, _, context = case("zoo/sasrec", hidden_size=32, num_heads=2, num_layers=2)
    network, strong = model.module, torch.arange(0, 32, 2)
    weak = torch.arange(1, 32, 2)
    with torch.no_grad():
        for tensor, axis in stream(network):
            tensor.index_copy_(axis, weak, 1e-3 * tensor.index_select(axis, weak))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    small = narrow(model, context)
    for (old, axis), (new, _) in zip(stream(network), stream(small.module), strict=True):
        mine = [axis_ for axis_ in range(old.dim()) if old.shape[axis_] == new.shape[axis_]]
        if old.dim() == 1 or mine:
            assert torch.equal(old.index_select(axis, strong), new)
    layer = small.module.part("states").layers[0]
    assert layer.project.weight.shape == (48, 16) and layer.merge.weight.shape == (16, 16) and layer.forward_net[0].weight.shape == (16, 16)
    old = network.part("states").layers[0].project.weight.detach().view(3, 2, 16, 32)[..., strong]
    new = layer.project.weight.detach().view(3, 2, 8, 16)
    kept = [[[rows(old[part, head], row) for row in new[part, head]] for head in range(2)] for part in range(3)]
    assert kept[0] == kept[1] != kept[2]  # queries and keys of a head at the same places, values at their own
    assert all(sorted(one) == one and len(set(one)) == 8 for part in kept for one in part)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def stream(network: Any) -> list[tuple[torch.Tensor, int]]:
    """Return the tensors along an axis of which the stream lies, and that axis."""
    found = [(next(iter(network.stores.values())).weight, 1), (network.part("placed").weight, 1)]
    states = network.part("states")
    for layer in states.layers:
        found += [(norm, 0) for one in (layer.before, layer.between) for norm in (one.weight, one.bias)]
        found += [(layer.project.weight, 1), (layer.merge.weight, 0), (layer.merge.bias, 0)]
        found += [(layer.forward_net[0].weight, 1), (layer.forward_net[3].weight, 0), (layer.forward_net[3].bias, 0)]
    return [*found, (states.norm.weight, 0), (states.norm.bias, 0)]


def rows(table: torch.Tensor, row: torch.Tensor) -> int:
    """Return which row of a table it is."""
    return int((table == row).all(1).nonzero()[0, 0])


def test_the_graph_says_the_new_widths_and_the_network_is_the_one_it_describes() -> None:
    model, features, context = case("zoo/sasrec", hidden_size=48)
    small = narrow(model, context)
    assert small.architecture == small.module.architecture and small.architecture.digest() != model.architecture.digest()
    assert {node.config["width"] for node in small.architecture.nodes if "width" in node.config} == {24}
    again = build_network(small.architecture, features.schema, kernel())
    assert {name: value.shape for name, value in again.state_dict().items()} == {n: v.shape for n, v in small.module.state_dict().items()}
    assert parity(small.module, export_onnx(small.module, context.sample), context.sample) <= 1e-5


def test_widths_are_cut_and_lengths_counts_and_small_widths_stay() -> None:
    graph = case("zoo/sasrec", hidden_size=48)[0].architecture
    nodes = (*graph.nodes, Node("deep", "blocks/mlp", ("user",), {"hidden_dims": [100, 16], "dropout": [0.1]}))
    found = narrowed(replace(graph, nodes=nodes), 0.5, 8)
    assert found["deep"].config == {"hidden_dims": [48, 16], "dropout": [0.1]} and found["history"].config["width"] == 24
    assert found["history"].config["length"] == graph["history"].config["length"] == found["placed"].config["max_length"]
    narrow_graph = case("zoo/sasrec", hidden_size=16)[0].architecture
    assert narrowed(narrow_graph, 0.5, 8) == narrow_graph


def test_it_keeps_the_contract_and_proposes_two_cuts() -> None:
    model, _, _ = case("zoo/mf")
    instance: Any = WidthPruning(WidthPruning.Config())
    assert isinstance(instance, Compressor)
    assert [config.model_dump()["sparsity"] for config in instance.propose(CompressedModel(model), TARGET)] == [0.5, 0.75]
    assert not list(instance.propose(CompressedModel(case("zoo/mf", embedding_dim=16)[0]), TARGET))


def test_the_narrower_network_is_tuned_as_far_as_it_is_asked_for_and_loses_its_old_graph() -> None:
    model, _, context = case("zoo/mf")
    tuned = list[tuple[int, float]]()

    def fine_tune(given: TrainedModel, share: float) -> TrainedModel:
        tuned.append((given.module.item_vectors().shape[1], share))
        return given

    own = replace(context, fine_tune=fine_tune)
    assert WidthPruning(WidthPruning.Config(fine_tune=0.4)).compress(CompressedModel(model, b"graph"), own).graph is None
    narrow(model, own)
    assert tuned == [(32, 0.4)]


def test_equal_models_give_equal_networks() -> None:
    model, _, context = case("zoo/gru4rec")
    one, other = (narrow(model, replace(context, rng=np.random.default_rng(seed))).module.state_dict() for seed in (0, 1))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_what_a_narrower_network_does_not_read_or_is_not_built_of_is_told() -> None:
    model, _, context = case("zoo/mf")
    for given, ctx in ((model, replace(context, trainer=None)), (replace(model, module=nn.Linear(2, 2)), context)):
        with pytest.raises(NotApplicable, match="that a run trained"):
            narrow(given, ctx)
    for name, told in (("zoo/dien", "n_foreseen"), ("zoo/transformer", "project.weight"), ("zoo/comirec", "maps")):
        model, _, context = case(name)
        with pytest.raises(NotApplicable, match=told):
            narrow(model, context)


PRUNED = "bert4rec bpr-mf dssm gru4rec lightgcn mf mind multdae multvae narm nextitnet ngcf sasrec stamp youtube-dnn"
PRUNED += " autoint autorec-item autorec-user bst dcn dcnv2 deepfm din edcn esmm neumf nfm pnn shared-bottom widedeep xdeepfm biased-mf"


@pytest.mark.parametrize("name", PRUNED.split())
def test_networks_of_the_zoo_shrink_and_train_on(name: str) -> None:
    model, features, context = case(f"zoo/{name}")
    small = narrow(model, context)
    assert parameters(small) < 0.7 * parameters(model)
    assert scores(small, context).shape == scores(model, context).shape
    assert np.isfinite(train_steps(small.module, batches(small.module, features, 32, 1), 2)).all()


# --- what belongs together ------------------------------------------------------------------------------------------------------


def found_in(answer: Callable[..., torch.Tensor], **shapes: Sequence[int]) -> tuple[Coordinates, dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    tensors = {name: torch.randn(*shape, generator=generator) for name, shape in shapes.items()}
    return follow(tensors, lambda: [answer(**tensors)]), tensors


def groups(found: Coordinates, name: str, axis: int) -> list[int]:
    return [int(one) for one in found.of(found.axes[name, axis])]


def test_what_is_added_multiplied_or_summed_over_belongs_together() -> None:
    rows = torch.randn(5, 4)

    def answer(first: torch.Tensor, second: torch.Tensor, offset: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        hidden = functional.gelu(functional.linear(rows, first, offset)) * scale
        return functional.linear(functional.layer_norm(hidden, (6,)), second)

    found, _ = found_in(answer, first=(6, 4), second=(2, 6), offset=(6,), scale=(6,))
    hidden = groups(found, "first", 0)
    assert len(set(hidden)) == 6 and FIXED not in hidden
    assert groups(found, "second", 1) == groups(found, "offset", 0) == groups(found, "scale", 0) == hidden
    assert set(groups(found, "first", 1)) == {FIXED}  # the columns of the data
    assert set(groups(found, "second", 0)) == {FIXED}  # the answers


def test_what_lies_side_by_side_keeps_its_own_numbers_and_data_beside_it_are_fixed() -> None:
    ids, numbers = torch.tensor([0, 2, 1]), torch.randn(3, 2)

    def answer(table: torch.Tensor, other: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return torch.cat([functional.embedding(ids, table), numbers, functional.embedding(ids, other)], 1) @ weight

    found, _ = found_in(answer, table=(4, 3), other=(4, 5), weight=(10, 2))
    assert groups(found, "weight", 0) == [*groups(found, "table", 1), FIXED, FIXED, *groups(found, "other", 1)]
    assert set(groups(found, "table", 0)) == {FIXED} and len({*groups(found, "weight", 0)}) == 9


def test_fields_of_one_table_share_its_columns_and_stay_in_their_places() -> None:
    ids = torch.tensor([[0, 2], [1, 3]])
    found, tensors = found_in(lambda table, weight: functional.embedding(ids, table).flatten(1) @ weight, table=(4, 3), weight=(6, 2))
    columns = groups(found, "table", 1)
    assert groups(found, "weight", 0) == [*columns, *columns]
    result = sliced(found, tensors, {columns[0]: columns[2], columns[2]: columns[0]})
    assert torch.equal(result["table"], tensors["table"][:, [2, 0]])
    assert torch.equal(result["weight"], tensors["weight"][[2, 0, 5, 3]])


@pytest.mark.parametrize(
    "told_apart",
    [
        lambda hidden: hidden * torch.arange(6.0),
        lambda hidden: torch.cat([hidden[:, 1:], hidden[:, :1]], 1) + hidden,
        lambda hidden: hidden.cumsum(1),
        lambda hidden: hidden[:, torch.tensor([0, 2, 4, 1, 3, 5])],
        lambda hidden: hidden.sort(1).values,
        lambda hidden: hidden[:, 0:1] + hidden,
    ],
)
def test_what_tells_coordinates_apart_fixes_them(told_apart: Callable[[torch.Tensor], torch.Tensor]) -> None:
    data = torch.randn(5, 4)
    found, _ = found_in(lambda first, second: told_apart(data @ first) @ second, first=(4, 6), second=(6, 2))
    together = groups(found, "first", 1)
    assert FIXED in together or len(set(together)) == 1  # one that is fixed, or all that cannot go without each other


def test_an_operator_that_is_not_known_is_named() -> None:
    data = torch.randn(5, 4)
    found, _ = found_in(lambda first: (data @ first).sort(1).values.sum(1), first=(4, 6))
    assert found.strange == {"sort"}


def test_parts_that_would_be_left_unequal_or_fixed_places_that_would_go_are_refused() -> None:
    data = torch.randn(5, 4)

    def answer(first: torch.Tensor) -> torch.Tensor:
        one, other = (data @ first).chunk(2, 1)
        return (one * other).sum(1)

    found, _ = found_in(answer, first=(4, 6))
    with pytest.raises(NotApplicable, match="parts of 3 places"):
        cells_of(found, {"first": (4, 3)})
    assert cells_of(found, {"first": (4, 4)}).stay == (2,)
    with pytest.raises(NotApplicable, match="axis 0 of first cannot become 2 long"):
        cells_of(found, {"first": (2, 6)})
