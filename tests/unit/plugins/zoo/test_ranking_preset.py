"""Presets: ready-made recipes of plugins, of which `deepfm-rec` is the first."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from autorec_kernel.cli.main import app
from autorec_kernel.data import open_dataset
from autorec_kernel.errors import ContractError, UnknownNameError, UsageError
from autorec_kernel.kernel import Kernel
from autorec_kernel.markers import hookimpl
from autorec_kernel.recipe import Recipe, read_recipe
from autorec_kernel.registry.spec import ComponentSpec
from autorec_kernel.search.genes import decode, first_proposals
from autorec_kernel.stages.search import space_of


@pytest.fixture(scope="module")
def options(kernel):
    return kernel.load("preset", "zoo/deepfm-rec")()


@pytest.fixture(scope="module")
def candidate(kernel, features_of, options):
    """Return what the one candidate of the preset is."""
    recipe, schema = read_recipe(None, {}, options), features_of("rate").schema
    fitting, space = space_of(kernel, recipe, schema)
    _, proposals = first_proposals(space, fitting)
    assert len(proposals) == recipe.trials == 1
    return decode(proposals[0].genotype, schema, kernel)


def test_deepfm_rec_splits_as_the_reference_does(options):
    recipe = Recipe(**options)
    assert (recipe.task, recipe.protocol, recipe.shares, recipe.seed) == ("rate", "random", (0.7, 0.1, 0.2), 42)


def test_deepfm_rec_has_one_candidate_with_the_network_of_the_reference(candidate):
    assert candidate.blueprint == "zoo/deepfm"
    assert candidate.architecture["deep"].config["hidden_dims"] == [128, 64, 32]
    assert candidate.architecture["fields"].config["width"] == 16
    assert candidate.architecture["deep"].config["dropout"] == []


def test_deepfm_rec_trains_as_the_reference_does(kernel, candidate, options):
    evaluator = kernel.create("evaluator", options["evaluator"], **{**options["evaluator_options"], **candidate.training})
    config = evaluator.config
    assert (config.batch_size, config.id_dropout, config.optimiser) == (1024, 0.0, "adam")
    assert (config.stop_on, config.patience, config.min_delta) == ("mae", 5, 1e-3)
    assert (config.schedule, config.plateau_factor, config.plateau_patience) == ("plateau", 0.5, 5)


def test_a_file_wins_over_a_preset_and_the_command_line_over_both(tmp_path, options):
    path = tmp_path / "recipe.toml"
    path.write_text("seed = 7\nbudget = '1min'\nthreads = 2\n", encoding="utf-8")
    recipe = read_recipe(path, {"seed": 8}, options)
    assert (recipe.seed, recipe.threads, recipe.task) == (8, 2, "rate")
    assert (recipe.budget, recipe.trials) == (60.0, None)  # a time takes the place of the preset's number of trials


def test_only_the_wanted_blueprints_compete_with_the_baselines(kernel, features_of):
    schema = features_of("rate").schema
    fitting, space = space_of(kernel, Recipe(task="rate", blueprints=("dcn", "zoo/afm")), schema)
    assert {offer.id for offer in fitting if not offer.baseline} == {"zoo/dcn", "zoo/afm"}
    assert {offer.id for offer in fitting if offer.baseline} >= {"baselines/bias"}
    assert set(space["ranker"].domain.options) == {offer.id for offer in fitting if not offer.reason}


def test_a_wanted_blueprint_that_cannot_compete_is_named(kernel, features_of):
    schema = features_of("rate").schema
    with pytest.raises(UnknownNameError, match="dcnn"):
        space_of(kernel, Recipe(task="rate", blueprints=("dcnn",)), schema)
    with pytest.raises(ContractError, match=r"zoo/sasrec.*another task"):
        space_of(kernel, Recipe(task="rate", blueprints=("zoo/sasrec",)), schema)


def test_defaults_of_a_recipe_name_genes_and_lie_in_their_domains(kernel, features_of):
    schema = features_of("rate").schema
    with pytest.raises(UsageError, match=r"zoo/deepfm.hidden_unit"):
        space_of(kernel, Recipe(task="rate", defaults={"zoo/deepfm.hidden_unit": [8]}), schema)
    with pytest.raises(UsageError, match="embedding_dim"):
        space_of(kernel, Recipe(task="rate", defaults={"zoo/deepfm.embedding_dim": 5}), schema)


@pytest.mark.parametrize("shares", [(0.7, 0.1, 0.1), (1.0, 0.0, 0.0), (0.9, 0.2, -0.1)])
def test_shares_are_positive_and_add_up_to_one(shares):
    with pytest.raises(UsageError, match="add up to 1"):
        read_recipe(None, {"shares": shares})


@pytest.mark.parametrize("with_users", [True, False])
def test_a_random_split_has_the_shares_that_were_asked_for(with_users):
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame({"item": rng.integers(0, 30, 4000), "place": rng.integers(0, 9, 4000), "rating": rng.integers(1, 6, 4000)})
    if with_users:
        frame["user"] = rng.integers(0, 100, 4000)
    roles = {"item": "item", "rating": "label"}
    dataset = open_dataset(frame, task="rate", protocol="random", shares=(0.7, 0.1, 0.2), roles=roles, deduplicate="none", seed=42)
    counts = np.array([dataset.train.rows, dataset.valid.rows, dataset.test.rows])
    assert counts.sum() == 4000
    assert np.allclose(counts / 4000, (0.7, 0.1, 0.2), atol=0.01)
    assert dataset.protocol.id.endswith("/shares=0.7-0.1-0.2")


def test_shares_of_a_split_that_is_not_random_are_refused():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"user": [1, 2, 3] * 40, "item": range(120), "rating": [1, 5] * 60, "timestamp": range(120)})
    with pytest.raises(UsageError, match="random split"):
        open_dataset(frame, task="rate", protocol="temporal", shares=(0.7, 0.1, 0.2))


def ready_made():
    return {"task": "click", "seed": 3}


def test_a_stranger_ships_a_preset_through_the_same_door():
    class Shop:
        @staticmethod
        @hookimpl
        def autorec_presets():
            return (ComponentSpec("quick", f"{__name__}:ready_made", "A quick run."),)

    kernel = Kernel(plugins={"shop": SimpleNamespace(autorec_presets=Shop.autorec_presets)})
    assert [row.id for row in kernel.components("preset")] == ["shop/quick"]
    assert read_recipe(None, {}, kernel.load("preset", "quick")()).seed == 3


def test_the_command_plans_a_run_from_a_preset_and_names_an_unknown_one():
    known = CliRunner().invoke(app, ["run", "--preset", "deepfm-rec", "--dry-run", "--json"])
    assert known.exit_code == 0
    assert "seed=42/shares=0.7-0.1-0.2" in known.output
    unknown = CliRunner().invoke(app, ["run", "--preset", "deepfm-red", "--dry-run"])
    assert unknown.exit_code != 0
