from __future__ import annotations

import numpy as np
import pytest
import torch

from autorec_blocks.sequence_attention import AdditiveAttention
from autorec_kernel.models import FitSettings, evaluate_ranking, fit
from autorec_kernel.records.architecture import TensorSpec
from autorec_kernel.testing.block_cases import build
from tests.unit.plugins.zoo.sequence_kit import histories


@pytest.fixture(scope="module")
def features(features_of):
    return features_of("recommend")


def numbers(layer):
    return [part.detach().double().numpy() for part in (layer.weight, layer.bias) if part is not None]


def attended(unit, steps):
    """Return m_a of a session [t, E] (Liu et al. 2018, equations 2, 7 and 8)."""
    (last,), (each,), (mean, offset), (score,) = (numbers(getattr(unit, name)) for name in ("now", "then", "mean", "score"))
    whole, found = sum(steps) / len(steps), np.zeros(steps.shape[1])
    for step in steps:
        found += score[0] @ (1 / (1 + np.exp(-(each @ step + last @ steps[-1] + mean @ whole + offset)))) * step
    return found


def test_attention_reads_the_mean_of_the_steps_so_far_where_it_is_told_to():
    unit = build(AdditiveAttention(AdditiveAttention.Config(width=8, mean=True)), [TensorSpec("sequence", width=4)])
    steps = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0))
    mask = torch.arange(5) < torch.tensor([[5], [2]])
    found, _ = unit((torch.where(mask[..., None], steps, torch.full_like(steps, 9.0)), mask))
    for row, length in enumerate((5, 2)):
        for t in range(length):
            assert np.allclose(found[row, t].detach().numpy(), attended(unit, steps[row, : t + 1].double().numpy()), atol=1e-5)
    assert not found[~mask].any()


def test_stamp_answers_with_the_product_of_its_two_interests(built, features):
    network = built("zoo/stamp", features, embedding_dim=32, attention_size=16)
    rows = ([4, 7, 2], [9, 1], [5])
    found, table = network.serve(histories(*rows))[0].detach().numpy(), network.item_vectors().double().numpy()
    (general, first), (current, second) = (numbers(network.part(name).layer) for name in ("general", "current"))
    for row, given in enumerate(rows):
        steps = table[given]
        interests = np.tanh(general @ attended(network.part("attended"), steps) + first), np.tanh(current @ steps[-1] + second)
        assert np.allclose(found[row], interests[0] * interests[1], atol=1e-6)


def test_stamp_learns_from_each_step_as_the_end_of_a_session(built, features):
    network = built("zoo/stamp", features)
    wanted = histories([1, 2, 4, 6])
    states = network({network.inputs[0]: histories([3, 1, 2, 4]), "@target": wanted, "@negatives": torch.tensor([5])})["interest"][0][0]
    for length in (1, 2, 3, 4):
        assert torch.allclose(states[length - 1], network.serve(histories([3, 1, 2, 4][:length]))[0][0], atol=1e-6)


def test_stamp_sees_which_step_is_newest_and_no_order_before_it(built, features):
    network = built("zoo/stamp", features)
    first, same, other = network.serve(histories([3, 1, 2], [1, 3, 2], [3, 2, 1]))[0]
    assert torch.allclose(first, same, atol=1e-6)
    assert not torch.allclose(first, other, atol=1e-5)


@pytest.mark.slow
def test_stamp_ranks_planted_tastes_better_than_popularity_does(built, features):
    network = built("zoo/stamp", features, embedding_dim=32)
    fit(network, features, FitSettings(epochs=20, learning_rate=1e-2, batch_size=64), seed=np.random.SeedSequence(1), validate=None)
    found = [
        evaluate_ranking(model.eval(), features, features.evaluation("valid"), ("ndcg@10",)).mean()["ndcg@10"]
        for model in (network, built("baselines/popularity", features))
    ]
    assert found[0] > 1.2 * found[1], found
