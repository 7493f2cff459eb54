"""Numbers as fields: one each while they are few, by families where they are many."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autorec_blocks.fields import NumericFields
from autorec_kernel.errors import ContractError
from autorec_kernel.kernel import Kernel
from autorec_kernel.models import build_network
from autorec_kernel.records.architecture import TensorSpec
from autorec_kernel.records.features import Feature, FeatureSchema
from autorec_kernel.testing.block_cases import build
from autorec_zoo.parts import field_nodes, flat_nodes, linear_nodes

NAMES = st.lists(
    st.tuples(st.sampled_from(["", "user", "item", "user.count", "price"]), st.integers(0, 40)), min_size=1, max_size=60, unique=True
)


def number(name: str, width: int = 1) -> Feature:
    return Feature(name, "numeric", "row", width=width)


def schema_of(*features: Feature) -> FeatureSchema:
    return FeatureSchema(features, users=5, items=5, tasks={"label": "logit"}, label_range={"label": (0.0, 1.0, 0.5)}, events=100)


def family(name: str) -> str:
    return name.rpartition(".")[0] or name


def numeric_fields(schema: FeatureSchema, names: tuple[str, ...] | None = None) -> list[list[str]]:
    """Return the columns of each field of numbers, by the widths that the graph states."""
    nodes = {node.id: node for node in field_nodes(schema, 4, names)[0]}
    columns, groups = list(nodes["numbers"].config["columns"]), list(nodes["number_fields"].config["groups"])
    assert sum(groups) == sum(schema[name].width for name in columns)
    places = [0, *accumulate(schema[name].width for name in columns)]
    cuts = [0, *accumulate(groups)]
    assert set(cuts) <= set(places), "a field ends inside a feature"
    return [[name for name, at in zip(columns, places, strict=False) if start <= at < end] for start, end in pairwise(cuts)]


def windows(families: int, of: int) -> list[Feature]:
    """Return features of many families, their members far apart."""
    return [number(f"f{one}.w{window}", 1 + one % 3) for window in range(of) for one in range(families)]


def test_sixteen_numbers_are_a_field_each_in_the_order_of_the_schema() -> None:
    features = windows(4, 4)
    assert numeric_fields(schema_of(*features)) == [[feature.name] for feature in features]


def test_more_than_sixteen_share_fields_by_family() -> None:
    features = windows(6, 3)
    fields = numeric_fields(schema_of(*features))
    assert fields == [[f"f{one}.w{window}" for window in range(3)] for one in range(6)]


def test_more_than_sixteen_families_share_fields_with_their_neighbours() -> None:
    fields = numeric_fields(schema_of(*(number(f"n{one}") for one in range(33))))
    assert [len(field) for field in fields] == [3] * 11
    assert [name for field in fields for name in field] == [f"n{one}" for one in range(33)]


@settings(max_examples=150, deadline=None)
@given(NAMES)
def test_each_number_is_in_exactly_one_field_and_a_family_in_one(names: Sequence[tuple[str, int]]) -> None:
    told = [f"{prefix}.{last}" if prefix else f"n{last}" for prefix, last in names]
    schema = schema_of(*(number(name, 1 + place % 3) for place, name in enumerate(told)))
    fields = numeric_fields(schema)
    flat = [name for field in fields for name in field]
    assert sorted(flat) == sorted(told)
    assert len(fields) <= 16
    if len(told) <= 16:
        assert flat == told
        return
    owner = {name: place for place, field in enumerate(fields) for name in field}
    assert all(len({owner[name] for name in told if family(name) == one}) == 1 for one in {family(name) for name in told})
    first = list(dict.fromkeys(family(name) for name in told))
    assert flat == sorted(told, key=lambda name: first.index(family(name))), "families by their first member, members in their order"


def test_what_is_named_is_a_field_each_however_many_there_are() -> None:
    features = windows(6, 3)
    names = tuple(feature.name for feature in reversed(features))
    fields = numeric_fields(schema_of(*features), names)
    assert sorted(fields) == sorted([name] for name in names)


def test_categories_come_first_and_do_not_count_as_numbers() -> None:
    ids = [Feature(f"c{one}", "id", "row", vocabulary=f"c{one}", size=4) for one in range(20)]
    mixed = [feature for pair in zip(ids, windows(4, 4), strict=False) for feature in pair] + ids[16:]
    nodes, last = field_nodes(schema_of(*mixed), 4)
    assert [node.id for node in nodes] == ["fields", "numbers", "number_fields", "all_fields"]
    assert last == "all_fields"
    assert list(nodes[0].config["columns"]) == [feature.name for feature in mixed if feature.kind == "id"]
    assert len(nodes[2].config["groups"]) == 16


def test_all_readers_of_many_numbers_read_one_source_in_one_order() -> None:
    schema = schema_of(*windows(6, 3))
    fields, flat = field_nodes(schema, 4)[0], flat_nodes(schema, 4)[0]
    wide, parts = linear_nodes(schema, beside=fields)
    assert fields[0].config == flat[0].config
    assert [(node.block, node.inputs) for node in wide] == [("blocks/linear", ("numbers",))]
    assert parts == ("slope",)


def test_a_number_moves_the_field_that_the_graph_puts_it_in_and_no_other() -> None:
    schema = schema_of(*windows(6, 3))
    nodes = {node.id: node for node in field_nodes(schema, 4)[0]}
    width = sum(feature.width for feature in schema.features)
    block = NumericFields(NumericFields.Config(**nodes["number_fields"].config))
    spec = TensorSpec("vector", width=width)
    assert block.output([spec]).fields == 6
    moved = build(block, [spec])(torch.eye(width)).abs().sum(2) > 0
    owner = [place for place, field in enumerate(numeric_fields(schema)) for name in field for _ in range(schema[name].width)]
    assert torch.equal(moved, torch.nn.functional.one_hot(torch.tensor(owner), 6).bool())


def test_no_suitable_feature_is_told() -> None:
    with pytest.raises(ContractError, match="needs at least one"):
        field_nodes(schema_of(), 4)


@pytest.mark.parametrize("numbers", [1, 16, 17, 40])
@pytest.mark.parametrize("gates", ["FGU", "BGU"])
def test_a_gate_a_field_is_one_a_group_of_numbers(kernel: Kernel, numbers: int, gates: str) -> None:
    ids = [Feature(name, "id", "row", vocabulary=name, size=5) for name in ("a", "b", "c")]
    schema = schema_of(*ids, *(number(f"f{place % 7}.w{place}") for place in range(numbers)))
    graph = kernel.create("blueprint", "zoo/edcn", gate_type=gates).architecture(schema)
    network = build_network(graph, schema, kernel)
    fields = network.specs[graph["cross_0"].inputs[0]].fields
    assert graph["to_cross_0"].config["groups"] == (fields if gates == "FGU" else 0)
    assert fields == 3 + (numbers if numbers <= 16 else 7)
