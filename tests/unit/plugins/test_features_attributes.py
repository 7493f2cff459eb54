"""Histories of attributes: what the last positive items were, or how they were met, step by step beside the item history."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from autorec_features.attributes import Attributes
from autorec_features.history import History
from autorec_features.identity import Identity
from autorec_kernel.contracts.features import DataProfile
from autorec_kernel.errors import ContractError
from autorec_kernel.features import FeatureSet, build_features
from autorec_kernel.kernel import Kernel
from autorec_kernel.models import FitSettings, build_network, fit
from autorec_kernel.models.batches import to_tensors
from autorec_kernel.records.program import ReadContext, run_program
from autorec_kernel.records.schema import Column, Schema
from autorec_kernel.records.table import Coded
from autorec_kernel.testing.feature_cases import World, example_dataset, fitted_on, read, world
from autorec_zoo.behaviour import Bst, Dien, Din

LENGTH = 6


@pytest.fixture(scope="module")
def place() -> World:
    """Ratings of 4 and 5 count as positive."""
    return world(example_dataset("time", "click"), "rate")


@pytest.fixture(scope="module")
def built(kernel: Kernel) -> FeatureSet:
    return build_features(example_dataset("time", "rate"), kernel, task="rate")


def by_hand(place: World, column: str, source: str) -> Iterator[tuple[int, list[int]]]:
    """Yield (row, rows of the categories of the user's last positive events before it)."""
    table = place.events if source == "events" else place.sides.items
    texts = table[column].text()  # type: ignore[union-attr]
    own = place.events if source == "events" else place.tables["items"]
    names = sorted({text for text in own[column].text() if text is not None})  # type: ignore[union-attr]
    users, items, positive = (np.asarray(place.events[name]) for name in ("@user", "@item", "@positive"))
    for row in range(place.events.rows):
        past = [n for n in range(row) if users[n] == users[row] and positive[n]][-LENGTH:]
        values = [texts[n] if source == "events" else texts[items[n]] for n in past]
        yield row, [names.index(value) + 1 if value is not None else len(names) + 1 for value in values]


@pytest.mark.parametrize(("column", "source"), [("brand", "items"), ("device", "events")])
def test_steps_are_the_categories_of_the_last_positive_events_before_the_row(place: World, column: str, source: str) -> None:
    fitted = fitted_on(Attributes, Attributes.Config(column=column, source=source, length=LENGTH), place)[1]
    found = next(iter(read(fitted, place).values()))
    items = read(fitted_on(History, History.Config(length=LENGTH), place)[1], place)["history"]
    assert 0 < np.asarray(place.events["@positive"]).sum() < place.events.rows
    assert np.array_equal(found != 0, items != 0), "the same steps, with the same padding"
    for row, expected in by_hand(place, column, source):
        assert found[row].tolist() == expected + [0] * (LENGTH - len(expected)), row
    empty = fitted.features[0].size - 1
    assert (found == empty).any(), "some step has no value, and says so"


@pytest.mark.parametrize(("column", "source"), [("brand", "items"), ("device", "events"), ("rating", "events")])
def test_a_history_shares_the_vocabulary_of_the_id(place: World, column: str, source: str) -> None:
    history = fitted_on(Attributes, Attributes.Config(column=column, source=source), place)[1].features[0]
    own = fitted_on(Identity, Identity.Config(column=column, source=source, empty_row=True), place)[1].features[0]
    assert (history.vocabulary, history.size) == (own.vocabulary, own.size)
    assert (history.kind, history.depends, history.dynamic, history.width) == ("history", "user", True, 50)


def test_given_items_tell_their_brands_and_nothing_of_how_they_were_met(place: World) -> None:
    offsets, items = np.array([0, 3, 3]), np.array([2, 4, 1])
    for column, source in (("brand", "items"), ("device", "events")):
        fitted = fitted_on(Attributes, Attributes.Config(column=column, source=source, length=LENGTH), place)[1]
        found = np.asarray(run_program(fitted.program, {}, ReadContext(2, latest=True, histories=(offsets, items)))["steps"])
        assert not found[1].any()
        assert ((found[0] != 0) == [True] * 3 + [False] * 3).all()
        if source == "events":
            assert set(found[0, :3]) == {fitted.features[0].size - 1}
            continue
        brands = place.sides.items["brand"]
        assert isinstance(brands, Coded)
        names = sorted(set(brands.compact().values))
        told = [brands.text()[item] for item in items]
        assert found[0, :3].tolist() == [names.index(text) + 1 if text else len(names) + 1 for text in told]


def test_what_is_asked_for_is_as_short_as_the_item_history(built: FeatureSet) -> None:
    rows = built.rows("train")[-20:]
    names = ["history", "history.items.brand", "history.device"]
    found = built.row_inputs(names, rows, lengths=dict.fromkeys(names, 3))
    whole = built.row_inputs(names, rows)
    for name in names:
        assert found[name].shape == (20, 3)
        assert np.array_equal(found[name] != 0, found["history"] != 0)
        for short, long in zip(found[name], whole[name], strict=True):
            kept = long[long != 0][-3:]
            assert short[: len(kept)].tolist() == kept.tolist()
    served = built.state().inputs(names, users=np.arange(5), items=np.arange(5), lengths=dict.fromkeys(names, 3))
    assert {value.shape for value in served.values()} == {(5, 3)}


@pytest.mark.parametrize("blueprint", [Din, Dien, Bst])
def test_rankers_compare_each_history_with_the_candidates_own_value(blueprint: Any, built: FeatureSet) -> None:
    def pairs(**options: Any) -> list[tuple[str, str]]:
        nodes = {node.id: node for node in blueprint(blueprint.Config(**options)).architecture(built.schema).nodes}
        read = [name for name in nodes if name.startswith("history")]
        return [(nodes[name].config["columns"][0], nodes[name.replace("history", "candidate")].config["columns"][0]) for name in read]

    assert pairs() == [("history", "item_id")], "attributes are read where they are named"
    named = ("history", "history.items.brand", "history.device")
    assert pairs(behavior_features=named) == [("history", "item_id"), ("history.items.brand", "items.brand"), ("history.device", "device")]


def test_a_history_whose_id_was_left_out_is_refused_with_its_reason(built: FeatureSet) -> None:
    schema = built.schema.only([feature.name for feature in built.schema.features if feature.name != "items.brand"])
    assert Din(Din.Config()).architecture(schema).nodes
    with pytest.raises(ContractError, match=r"items\.brand"):
        Din(Din.Config(behavior_features=("history.items.brand",))).architecture(schema)


@pytest.mark.parametrize("blueprint", [Din, Dien, Bst])
def test_a_ranker_of_named_attributes_learns_and_reads_them(blueprint: Any, built: FeatureSet, kernel: Kernel) -> None:
    options = {"behavior_features": ("history", "history.items.brand", "history.device"), "hidden_units": (8,), "embedding_dim": 4}
    network = build_network(blueprint(blueprint.Config(**options)).architecture(built.schema), built.schema, kernel)
    fit(network, built, FitSettings(epochs=1, batch_size=64), seed=np.random.SeedSequence(0), validate=None)
    rows = built.rows("train")[-50:]
    inputs = to_tensors(built.row_inputs(network.inputs, rows, lengths=network.lengths), "cpu")
    before = network.serve(*(inputs[name] for name in network.inputs))[0]
    for name in ("history.items.brand", "history.device"):
        other = {**inputs, name: (inputs[name] > 0) * 1}
        assert not torch.allclose(network.serve(*(other[name] for name in network.inputs))[0], before), name


def test_a_few_small_columns_of_items_and_events_are_proposed_for_rankers() -> None:
    names = {"c1": "events", "brand": "items", "country": "users", "c2": "events", "c3": "events"}
    columns = [Column(name, "feature", "categorical", source, distinct=9) for name, source in names.items()]  # type: ignore[arg-type]
    columns += [Column("huge", "feature", "categorical", "items", distinct=5000), Column("n", "feature", "numeric", "items")]
    columns += [Column("u", "user", "id"), Column("i", "item", "id")]
    ranks = DataProfile(Schema(tuple(columns)), 1000, 50, 40, "time", "click")
    found = list(Attributes.propose(ranks))
    assert [proposal.config.column for proposal in found] == ["brand", "c1", "c2"]  # type: ignore[attr-defined]
    assert min(proposal.seconds for proposal in found) > next(iter(History.propose(ranks))).seconds, "the item history comes first"
    assert all(proposal.bytes > 0 for proposal in found)
    spare = {p.config.column for p in Identity.propose(ranks) if p.config.empty_row}  # type: ignore[attr-defined]
    assert spare == {"brand", "c1", "c2"}
    assert not list(Attributes.propose(DataProfile(Schema(tuple(columns)), 1000, 50, 40, "time", "recommend")))
    assert not list(Attributes.propose(DataProfile(Schema(tuple(columns[:-1])), 1000, 50, 40, "time", "click")))
