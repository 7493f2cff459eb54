from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from loop_kit import OFFERS, SPACE, FakeKernel

from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import PluginError
from autorec_kernel.records.architecture import Architecture, Node
from autorec_kernel.records.features import Feature, FeatureSchema
from autorec_kernel.search.genes import Offer, assemble_space, decode, first_proposals, offers, training_key
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


class _Ranker:
    """A blueprint class that predicts some of the labels."""

    role, tasks = "ranker", ("click",)
    Config = ComponentConfig
    predicts: tuple[str, ...] = ("click", "buy")

    def __init__(self, config: ComponentConfig) -> None:
        self.config = config

    def architecture(self, features: FeatureSchema) -> Architecture:
        nodes = [Node(name, "@constant", config={"columns": ["user_id"]}) for name in self.predicts]
        return Architecture(tuple(nodes), {name: name for name in self.predicts})


class _OneLabel(_Ranker):
    predicts = ("click",)


class _Shelf:
    """A kernel with blueprints only."""

    def __init__(self, **kinds: type[_Ranker]) -> None:
        self.kinds = {name.replace("_", "/", 1): kind for name, kind in kinds.items()}

    def components(self, kind: str) -> list[Any]:
        tags = {name: ("baseline",) if name.startswith("b/") else () for name in self.kinds}
        return [SimpleNamespace(id=name, usable=True, tags=tags[name]) for name in self.kinds]

    def load(self, kind: str, name: str) -> type[_Ranker]:
        return self.kinds[name]

    def create(self, kind: str, name: str, **config: Any) -> _Ranker:
        return self.kinds[name](ComponentConfig())


LABELLED = FeatureSchema((Feature("user_id", "id", "user", vocabulary="user", size=3),), tasks={"click": "logit", "buy": "logit"})


def test_where_some_blueprint_predicts_every_label_the_candidates_of_one_do_not_fit() -> None:
    found = offers(_Shelf(z_all=_Ranker, z_one=_OneLabel, b_one=_OneLabel), "click", LABELLED)  # type: ignore[arg-type]
    reasons = {offer.id: offer.reason for offer in found}
    assert reasons == {"b/one": "", "z/all": "", "z/one": "it does not predict the label buy, which other blueprints do"}


def test_where_none_predicts_every_label_and_where_there_is_one_label_all_candidates_fit() -> None:
    one = FeatureSchema(LABELLED.features, tasks={"click": "logit"})
    for shelf, schema in ((_Shelf(z_one=_OneLabel, b_one=_OneLabel), LABELLED), (_Shelf(z_one=_OneLabel, z_two=_OneLabel), one)):
        assert [offer.reason for offer in offers(shelf, "click", schema)] == ["", ""]  # type: ignore[arg-type]


RANKED = FeatureSchema(
    (
        Feature("item_id", "id", "item", family="id"),
        *(Feature(f"n{i}", "numeric", "row", family="scale") for i in range(6)),
        *(Feature(f"a*b{i}", "id", "row", family="cross") for i in range(10)),
        Feature("user.count", "numeric", "user", family="aggregate"),
        Feature("gap", "numeric", "user", family="gaps"),
    ),
    ranked=("n3", "a*b1", "user.count", "n0", "n1", "gap", "n2", "n4", "a*b0"),
)
RANKER = Offer("z/deep", "ranker", False, True)


def _feature_genes(schema: FeatureSchema) -> dict[str, Gene]:
    shelf = _Shelf(z_deep=_Ranker, t_full=_Ranker)
    space = assemble_space(shelf, (RANKER,), schema, "t/full")  # type: ignore[arg-type]
    return {name: space[name] for name in space if name.startswith("features.")}


def _left(schema: FeatureSchema = RANKED, **genes: Any) -> list[str]:
    genotype = Genotype({**BASE, **{f"features.{name}": value for name, value in genes.items()}})
    return [feature.name for feature in decode(genotype, schema, FakeKernel()).features.features]  # type: ignore[arg-type]


def test_feature_genes_are_families_the_share_of_ranked_features_and_the_number_of_crosses() -> None:
    genes = _feature_genes(RANKED)
    assert sorted(genes) == ["features.aggregate", "features.crosses", "features.gaps", "features.share"]
    assert genes["features.share"].domain == Choice(0.25, 0.5, 0.75, 1.0) and genes["features.share"].default == 1.0
    assert genes["features.crosses"].domain == Choice(0, 4, 8, 10) and genes["features.crosses"].default == 10


def test_without_ranking_or_crosses_there_is_no_gene_of_them() -> None:
    assert sorted(_feature_genes(SCHEMA)) == ["features.aggregate", "features.time"]


def test_features_take_twenty_four_genes_at_most() -> None:
    many = tuple(Feature(f"f{i}", "numeric", "row", family=f"family{i:02d}") for i in range(40))
    genes = _feature_genes(FeatureSchema((*RANKED.features, *many), ranked=RANKED.ranked))
    assert len(genes) == 24 and {"features.share", "features.crosses"} <= set(genes)


def test_defaults_of_the_feature_genes_keep_every_feature() -> None:
    defaults = {name.removeprefix("features."): gene.default for name, gene in _feature_genes(RANKED).items()}
    assert _left(**defaults) == _left() == [feature.name for feature in RANKED.features]


def test_the_share_keeps_a_prefix_of_the_ranking_and_all_that_is_not_ranked() -> None:
    crosses = [f"a*b{i}" for i in range(10)]
    assert _left(share=0.5) == ["item_id", "n0", "n1", "n3", "n5", *crosses, "user.count"]  # 4 of 7; n5 and ids are not ranked
    assert _left(share=0.25) == ["item_id", "n3", "n5", *crosses, "user.count"]


def test_crosses_are_cut_to_a_prefix_in_the_order_of_the_schema() -> None:
    assert [name for name in _left(crosses=4) if "*" in name] == ["a*b0", "a*b1", "a*b2", "a*b3"]
    assert not [name for name in _left(crosses=0) if "*" in name]
    assert [name for name in _left(crosses=0) if "*" not in name] == [name for name in _left() if "*" not in name]


def test_a_share_that_cuts_nothing_shares_its_key_with_the_default() -> None:
    def of(**genes: Any) -> str:
        return training_key(Genotype({**BASE, **{f"features.{name}": value for name, value in genes.items()}}), RANKED, FakeKernel())  # type: ignore[arg-type]

    assert of() == of(share=1.0) == of(crosses=10, aggregate=True)
    assert len({of(), of(share=0.75), of(share=0.5), of(crosses=4), of(crosses=0)}) == 5
