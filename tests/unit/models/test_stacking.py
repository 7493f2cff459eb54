from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import torch

from autorec_blocks.ease import Ease
from autorec_blocks.neighbours import NeighbourScores
from autorec_blocks.tables import TableRow
from autorec_kernel.contracts.models import SolvingBlock
from autorec_kernel.data import open_dataset
from autorec_kernel.errors import ContractError
from autorec_kernel.features import FeatureSet, build_features
from autorec_kernel.features.stacked import RERANK_SHARE, fit_part, held_out, rerank_part
from autorec_kernel.models import FitSettings, build_network, evaluate_ranking, solve_blocks, train
from autorec_kernel.models.batching import batches_for
from autorec_kernel.models.cost import solving_seconds
from autorec_kernel.models.specs import make_blocks
from autorec_kernel.models.stacking import solved_twice
from autorec_kernel.models.stepping import Stepper
from autorec_kernel.records.architecture import Architecture, Node, TensorSpec

pytestmark = pytest.mark.plugins

FAST = FitSettings(epochs=2, batch_size=32)


class Scaled(NeighbourScores):
    """Scores of a closed form times a learned number: the smallest thing that is stacked."""

    stacked: ClassVar[bool] = True

    def build(self, specs, arrays):
        return _Scaled(super().build(specs, arrays))


class _Scaled(torch.nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner, self.scale = inner, torch.nn.Parameter(torch.tensor([1.0]))

    def forward(self, history, table):
        return self.inner(history, table) * self.scale


class Chosen:
    """Minus the mean score of the chosen item."""

    Config = TableRow.Config
    accepts: ClassVar = ("scores", "vector")
    variadic: ClassVar = False
    arrays: ClassVar = ()

    def __init__(self, config):
        self.config = config

    def output(self, specs):
        return TensorSpec("loss")

    def build(self, specs, arrays):
        return _Chosen()


class _Chosen(torch.nn.Module):
    def forward(self, scores, target):
        return -torch.log_softmax(scores, 1).gather(1, target.unsqueeze(1)).mean()


class WithStacked:
    """The kernel, and the two blocks above."""

    def __init__(self, kernel):
        self.kernel = kernel

    def create(self, kind, name, /, **config):
        own = {"test/scaled": Scaled, "test/chosen": Chosen}.get(name)
        return own(own.Config(**config)) if own else self.kernel.create(kind, name, **config)


def graph(schema, block="test/scaled"):
    nodes = (
        Node("history", "@history", config={"columns": ["history"], "index": True}),
        Node("weights", "blocks/ease", (), {"rows": schema.items}),
        Node("score", block, ("history", "weights")),
        Node("target", "@target", config={"index": True}),
        Node("loss", "test/chosen", ("score", "target")),
    )
    return Architecture(nodes, {"score": "score"}, "row")


@pytest.fixture(scope="module")
def able(kernel):
    return WithStacked(kernel)


@pytest.fixture(scope="module")
def features(features_of):
    return features_of("recommend")


def events_of(interactions):
    owners = np.repeat(np.arange(interactions.users), np.diff(interactions.offsets))
    return sorted(zip(owners.tolist(), interactions.items.tolist(), strict=True))


def test_the_two_parts_are_the_whole_and_share_no_event(features):
    rows = rerank_part(features).positive_rows()
    held = sorted(zip(features.user_rows[rows].tolist(), features.item_rows[rows].tolist(), strict=True))
    fitted = events_of(fit_part(features).interactions)
    assert sorted([*held, *fitted]) == events_of(features.interactions)
    assert 0 < len(held) < 0.2 * len(fitted)


def table(clock=""):
    rng = np.random.default_rng(3)
    rows = [(f"u{user}", f"i{item}", place) for user in range(40) for place, item in enumerate(rng.permutation(30)[: 8 + user % 7])]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "position"])
    if clock == "time":
        frame = frame.rename(columns={"position": "timestamp"})
        frame["timestamp"] = 1_500_000_000 + frame["timestamp"] * 86_400 + rng.integers(0, 80_000, len(frame))
    return frame if clock else frame.drop(columns="position")


def test_held_out_rows_read_all_events_before_them(kernel):
    features = build_features(open_dataset(table("time"), protocol="temporal"), kernel)
    rows = rerank_part(features).rows("train")
    whole, part = (one.row_inputs(["history"], rows)["history"] for one in (features, rerank_part(features)))
    assert np.array_equal(whole, part)
    fitted = fit_part(features).interactions
    newest = [row[row > 0][-1] for row in whole if (row > 0).any()]
    users = features.user_rows[rows][(whole > 0).any(1)]
    assert any(item not in fitted.of(user) for user, item in zip(users, newest, strict=True))  # one that is held out itself


@pytest.mark.parametrize("protocol", ["temporal", "leave-one-out", "random"])
def test_the_tenth_is_cut_as_the_protocol_cuts_validation(kernel, protocol):
    features = build_features(open_dataset(table("time"), protocol=protocol), kernel)
    late, part = held_out(features), features.parts["train"]
    clock, users = part.ints("@clock"), part.ints("@user")
    assert 0.5 * RERANK_SHARE < late.mean() < 1.6 * RERANK_SHARE
    newest_of_all = clock[late].min() >= clock[~late].max()
    newest_of_each = all(
        clock[late & (users == user)].min(initial=2**62) >= clock[~late & (users == user)].max(initial=0) for user in np.unique(users)
    )
    assert (newest_of_all, newest_of_each) == {
        "temporal": (True, True),
        "leave-one-out": (False, True),
        "random": (False, False),
    }[protocol]
    assert np.array_equal(late, held_out(features))


def test_without_a_clock_any_tenth_is_held_out(kernel):
    features = build_features(open_dataset(table(), protocol="random"), kernel)
    late = held_out(features)
    assert late.sum() == round(RERANK_SHARE * len(late))
    assert 0 < np.flatnonzero(late).mean() < 0.9 * len(late)


def test_only_a_marked_block_has_what_it_reads_solved_twice(able, features):
    assert solved_twice(graph(features.schema), make_blocks(graph(features.schema), able)) == ["weights"]
    plain = graph(features.schema, "blocks/neighbour-scores")
    assert solved_twice(plain, make_blocks(plain, able)) == []
    assert set(solve_blocks(plain, features, able, seed=np.random.SeedSequence(0))) == {"weights"}
    twice, once = (solving_seconds(one, features.schema, able) for one in (graph(features.schema), plain))
    assert twice == 2 * once


@pytest.mark.parametrize("name", ["zoo/lightgcn", "zoo/dssm"])
def test_models_with_solved_parts_below_a_loss_are_left_as_they_are(kernel, features, name):
    found = kernel.create("blueprint", name).architecture(features.schema)
    assert any(isinstance(block, SolvingBlock) for block in make_blocks(found, kernel).values())
    assert not build_network(found, features.schema, kernel).stacked


def test_gradient_steps_see_a_closed_form_that_has_not_seen_their_events(able, features, monkeypatch):
    """A spy in every step: which table the network runs on, and which events the batch asks for."""
    used, asked = [], []
    step = Stepper.step

    def spied(self, batch, rate):
        used.append(self.network.value(self.network.architecture["weights"], {}, {}).clone())
        asked.append(batch["@target"])
        step(self, batch, rate)

    monkeypatch.setattr(Stepper, "step", spied)
    judged = []

    def judge(network):
        judged.append(network.value(network.architecture["weights"], {}, {}).clone())
        return evaluate_ranking(network, features, features.evaluation("valid"), ("ndcg@10",)).mean()["ndcg@10"]

    found = graph(features.schema)
    network, _ = train(found, features, features.schema, able, FAST, seed=0, trial=0, validate=judge)
    late = held_out(features)
    kept = replace(features.interactions, **_without(features, late))
    fitted, whole = (
        Ease(Ease.Config(rows=features.schema.items)).solve([], {"interactions": one}, None)["values"]
        for one in (kept, features.interactions)
    )
    assert not np.allclose(fitted, whole)
    assert used
    assert all(np.allclose(one.numpy(), fitted, atol=1e-6) for one in used)
    assert all(np.allclose(one.numpy(), whole, atol=1e-6) for one in judged)
    assert np.allclose(network.value(network.architecture["weights"], {}, {}).numpy(), whole, atol=1e-6)
    targets = torch.cat(asked).numpy()
    rows = rerank_part(features).positive_rows()
    assert sorted(targets) == sorted(np.tile(features.item_rows[rows], FAST.epochs))


def _without(features, late):
    """Return offsets and items of the training positives that are not held out, made by hand."""
    part, schema = features.parts["train"], features.schema
    rows = [
        (int(user), int(item))
        for user, item, positive, out in zip(part.ints("@user"), part.ints("@item"), part.ints("@positive"), late, strict=True)
        if user and item and positive and not out
    ]
    counts = np.bincount([user for user, _ in rows], minlength=schema.users)
    items = np.array([item for _, item in sorted(rows, key=lambda row: row[0])], np.int32)
    return {"offsets": np.concatenate([[0], np.cumsum(counts)]), "items": items, "values": np.ones(len(items), np.float32), "times": None}


def test_an_epoch_has_as_many_steps_as_one_of_all_rows(able, kernel):
    features = build_features(open_dataset(table("time"), protocol="temporal"), kernel)
    stacked, plain = (
        build_network(Architecture(one.nodes, one.outputs, "row"), features.schema, able)
        for one in (graph(features.schema), graph(features.schema, "blocks/neighbour-scores"))
    )
    assert plain.stacked is False
    assert abs(len(batches_for(stacked, features, 80)) - len(batches_for(plain, features, 80))) <= 1


def test_both_solutions_are_cached_apart(able, features, tmp_path):
    found = solve_blocks(graph(features.schema), features, able, seed=np.random.SeedSequence(0), cache=tmp_path)
    assert set(found) == {"weights", "weights@fit"}
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 2
    again = solve_blocks(graph(features.schema), features, able, seed=np.random.SeedSequence(0), cache=tmp_path)
    assert all(np.array_equal(found[name]["values"], again[name]["values"]) for name in found)


def test_neither_solution_counts_as_learned(able, features):
    network = build_network(
        graph(features.schema), features.schema, able, solve_blocks(graph(features.schema), features, able, seed=np.random.SeedSequence(0))
    )
    learned = [name for name in network.state_dict() if not name.startswith(network.solved)]
    assert learned == ["parts.n_score.scale"]


def test_a_stacked_graph_that_is_not_fed_by_rows_is_refused(able, features):
    network = build_network(Architecture(graph(features.schema).nodes[:3], {"score": "score"}, "sequence"), features.schema, able)
    with pytest.raises(ContractError, match="rows"):
        batches_for(network, features, 32)


def test_a_memory_mapped_feature_set_is_cut_alike(kernel, tmp_path):
    features = build_features(open_dataset(table("time"), protocol="leave-one-out"), kernel)
    features.save(tmp_path / "features")
    mapped = FeatureSet.load(tmp_path / "features")
    assert np.array_equal(held_out(mapped), held_out(features))
    assert events_of(fit_part(mapped).interactions) == events_of(fit_part(features).interactions)
    assert fit_part(mapped).digest == fit_part(features).digest != features.digest
    assert np.array_equal(rerank_part(mapped).positive_rows(), rerank_part(features).positive_rows())


def test_a_table_of_one_event_still_holds_one_out(features):
    part = features.parts["train"]
    one = replace(features, parts={**features.parts, "train": replace(part, events=part.events.take(np.arange(1)))}, _cache={})
    assert held_out(one).tolist() == [True]
