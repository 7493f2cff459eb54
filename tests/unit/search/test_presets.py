from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from autorec_kernel.kernel import Kernel
from autorec_kernel.recipe import Recipe
from autorec_kernel.search.genes import decode
from autorec_kernel.search.presets import admitted, architectures, described, narrowed
from autorec_kernel.space import Bool, Choice, Float, Gene, Int, SearchSpace
from autorec_kernel.stages.search import space_of
from autorec_kernel.testing.host import host
from autorec_kernel.testing.model_cases import features_for

PRESETS = ("narrow", "wide", "full")


@pytest.fixture(scope="module")
def kernel() -> Kernel:
    return host(None)


@pytest.fixture(scope="module", params=["click", "recommend"])
def task(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def spaces(kernel: Kernel, task: str) -> dict[str, SearchSpace]:
    schema = features_for(kernel, task).schema
    return {name: space_of(kernel, Recipe(task=task, search_space=name), schema)[1] for name in PRESETS}  # type: ignore[arg-type]


def test_each_preset_has_strictly_more_architectures_than_the_one_inside(spaces: dict[str, SearchSpace]) -> None:
    narrow, wide, full = (architectures(spaces[name]) for name in PRESETS)
    assert 1 < narrow < wide < full
    assert full > 10**30


def test_a_narrow_point_is_one_of_wide_and_full_and_decodes_to_the_same_architecture(
    spaces: dict[str, SearchSpace], kernel: Kernel, task: str
) -> None:
    rng, schema = np.random.default_rng(0), features_for(kernel, task).schema
    for inner, outer in (("narrow", "wide"), ("narrow", "full"), ("wide", "full")):
        for _ in range(40):
            point = spaces[inner].sample(rng)
            spaces[outer].check(point)
            found = [decode(spaces[name].canonical(point), schema, kernel) for name in (inner, outer)]
            assert found[0].architecture.digest() == found[1].architecture.digest()
            assert found[0] == found[1]


def test_free_cells_compete_in_the_full_space_or_where_they_are_named(kernel: Kernel, task: str) -> None:
    schema = features_for(kernel, task).schema
    cell = "cells/free-ranker" if task == "click" else "cells/free-retriever"

    def competing(**recipe: Any) -> set[str]:
        return {offer.id for offer in space_of(kernel, Recipe(task=task, **recipe), schema)[0] if not offer.reason and not offer.baseline}  # type: ignore[arg-type]

    assert cell not in competing()
    assert cell not in competing(search_space="narrow")
    assert cell in competing(search_space="full")
    assert competing(blueprints=(cell,)) == {cell}
    assert competing(search_space="narrow") < competing() < competing(search_space="full")


def test_the_default_candidate_of_the_full_space_is_that_of_the_wide_one(spaces: dict[str, SearchSpace]) -> None:
    assert spaces["full"].default() == spaces["wide"].default() == spaces["narrow"].default()


def test_what_a_recipe_sets_of_the_evaluators_genes_is_where_the_search_starts(kernel: Kernel, task: str) -> None:
    schema, role = features_for(kernel, task).schema, "ranker" if task == "click" else "retriever"
    options = {"optimiser": "adam", "learning_rate": 0.01, "batch_size": 77, "epochs": 3}
    recipe = {"task": task, "evaluator_options": options, "defaults": {f"{role}.training.learning_rate": 0.005}}
    space = space_of(kernel, Recipe(**recipe), schema)[1]  # type: ignore[arg-type]
    found = {name: space[f"{role}.training.{name}"].default for name in ("optimiser", "learning_rate", "batch_size")}
    assert found == {"optimiser": "adam", "learning_rate": 0.005, "batch_size": 1024}
    assert f"{role}.training.epochs" not in space


@pytest.mark.parametrize(
    ("tags", "where"),
    [
        (("ranking",), {"narrow", "wide", "full"}),
        (("ranking", "later"), {"wide", "full"}),
        (("ranking", "free", "later"), {"full"}),
        (("baseline", "later"), {"narrow", "wide", "full"}),
    ],
)
def test_tags_say_which_preset_has_a_blueprint(tags: tuple[str, ...], where: set[str]) -> None:
    assert {name for name in PRESETS if admitted(tags, name)} == where  # type: ignore[arg-type]


GENES = (
    Gene("role", Choice("z/m", "z/n"), "z/m"),
    Gene("z/m.width", Int(1, 100), 16, "role", ("z/m",)),
    Gene("z/m.deep", Bool(), True, "role", ("z/m",)),
    Gene("z/n.rate", Float(0.0, 1.0), 0.5, "role", ("z/n",)),
    Gene("role.training.learning_rate", Float(0.1, 1.0), 0.5, "role", ("z/m", "z/n")),
    Gene("role.training.batch_size", Choice(1, 2), 1, "role", ("z/m", "z/n")),
)


def test_a_narrow_space_leaves_options_with_many_values_at_their_defaults() -> None:
    found = {gene.name: gene.domain.size for gene in narrowed(GENES, {"z/m", "z/n"})}
    assert found["z/m.width"] == found["z/n.rate"] == 1
    assert found["z/m.deep"] == 2
    assert found["role.training.learning_rate"] == float("inf")


def test_architectures_are_counted_without_real_numbers_and_training_options() -> None:
    assert architectures(SearchSpace(GENES)) == 100 * 2 + 1
    text = described(SearchSpace(GENES), "wide")
    assert text == "search space wide: 6 genes, infinitely many points (some options are real numbers), 201 discrete architectures"
    assert "6 points" in described(SearchSpace([Gene("a", Int(1, 6), 1)]), "narrow")
