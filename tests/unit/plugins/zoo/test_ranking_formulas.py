"""What sets each ranker apart: its formula, put together by hand from the values of its nodes."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from autorec_kernel.models.batches import to_tensors
from autorec_kernel.models.sources import EmbeddingStore
from autorec_kernel.records.architecture import TensorSpec


def batch_of(network, features, count=6, split="train"):
    rows = features.rows(split)[:count]
    return to_tensors(features.row_inputs([n for n in network.training_inputs if not n.startswith("@")], rows), "cpu")


def part(network, name):
    return network.parts[f"n_{name.replace('_', '__')}"]


def shaken(network, seed=5):
    """Return the network with weights far from where they start."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return network


@pytest.fixture
def run(built, features_of):
    def make(name, **config):
        features = features_of("click")
        network = shaken(built(name, features, embedding_dim=4, **config))
        return network, network(batch_of(network, features))

    return make


def pair_sum(fields):
    count = fields.shape[1]
    return sum((fields[:, i] * fields[:, j]).sum(1, keepdim=True) for i in range(count) for j in range(i + 1, count))


def first_order(network, values):
    return values["first"].sum(1) + values["numbers"] @ part(network, "slope").weight.T


def test_a_factorization_machine_is_first_order_terms_plus_all_pairs(run):
    network, values = run("zoo/fm")
    assert torch.equal(values["all_fields"], torch.cat([values["fields"], values["number_fields"]], 1))
    expected = first_order(network, values) + pair_sum(values["all_fields"]) + part(network, "score").offset
    assert torch.allclose(values["score"], expected, atol=1e-4)


def test_deepfm_is_first_order_terms_plus_pairs_plus_network(run):
    network, values = run("zoo/deepfm", dropout_rates=())
    fields = values["all_fields"]
    deep = part(network, "network")(part(network, "deep")(fields.flatten(1)))
    expected = first_order(network, values) + pair_sum(fields) + deep + part(network, "score").offset
    assert torch.allclose(values["score"], expected, atol=1e-4)


def test_machine_and_network_of_deepfm_read_one_lookup_of_the_same_embeddings(built, features_of, monkeypatch):
    features = features_of("click")
    network = built("zoo/deepfm", features, embedding_dim=4)
    assert network.architecture["pairs"].inputs == network.architecture["deep"].inputs == ("all_fields",)
    assert set(network.stores) == {"1", "4"}
    bags = len(features.schema.of("bag"))
    asked, lookup = [], EmbeddingStore.lookup
    monkeypatch.setattr(EmbeddingStore, "lookup", lambda store, ids: asked.append(store) or lookup(store, ids))
    network(batch_of(network, features))
    assert asked.count(network.stores["4"]) <= 1 + bags  # all single-valued fields at once, each bag once; nobody looks up again


def test_deepfm_keeps_nothing_of_an_earlier_batch(built, features_of):
    features = features_of("click")
    network = built("zoo/deepfm", features)
    first, other = batch_of(network, features), batch_of(network, features, 9, "valid")
    before = network(first)["score"]
    network(other)
    assert torch.equal(network(first)["score"], before)


class _Largest(TorchDispatchMode):
    """Remembers the largest value that any operation yields."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.numbers = max(self.numbers, result.numel())
        return result


def test_pooling_pairs_grows_with_the_fields_and_not_with_their_pairs(kernel):
    module = kernel.create("model-block", "blocks/fm").build([TensorSpec("fields", fields=40, width=4)], {})
    with _Largest() as largest:
        module(torch.randn(8, 40, 4))
    assert largest.numbers == 8 * 40 * 4


def test_wide_without_deep_is_logistic_regression(built, features_of):
    features = features_of("click")
    wide, linear = shaken(built("zoo/widedeep", features)), shaken(built("zoo/lr", features), 6)
    with torch.no_grad():
        part(wide, "network").weight.zero_()
        part(wide, "crosses").weight.zero_()
        part(wide, "slope").weight.copy_(part(linear, "slope").weight)
        part(wide, "score").offset.copy_(part(linear, "score").offset)
        wide.stores["1"].weight.copy_(linear.stores["1"].weight)
    batch = batch_of(wide, features)
    assert torch.allclose(wide(batch)["score"], linear(batch)["score"], atol=1e-5)


def test_deep_without_wide_is_a_perceptron_on_embeddings_and_numbers(run):
    network, values = run("zoo/widedeep", cross_buckets=0)
    wide = first_order(network, values)
    flat = torch.cat([values["fields"].flatten(1), values["numbers"]], 1)
    deep = part(network, "network")(part(network, "deep")(flat))
    assert torch.allclose(values["score"] - wide, deep + part(network, "score").offset, atol=1e-4)


def test_wide_crosses_tell_apart_what_neither_category_tells(kernel, features_of):
    schema = features_of("click").schema
    graph = kernel.create("blueprint", "zoo/widedeep", cross_buckets=4096).architecture(schema)
    columns = graph["rows"].config["columns"]
    assert columns == [feature.name for feature in schema.of("id")]
    assert "crosses" in graph["score"].inputs
    assert "rows" not in {node.id for node in kernel.create("blueprint", "zoo/widedeep", cross_buckets=0).architecture(schema).nodes}


def test_dcn_crosses_the_flat_input_as_often_as_asked(run):
    network, values = run("zoo/dcn", cross_num=3)
    first = value = values["flat"]
    for layer in range(1, 4):
        module = part(network, f"cross_{layer}")
        value = first * (value @ module.weight.weight.T) + module.bias + value
    assert torch.allclose(values["cross_3"], value, atol=1e-3)
    assert network.architecture["score"].inputs == ("cross_3", "deep")
    assert network.architecture["deep"].inputs == network.architecture["cross_1"].inputs[:1] == ("flat",)


def test_the_second_dcn_with_vectors_is_the_first(kernel, features_of):
    schema = features_of("click").schema
    first = kernel.create("blueprint", "zoo/dcn", cross_num=2).architecture(schema)
    second = kernel.create("blueprint", "zoo/dcnv2", cross_num=2, cross_parameterization="vector").architecture(schema)
    assert second.digest() == first.digest()
    for kind in ("matrix", "mixture"):
        assert (
            kernel.create("blueprint", "zoo/dcnv2", cross_num=2, cross_parameterization=kind).architecture(schema).digest()
            != first.digest()
        )


def test_afm_weighs_its_pairs_and_even_weights_give_the_mean_pair(run):
    network, values = run("zoo/afm", attention_units=(8,))
    weights = part(network, "pooled").weights(values["pairs"])
    assert torch.allclose(weights.sum(1), torch.ones(len(weights)), atol=1e-5)
    with torch.no_grad():
        part(network, "pooled").unit[-1].weight.zero_()
        part(network, "second").weight.fill_(1.0)
    pairs = values["pairs"].shape[1]
    even = part(network, "second")(part(network, "pooled")(values["pairs"]))
    assert torch.allclose(even, pair_sum(values["all_fields"]) / pairs, atol=1e-4)


@pytest.mark.parametrize("kind", ["field_all", "field_each", "field_interaction"])
def test_fibinet_has_as_many_matrices_as_its_type_says(run, kind):
    network, values = run("zoo/fibinet", bilinear_type=kind, reduction_ratio=4)
    count = values["all_fields"].shape[1]
    matrices = {"field_all": 1, "field_each": count, "field_interaction": count * (count - 1) // 2}[kind]
    assert part(network, "plain_pairs").weight.shape == (matrices, 4, 4)
    assert part(network, "reweighed_pairs") is part(network, "plain_pairs")
    assert part(network, "reweighed").excite[0].out_features == max(1, count // 4)
    assert values["all_pairs"].shape[1] == 2 * count * (count - 1) // 2 * 4


@pytest.mark.parametrize("kind", ["field_all", "field_each", "field_interaction"])
def test_fibinet_asks_a_network_about_bilinear_pairs_of_plain_and_of_reweighed_fields(run, kind):
    network, values = run("zoo/fibinet", bilinear_type=kind, reduction_ratio=2, dropout_rates=())
    fields, matrices = values["all_fields"], part(network, "plain_pairs").weight
    rows, count, _ = fields.shape
    squeeze, _, excite, _ = part(network, "reweighed").excite
    reweighed = torch.zeros_like(fields)
    for row in range(rows):
        means = torch.stack([field.sum() / len(field) for field in fields[row]])
        hidden = (squeeze.weight @ means + squeeze.bias).clamp(min=0)
        share = 1 / (1 + torch.exp(-(excite.weight @ hidden + excite.bias)))
        reweighed[row] = torch.stack([weight * field for weight, field in zip(share, fields[row], strict=True)])
    pairs = [(i, (i + turn) % count) for turn in range(1, count // 2 + 1) for i in range(count)][: count * (count - 1) // 2]
    own = {"field_all": lambda number, i: 0, "field_each": lambda number, i: i, "field_interaction": lambda number, i: number}[kind]
    flat = [(v[:, i] @ matrices[own(n, i)]) * v[:, j] for v in (fields, reweighed) for n, (i, j) in enumerate(pairs)]
    deep = part(network, "network")(part(network, "deep")(torch.cat(flat, 1)))
    assert torch.allclose(values["score"], first_order(network, values) + deep + part(network, "score").offset, atol=1e-4)


@pytest.mark.parametrize("gate", ["FGU", "BGU"])
def test_edcn_has_a_gate_a_field_or_a_gate_a_dimension_for_each_order_and_stream(run, gate):
    network, values = run("zoo/edcn", cross_num=3, gate_type=gate)
    count = values["all_fields"].shape[1]
    gates = {node.id: part(network, node.id).logits for node in network.architecture.nodes if node.block == "blocks/feature-gate"}
    assert set(gates) == {"to_cross_0", "to_deep_0", "to_cross_1", "to_deep_1"}
    assert {tuple(logits.shape) for logits in gates.values()} == {(count if gate == "FGU" else 4 * count,)}


def test_a_bridge_of_edcn_keeps_the_crosses_and_adds_where_the_streams_agree(run):
    network, values = run("zoo/edcn", cross_num=2, bridge_type="product")
    for layer in (0, 1):
        cross = values[f"cross_{layer}"]
        wide = part(network, f"wide_{layer}")(values[f"deep_{layer}"])
        assert torch.allclose(values[f"met_{layer}"], cross + cross * wide, atol=1e-4)
    gates = 2 * torch.sigmoid(part(network, "to_cross_0").logits).repeat_interleave(4)
    assert torch.allclose(values["to_cross_0"], values["met_0"] * gates, atol=1e-4)
    assert network.architecture["cross_1"].inputs == ("all_fields", "to_cross_0")


def test_the_attention_bridge_of_edcn_adds_a_mix_of_both_streams_by_their_fit(run):
    network, values = run("zoo/edcn", bridge_type="attention", cross_num=2, hidden_units=(8,), dropout_rates=())
    cross, deep = values["cross_0"], values["deep_0"] @ part(network, "wide_0").weight.T
    hidden, _, score = part(network, "joint_0").unit
    for row in range(len(cross)):
        streams = [cross[row], deep[row]]
        fits = torch.stack([(score.weight @ (hidden.weight @ stream + hidden.bias).clamp(min=0))[0] for stream in streams])
        shares = torch.exp(fits) / torch.exp(fits).sum()
        mixed = sum(share * stream for share, stream in zip(shares, streams, strict=True))
        assert torch.allclose(values["met_0"][row], cross[row] + mixed, atol=1e-5)


def test_the_concat_bridge_of_edcn_adds_a_layer_over_both_streams(run):
    network, values = run("zoo/edcn", bridge_type="concat", cross_num=2, hidden_units=(8,), dropout_rates=())
    layer = part(network, "joint_0")[0]
    both = torch.cat([values["cross_0"], values["deep_0"]], 1)
    expected = values["cross_0"] + (both @ layer.weight.T + layer.bias).clamp(min=0)
    assert torch.allclose(values["met_0"], expected, atol=1e-5)


@pytest.mark.parametrize("bridge", ["product", "add", "concat", "attention"])
@pytest.mark.parametrize("units", [(8,), (8, 6, 4)])
def test_every_bridge_of_edcn_runs_with_shorter_and_longer_networks(run, bridge, units):
    network, values = run("zoo/edcn", cross_num=2, bridge_type=bridge, hidden_units=units)
    assert torch.isfinite(values["score"]).all()
    assert values["met_1"].shape == values["all_fields"].flatten(1).shape
    assert ("tower" in values) == (len(units) > 2)
    assert part(network, "score").layers[1].in_features == units[-1]


def test_autoint_stacks_attention_beside_first_order_terms(run):
    network, values = run("zoo/autoint", num_layers=2, num_heads=2, head_dim=4, hidden_units=())
    related = part(network, "related")(part(network, "attention_2")(part(network, "attention_1")(values["all_fields"])).flatten(1))
    assert torch.allclose(values["score"], first_order(network, values) + related + part(network, "score").offset, atol=1e-4)


def test_xdeepfm_is_first_order_terms_plus_maps_plus_network(run):
    network, values = run("zoo/xdeepfm", cin_units=(3, 2))
    assert values["maps"].shape[1] == 5
    deep = part(network, "network")(part(network, "deep")(values["all_fields"].flatten(1)))
    explicit = values["maps"] @ part(network, "explicit").weight.T
    assert torch.allclose(values["score"], first_order(network, values) + explicit + deep + part(network, "score").offset, atol=1e-4)


def test_the_gates_of_finalmlp_look_at_the_user_and_at_the_item(run, features_of):
    network, values = run("zoo/finalmlp", num_heads=2)
    schema = features_of("click").schema
    for stream, side in (("first", "user"), ("second", "item")):
        context = network.architecture[f"{stream}_context"].config["columns"]
        assert context == [feature.name for feature in schema.of("id", "bag", depends=(side,))]
    first, second = values["first_deep"], values["second_deep"]
    joint = sum(
        torch.einsum("ad,de,ae->a", x, matrix, y)
        for x, y, matrix in zip(first.chunk(2, 1), second.chunk(2, 1), part(network, "joint").weight, strict=True)
    )
    scores = values["first_score"] + values["second_score"] + joint.unsqueeze(1) + part(network, "score").offset
    assert torch.allclose(values["score"], scores, atol=1e-4)
