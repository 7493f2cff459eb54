"""Dense, single-valued and multi-valued features: from the columns of a table to embeddings, against oracles of torch and of loops."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch.nn import functional

from autorec_kernel.deploy.export import export_onnx, parity
from autorec_kernel.models.batches import to_tensors
from autorec_kernel.records.bags import Bags
from autorec_zoo import Bag, DeepFM, Field, Numeric, WideDeep

WIDTH, GENRES = 4, 9
COLUMNS = [Field("device", 3), Bag("genres", GENRES), Numeric("price", 2)]
LISTS = [[2, 3, 7], [], [9], [1, 1, 4, 5], [8, 6]]


def padded(lists: list[list[int]], width: int) -> torch.Tensor:
    return torch.tensor([row + [0] * (width - len(row)) for row in lists])


def batch(lists: list[list[int]] = LISTS, extra: int = 0) -> dict[str, torch.Tensor]:
    count = len(lists)
    return {
        "device": torch.arange(count) % 4,
        "genres": padded(lists, max(1, *map(len, lists)) + extra),
        "price": torch.linspace(-2, 2, 2 * count).view(count, 2),
        "@label:label": torch.zeros(count),
    }


def network(**options):
    found = DeepFM(COLUMNS, hidden_units=[8], embedding_dim=WIDTH, **options).eval()
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator))
    return found


def values_of(found, given):
    with torch.no_grad():
        return found(given)


# --- the three kinds ----------------------------------------------------------------------------------------------------------------


def test_a_table_gives_dense_single_valued_and_multi_valued_features(features_of):
    features = features_of("click")
    kinds = {feature.name: feature.kind for feature in features.schema.features}
    expected = {"device": "id", "items.genres": "bag", "price": "numeric"}
    assert {name: kinds.get(name) for name in expected} == expected
    found = features.row_inputs(expected, features.rows("train")[:20])
    assert {name: (value.dtype.kind, value.ndim) for name, value in found.items()} == {
        "device": ("i", 1),
        "items.genres": ("i", 2),
        "price": ("f", 2),
    }
    assert ((found["items.genres"] != 0).sum(1) > 1).any()  # several values in one row


def test_each_kind_enters_the_fields_in_its_own_way():
    model = network()
    values = values_of(model, batch())
    fields, store = values["all_fields"], model.stores[str(WIDTH)]
    slopes = model.parts["n_number__fields"].weight
    assert fields.shape[1:] == (len(COLUMNS), WIDTH)
    for row, genres in enumerate(LISTS):
        one = store.table("device")[batch()["device"][row]]
        several = sum((store.table("genres")[genre] for genre in genres), torch.zeros(WIDTH)) / max(1, len(genres))
        number = sum(batch()["price"][row, k] * slopes[k] for k in range(2))
        for place, expected in enumerate((one, several, number)):
            assert torch.allclose(fields[row, place], expected, atol=1e-5), (row, place)


def test_a_number_enters_by_a_linear_map_without_offset():
    model = network()
    zero, one, two = (
        values_of(model, {**batch(), "price": torch.full((len(LISTS), 2), size)})["number_fields"] for size in (0.0, 1.0, 2.0)
    )
    assert not zero.any()
    assert one.any()
    assert torch.allclose(two, 2 * one, atol=1e-6)


# --- multi-valued -------------------------------------------------------------------------------------------------------------------


def test_a_bag_is_torchs_mean_bag_over_the_ragged_storage():
    offsets = np.cumsum([0, *map(len, LISTS)]).astype(np.int64)
    bags = Bags(np.array([genre for row in LISTS for genre in row], np.int32), offsets, 4)
    rows = np.array([4, 1, 0, 3, 1, 2, 0])
    model = network()
    found = values_of(model, {**batch([LISTS[row] for row in rows]), "genres": torch.from_numpy(bags[rows])})["fields"][:, 1]
    ragged, starts = bags.take(rows)
    table = model.stores[str(WIDTH)].table("genres")
    expected = functional.embedding_bag(torch.from_numpy(ragged).long(), table, torch.from_numpy(starts[:-1]), mode="mean")
    assert torch.allclose(found, expected, atol=1e-6)


def test_an_empty_bag_is_zeros_with_a_finite_gradient():
    model = network()
    assert not values_of(model, batch())["fields"][1, 1].any()
    nothing = batch([[], []])
    model.train()
    model(nothing)["fields"][:, 1].sum().backward()
    gradient = model.stores[str(WIDTH)].weight.grad
    assert gradient is None or not gradient.any()


@pytest.mark.parametrize("extra", [1, 5])
def test_padding_of_a_bag_changes_nothing(extra):
    model = network()
    with torch.no_grad():
        short, longer = (model.serve(*(given[name] for name in model.inputs))[0] for given in (batch(), batch(extra=extra)))
    assert torch.allclose(short, longer, atol=1e-6)


@pytest.fixture(scope="module")
def exported():
    model = network()
    return model, export_onnx(model, {name: batch()[name].numpy() for name in model.inputs})


def operators(graph: onnx.GraphProto) -> set[str]:
    """Return the operators of a graph and of all graphs inside it."""
    inner = [attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g")]
    return {node.op_type for node in graph.node}.union(*map(operators, inner))


@pytest.mark.slow
def test_bags_are_exported_without_a_loop(exported):
    _, data = exported
    assert not operators(onnx.load_from_string(data).graph) & {"Loop", "Scan", "SequenceMap"}


@pytest.mark.slow
@pytest.mark.parametrize("lists", [[[]], [[], [], []], [[3]], [[5], [], [1, 2, 3, 4, 5, 6]], LISTS * 4])
def test_the_exported_graph_answers_bags_of_any_length_as_the_network_does(exported, lists):
    model, data = exported
    sample = {name: batch(lists)[name].numpy() for name in model.inputs}
    with torch.no_grad():
        (expected,) = model.serve(*(torch.from_numpy(sample[name]) for name in model.inputs))
    (found,) = onnxruntime.InferenceSession(data).run(None, sample)
    assert np.allclose(found, expected, atol=1e-5)
    assert parity(model, data, sample) <= 1e-5


# --- one network, many callers ------------------------------------------------------------------------------------------------------


def test_threads_that_share_a_network_get_the_answers_of_their_own_batches(built, features_of):
    features = features_of("click")
    model = built("zoo/deepfm", features)
    parts = np.array_split(features.rows("train"), 24)

    def answer(rows: np.ndarray) -> torch.Tensor:
        given = to_tensors(features.row_inputs(model.inputs, rows), "cpu")
        with torch.no_grad():
            return model.serve(*(given[name] for name in model.inputs))[0]

    alone = [answer(rows) for rows in parts]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(answer, parts * 3))
    assert all(torch.equal(found, alone[number % len(parts)]) for number, found in enumerate(together))


# --- the example of the reference ---------------------------------------------------------------------------------------------------


def test_the_network_of_widedeep_has_the_layers_of_the_references_example():
    model = WideDeep(COLUMNS[:1], COLUMNS, hidden_units=[256, 128, 64], dropout_rates=[0.1, 0.2, 0.3])
    layers = [layer for layer in model.parts["n_deep"] if hasattr(layer, "out_features")]
    assert [layer.out_features for layer in layers] == [256, 128, 64]
    assert [layer.rate for layer in model.parts["n_deep"] if hasattr(layer, "rate")] == [0.1, 0.2, 0.3]
    assert model.parts["n_network"].in_features == 64
