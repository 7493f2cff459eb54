"""Interests routed through a matrix a place, and ComiRec, which trains one of them at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from autorec_blocks.capsules import Capsules, LabelAttention
from autorec_kernel.models import FitSettings, evaluate_ranking, fit
from autorec_kernel.models.scoring import rank_block
from autorec_kernel.records.architecture import TensorSpec
from autorec_kernel.testing.block_cases import build
from tests.unit.plugins.zoo.sequence_kit import histories

LENGTHS = (5, 2, 0)
STEPS = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))
MASK = torch.arange(5) < torch.tensor(LENGTHS)[:, None]
SEQUENCE = TensorSpec("sequence", width=4)


@pytest.fixture(scope="module")
def features(features_of):
    return features_of("recommend")


def squashed(vector):
    norm = np.linalg.norm(vector)
    return vector * norm / (1 + norm**2)


def routed(steps, maps, interests, iterations):
    """Return [interests, D]: a step of age a and interest j meet in the matrix (a, j); logits start at 0 (Sabour et al. 2017)."""
    width = maps.shape[2] // interests
    ages = [min(len(steps) - 1 - i, len(maps) - 1) for i in range(len(steps))]
    seen = [[step @ maps[age][:, j * width : (j + 1) * width] for j in range(interests)] for step, age in zip(steps, ages, strict=True)]
    logits, found = np.zeros((len(steps), interests)), np.zeros((interests, width))
    for _ in range(iterations):
        shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        for j in range(interests):
            found[j] = squashed(sum((shares[i, j] * seen[i][j] for i in range(len(steps))), np.zeros(width)))
        logits = logits + np.array([[seen[i][j] @ found[j] for j in range(interests)] for i in range(len(steps))]).reshape(logits.shape)
    return found


@pytest.mark.parametrize("iterations", [1, 2, 3])
def test_interests_are_routed_through_a_matrix_for_each_age_and_interest(iterations):
    module = build(Capsules(Capsules.Config(interests=3, iterations=iterations, width=6, max_length=4, maps="each")), [SEQUENCE])
    found = module((torch.where(MASK[..., None], STEPS, torch.full_like(STEPS, 9.0)), MASK)).detach().numpy()
    maps = module.maps.detach().numpy()
    for row, length in enumerate(LENGTHS):
        assert np.allclose(found[row], routed(STEPS[row, :length].numpy(), maps, 3, iterations), atol=1e-5)
    assert len(np.unique(found[0].round(4), axis=0)) == 3


def test_no_gradient_runs_through_the_logits_of_own_matrices():
    module = build(Capsules(Capsules.Config(interests=2, iterations=2, width=6, maps="each")), [SEQUENCE])
    steps = STEPS.clone().requires_grad_()
    (found,) = torch.autograd.grad(module((steps, MASK)).sum(), steps)
    maps = module.maps.detach()[:5].flip(0).unflatten(2, (2, 6))  # of the first row, whose oldest step has age 4
    seen = torch.einsum("le,lekd->lkd", STEPS[0], maps)
    interest = squash_of(seen.sum(0) / 2)
    shares = torch.softmax((seen * interest).sum(2), 1)
    own = STEPS[0].clone().requires_grad_()
    mapped = torch.einsum("le,lekd->lkd", own, maps)
    (expected,) = torch.autograd.grad(squash_of((shares[..., None] * mapped).sum(0)).sum(), own)
    assert torch.allclose(found[0], expected, atol=1e-4)


def squash_of(vectors):
    norm = vectors.norm(dim=-1, keepdim=True)
    return vectors * norm / (1 + norm**2)


def test_hard_attention_takes_the_field_of_the_largest_product_and_is_what_a_great_power_tends_to():
    fields, target = STEPS[:2, :3].clone().requires_grad_(), STEPS[:2, 4] + 0.5
    specs = [TensorSpec("fields", fields=3, width=4), TensorSpec("vector", width=4)]
    found = build(LabelAttention(LabelAttention.Config(hard=True)), specs)(fields, target)
    best = [int(np.argmax([float(field @ wanted) for field in row])) for row, wanted in zip(fields.detach(), target, strict=True)]
    assert torch.equal(found, fields[[0, 1], best])
    near = build(LabelAttention(LabelAttention.Config(power=3.0)), specs)(fields * 9, target) / 9
    assert torch.allclose(near, found, atol=1e-3)
    found.sum().backward()
    assert [row.any(1).nonzero()[:, 0].tolist() for row in fields.grad] == [[best[0]], [best[1]]]


def test_comirec_answers_with_the_interests_of_its_equations_and_scores_by_the_best(built, features):
    network = built("zoo/comirec", features, num_interests=3, embedding_dim=32)
    rows = ([4, 7, 2], [9, 1])
    table, maps = network.item_vectors().numpy(), network.part("user").maps.detach().numpy()
    expected = np.stack([routed(table[row], maps, 3, 3) for row in rows])
    assert np.allclose(network.serve(histories(*rows))[0].detach().numpy(), expected, atol=1e-5)
    given = (np.array([0, 3, 5]), np.concatenate(rows))
    scores = rank_block(network, features.state(), np.array([3, 0]), given, table)
    assert np.allclose(scores, np.stack([np.max([table @ interest for interest in row], 0) for row in expected]), atol=1e-5)


def test_comirec_trains_the_interest_that_suits_the_target_alone(built, features):
    network = built("zoo/comirec", features)
    assert network.architecture["loss"].inputs[0] == "suited"
    assert {node.block for node in network.architecture.serving()} & {"blocks/label-attention", "@target"} == set()
    wanted = torch.tensor([5, 8])
    values = network({network.inputs[0]: histories([4, 7, 2], [9, 1]), "@target": wanted, "@negatives": torch.tensor([3])})
    fits = (values["user"] @ network.item_vectors()[wanted].unsqueeze(-1)).squeeze(-1)
    assert torch.equal(values["suited"], values["user"][[0, 1], fits.argmax(1)])


@pytest.mark.slow
def test_comirec_ranks_planted_tastes_better_than_popularity_does(built, features):
    network = built("zoo/comirec", features, embedding_dim=32)
    fit(network, features, FitSettings(epochs=10, learning_rate=1e-2, batch_size=32), seed=np.random.SeedSequence(1), validate=None)
    found = [
        evaluate_ranking(model.eval(), features, features.evaluation("valid"), ("ndcg@10",)).mean()["ndcg@10"]
        for model in (network, built("baselines/popularity", features))
    ]
    assert found[0] > 1.2 * found[1], found
