"""Options that a recipe fixes for all candidates of a blueprint."""

from __future__ import annotations

import numpy as np
import pytest

from autorec_kernel.errors import UnknownNameError, UsageError
from autorec_kernel.recipe import Recipe, read_recipe
from autorec_kernel.search.genes import decode, first_proposals
from autorec_kernel.stages.search import space_of


def candidate(kernel, schema, name, **fixed):
    """Return what the first candidate of one blueprint is, and what draws of the search are."""
    task = kernel.load("blueprint", name).tasks[0]
    recipe = Recipe(task=task, blueprints=(name,), fixed={key.replace("__", "."): value for key, value in fixed.items()})
    fitting, space = space_of(kernel, recipe, schema)
    role = kernel.load("blueprint", name).role
    rng = np.random.default_rng(0)
    drawn = [space.sample(rng) for _ in range(60)]
    others = [decode(one, schema, kernel) for one in drawn if one[role] == name]
    assert others
    (first,) = [one for one in first_proposals(space, fitting)[1]]
    return decode(first.genotype, schema, kernel), others


def read(one):
    """Return the features that a candidate's graph reads."""
    return {name for node in one.architecture.nodes if node.block == "@fields" for name in node.config["columns"]}


def test_an_option_that_no_gene_holds_is_fixed(kernel, suits):
    schema = suits(kernel.create("blueprint", "zoo/gru4rec")).schema
    first, others = candidate(kernel, schema, "zoo/gru4rec", **{"zoo/gru4rec.loss": "top1-max"})
    assert {one.architecture["loss"].block for one in (first, *others)} == {"blocks/ranking-max-loss"}
    plain, _ = candidate(kernel, schema, "zoo/gru4rec")
    assert plain.architecture["loss"].block != "blocks/ranking-max-loss"


def test_a_value_outside_of_the_search_domain_is_fixed(kernel, features_of):
    schema = features_of("click").schema
    first, others = candidate(kernel, schema, "zoo/deepfm", **{"deepfm.hidden_units": [1024], "deepfm.embedding_dim": 10})
    for one in (first, *others):
        assert one.architecture["deep"].config["hidden_dims"] == [1024]
        assert one.architecture["fields"].config["width"] == 10


def test_the_features_of_a_blueprint_are_fixed(kernel, features_of):
    schema = features_of("click").schema
    first, _ = candidate(kernel, schema, "zoo/deepfm", **{"zoo/deepfm.features": ["user_id", "item_id"]})
    plain, _ = candidate(kernel, schema, "zoo/deepfm")
    assert read(first) == {"user_id", "item_id"} < read(plain)


def test_training_options_of_a_role_are_fixed(kernel, features_of):
    _, others = candidate(
        kernel, features_of("click").schema, "zoo/dcn", **{"ranker.training.batch_size": 100, "ranker.training.schedule": "cosine"}
    )
    assert {(one.training["batch_size"], one.training["schedule"]) for one in others} == {(100, "cosine")}


def test_a_wrong_name_or_value_is_told(kernel, features_of):
    schema = features_of("click").schema
    with pytest.raises(UnknownNameError, match="zoo/deepfn"):
        candidate(kernel, schema, "zoo/deepfm", **{"zoo/deepfn.hidden_units": [8]})
    with pytest.raises(UnknownNameError, match="did you mean 'hidden_units'"):
        candidate(kernel, schema, "zoo/deepfm", **{"zoo/deepfm.hidden_unit": [8]})
    with pytest.raises(UsageError, match=r"fixed 'zoo/deepfm.embedding_dim'"):
        candidate(kernel, schema, "zoo/deepfm", **{"zoo/deepfm.embedding_dim": "wide"})


def test_a_recipe_file_fixes_options(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text('[fixed]\n"zoo/sasrec.loss" = "gbce"\n', encoding="utf-8")
    assert read_recipe(path, {}).fixed == {"zoo/sasrec.loss": "gbce"}


def test_what_does_not_compete_has_nothing_to_fix(kernel, features_of):
    schema = features_of("click").schema
    with pytest.raises(UsageError, match="zoo/din, which does not compete"):
        candidate(kernel, schema, "zoo/deepfm", **{"zoo/din.embedding_dim": 8})
    with pytest.raises(UsageError, match=r"retriever\.training, which does not compete"):
        candidate(kernel, schema, "zoo/deepfm", **{"retriever.training.epochs": 3})


def test_options_of_the_command_line_join_those_of_the_file(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text('[fixed]\n"zoo/deepfm.embedding_dim" = 8\n"ranker.training.epochs" = 1\n', encoding="utf-8")
    joined = read_recipe(path, {"fixed": {"zoo/deepfm.hidden_units": [16], "ranker.training.epochs": 2}}).fixed
    assert joined == {"zoo/deepfm.embedding_dim": 8, "zoo/deepfm.hidden_units": [16], "ranker.training.epochs": 2}
