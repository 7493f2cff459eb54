from __future__ import annotations

from typing import Any

import pytest
from loop_kit import OFFERS, SPACE, FakeKernel

from autorec_kernel.errors import PluginError
from autorec_kernel.records.features import Feature, FeatureSchema
from autorec_kernel.search.genes import Offer, assemble_space, decode, first_proposals, training_key
from autorec_kernel.space import Choice, Gene, Genotype, SearchSpace

SCHEMA = FeatureSchema(
    (
        Feature("item_id", "id", "item", family="id"),
        Feature("user.count", "numeric", "user", family="aggregate"),
        Feature("hour", "numeric", "row", family="time"),
    )
)
BASE = {"pipeline": "retriever", "retriever": "z/deep", "z/deep.width": 2, "retriever.training.learning_rate": 0.5}


def key(**changes: Any) -> str:
    return training_key(Genotype({**BASE, **changes}), SCHEMA, FakeKernel())  # type: ignore[arg-type]


def test_candidates_share_a_key_exactly_when_graph_training_and_features_are_equal() -> None:
    assert key() == key()
    different = [
        key(),
        key(**{"z/deep.width": 3}),
        key(**{"retriever.training.learning_rate": 0.4}),
        key(**{"features.aggregate": False}),
        key(**{"features.time": False}),
        key(**{"features.time": False, "features.aggregate": False}),
        key(retriever="z/wide"),
    ]
    assert len(set(different)) == len(different)
    assert key(**{"features.time": True}) == key()


def test_an_impossible_candidate_has_a_key_of_its_own() -> None:
    broken = Genotype({"pipeline": "ranker"})
    assert training_key(broken, SCHEMA, FakeKernel()) == broken.digest  # type: ignore[arg-type]


def test_feature_genes_switch_families_off() -> None:
    found = decode(Genotype({**BASE, "features.time": False}), SCHEMA, FakeKernel())  # type: ignore[arg-type]
    assert [feature.name for feature in found.features.features] == ["item_id", "user.count"]
    assert found.training == {"learning_rate": 0.5} and found.blueprint == "z/deep"


def test_the_first_proposals_are_defaults_of_what_fits_baselines_apart() -> None:
    baselines, blueprints = first_proposals(SPACE, OFFERS)
    assert [p.reason for p in (*baselines, *blueprints)] == ["baseline b/pop", "baseline b/knn", "blueprint z/deep", "blueprint z/wide"]
    for proposal in (*baselines, *blueprints):
        SPACE.check(proposal.genotype)


def test_without_a_blueprint_that_fits_there_is_no_space() -> None:
    offers = (Offer("b/heavy", "retriever", True, False, "needs items"),)
    with pytest.raises(PluginError, match="b/heavy: needs items"):
        assemble_space(FakeKernel(), offers, SCHEMA, "training/full")  # type: ignore[arg-type]


def test_blueprints_tagged_later_are_in_the_space_and_not_among_the_first_candidates() -> None:
    offers = (Offer("z/exotic", "retriever", False, True, later=True), Offer("z/usual", "retriever", False, True))
    space = SearchSpace(
        [
            Gene("pipeline", Choice("retriever"), "retriever"),
            Gene("retriever", Choice("z/exotic", "z/usual"), "z/usual", "pipeline", ("retriever",)),
        ]
    )
    _, blueprints = first_proposals(space, offers)
    assert [proposal.genotype["retriever"] for proposal in blueprints] == ["z/usual"]
    assert space["retriever"].domain.contains("z/exotic")
