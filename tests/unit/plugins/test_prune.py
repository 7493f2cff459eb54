from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("torch_pruning")

from autorec_kernel.contracts.deploy import CompressionContext, Compressor, NotApplicable, Target
from autorec_kernel.deploy.export import export_onnx, parity
from autorec_kernel.kernel import Kernel
from autorec_kernel.records.architecture import Architecture
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.records.model import CompressedModel, TrainedModel
from autorec_kernel.testing.host import host
from autorec_kernel.testing.model_cases import context_for
from autorec_kernel.testing.network_cases import batches, network_for, suited, train_steps
from autorec_prune.channels import is_by_unit
from autorec_prune.magnitude import MagnitudePruning


class Tower(nn.Module):
    """A perceptron between an embedding and a head; its second hidden layer has 32 strong and 32 weak units."""

    inputs, serving_outputs, lengths = ("item", "price"), ("label", "rating"), {}

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.items = nn.Embedding(50, 16)
            self.mlp = nn.Sequential(nn.Linear(17, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 8))
            self.head = nn.Linear(8, 2)
            with torch.no_grad():
                self.mlp[2].weight[1::2] *= 1e-4
                self.mlp[2].bias[1::2] = 0
        self.eval()

    def serve(self, item: torch.Tensor, price: torch.Tensor) -> tuple[torch.Tensor, ...]:
        scores = self.head(self.mlp(torch.cat([self.items(item), price], 1)))
        return scores[:, 0], scores[:, 1]


class Flat(Tower):
    """No hidden layer at all."""

    def __init__(self) -> None:
        super().__init__()
        self.mlp = nn.Linear(17, 8)
        self.eval()


SAMPLE = {"item": np.arange(12) % 50, "price": np.linspace(0, 1, 12, dtype=np.float32)[:, None]}


def context(tuned: list[float] | None = None) -> CompressionContext:
    def fine_tune(model: TrainedModel, share: float) -> TrainedModel:
        (tuned if tuned is not None else []).append(share)
        return model

    return CompressionContext(Target("cloud"), None, SAMPLE, fine_tune, np.random.default_rng(0))  # type: ignore[arg-type]


def model_of(network: nn.Module) -> CompressedModel:
    return CompressedModel(TrainedModel(Architecture((), {}), network, FeatureSchema()), b"graph")


def count(model: CompressedModel) -> int:
    return sum(parameter.numel() for parameter in model.model.module.parameters())


def compress(network: nn.Module, ctx: CompressionContext | None = None, **config: Any) -> CompressedModel:
    return MagnitudePruning(MagnitudePruning.Config(**config)).compress(model_of(network), ctx or context())


def test_it_keeps_the_contract_and_proposes_two_cuts() -> None:
    instance = MagnitudePruning(MagnitudePruning.Config())
    assert isinstance(instance, Compressor)
    assert [config.sparsity for config in instance.propose(model_of(Tower()), context().target)] == [0.5, 0.75]


def test_half_of_the_hidden_units_go_and_the_outputs_keep_their_shape() -> None:
    pruned = compress(Tower())
    assert [layer.out_features for layer in pruned.model.module.mlp if isinstance(layer, nn.Linear)] == [32, 32, 8]
    assert count(pruned) < count(model_of(Tower()))
    inputs = (torch.from_numpy(SAMPLE["item"]), torch.from_numpy(SAMPLE["price"]))
    assert [output.shape for output in pruned.model.module.serve(*inputs)] == [(12,), (12,)]


def test_the_weak_units_are_the_ones_that_go() -> None:
    pruned = compress(Tower(), fine_tune=0.0)
    assert float(pruned.model.module.mlp[2].weight.detach().abs().mean(1).min()) > 1e-3


def test_embeddings_and_the_head_keep_their_shape() -> None:
    module = compress(Tower()).model.module
    assert (tuple(module.items.weight.shape), tuple(module.head.weight.shape)) == ((50, 16), (2, 8))


def test_the_input_network_stays_bit_identical() -> None:
    network = Tower()
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    compress(network)
    after = network.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_the_cut_is_deterministic() -> None:
    first, second = compress(Tower()).model.module.state_dict(), compress(Tower()).model.module.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_copy_is_fine_tuned_and_loses_its_old_graph() -> None:
    tuned: list[float] = []
    assert compress(Tower(), context(tuned), fine_tune=0.3).graph is None
    compress(Tower(), context(tuned), fine_tune=0.0)
    assert tuned == [0.3]


def test_the_pruned_network_exports_with_parity() -> None:
    module = compress(Tower()).model.module
    assert parity(module, export_onnx(module, SAMPLE), SAMPLE) <= 1e-5


@pytest.mark.parametrize("network", [Flat(), Tower(width=16)])
def test_nothing_to_cut_is_not_applicable(network: nn.Module) -> None:
    assert list(MagnitudePruning(MagnitudePruning.Config()).propose(model_of(network), context().target)) == []
    with pytest.raises(NotApplicable):
        compress(network)


# --- modules between the layers -------------------------------------------------------------------------------------------------


class Slopes(nn.Module):
    """Somebody's activation: one slope and one centre a unit, and a name torch-pruning has never heard of."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.linspace(0.1, 1.0, width))
        self.register_buffer("centre", torch.linspace(-1.0, 1.0, width))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return (values - self.centre) * self.slope


class Mixing(Slopes):
    """The same, but each unit reads the mean of all."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return (values - values.mean(-1, keepdim=True)) * self.slope


def tower_with(between: nn.Module) -> Tower:
    network = Tower()
    network.mlp = nn.Sequential(nn.Linear(17, 64), between, nn.Linear(64, 8))
    return network.eval()


@pytest.mark.parametrize(
    "between", [Slopes(64), nn.PReLU(64), nn.PReLU(), nn.LayerNorm(64), nn.BatchNorm1d(64), nn.Dropout(0.3), nn.Tanh()]
)
def test_what_stands_between_two_layers_shrinks_with_the_units(between: nn.Module) -> None:
    network = tower_with(between)
    with torch.no_grad():
        network.mlp[0].weight[32:], network.mlp[0].bias[32:] = 0.0, 0.0
        network.mlp[2].weight[:, 32:] = 0.0
    pruned = compress(network, fine_tune=0.0).model.module
    assert pruned.mlp[0].out_features == pruned.mlp[2].in_features == 32
    torch.testing.assert_close(pruned.mlp[0].weight, network.mlp[0].weight[:32])
    for name, value in pruned.mlp[1].state_dict().items():
        whole = between.state_dict()[name]
        torch.testing.assert_close(value, whole[:32] if whole.shape == (64,) else whole)


def test_a_module_that_mixes_units_keeps_its_layer_as_it_is() -> None:
    with pytest.raises(NotApplicable, match="no hidden layer"):
        compress(tower_with(Mixing(64)))


def test_a_module_works_by_unit_when_no_unit_reads_another() -> None:
    assert all(is_by_unit(one, 24) for one in (Slopes(24), nn.PReLU(24), nn.PReLU(), nn.GELU(), nn.Dropout(0.5)))
    assert not any(is_by_unit(one, 24) for one in (Mixing(24), nn.Softmax(-1), nn.Linear(24, 24), nn.Embedding(3, 24)))


# --- every blueprint ------------------------------------------------------------------------------------------------------------

NAMES = [row.id for row in host(None).components("blueprint") if row.usable and row.id.startswith("zoo/")]
CLICK = ("autoint", "bst", "dcn", "dcnv2", "deepfm", "dien", "din", "esmm", "fibinet", "finalmlp", "neumf", "nfm", "pnn", "xdeepfm")
OTHERS = ("bert4rec", "mind", "sasrec", "shared-bottom", "transformer", "widedeep")
PRUNED = frozenset(f"zoo/{name}" for name in (*CLICK, *OTHERS))


@pytest.mark.parametrize("name", NAMES)
def test_every_blueprint_shrinks_and_trains_on_or_says_why_not(kernel: Kernel, name: str) -> None:
    blueprint = kernel.create("blueprint", name)
    found = suited(blueprint, kernel)
    assert found is not None
    network = network_for(blueprint, found[1], kernel)
    few = batches(network, found[1], 32, 1) if network.trainable else []
    train_steps(network, few, 1)
    trained = TrainedModel(network.architecture, network.eval(), found[1].schema)
    given = CompressedModel(trained, None)
    prune = MagnitudePruning(MagnitudePruning.Config(fine_tune=0.0))
    if name not in PRUNED:
        assert list(prune.propose(given, context().target)) == []
        with pytest.raises(NotApplicable, match="no hidden layer wider than 16"):
            prune.compress(given, context_for(trained, found[1]))
        return
    small = prune.compress(given, context_for(trained, found[1]))  # checks the shapes of the answers itself
    assert count(small) < 0.91 * count(given)
    assert np.isfinite(train_steps(small.model.module, few, 2)).all()


def test_a_pruned_activation_unit_with_dice_exports_with_parity(kernel: Kernel) -> None:
    blueprint = kernel.create("blueprint", "zoo/din")
    features = suited(blueprint, kernel)[1]  # type: ignore[index]
    network = network_for(blueprint, features, kernel)
    train_steps(network, batches(network, features, 64, 2), 4)
    trained = TrainedModel(network.architecture, network.eval(), features.schema)
    ctx = context_for(trained, features)
    small = MagnitudePruning(MagnitudePruning.Config(fine_tune=0.0)).compress(CompressedModel(trained, None), ctx).model.module
    moments = {buffer.shape[0] for buffer_name, buffer in small.named_buffers() if buffer_name.endswith("variance")}
    assert moments == {64, 16}  # the network and the unit, both halved
    assert parity(small, export_onnx(small, ctx.sample), ctx.sample) <= 1e-5
