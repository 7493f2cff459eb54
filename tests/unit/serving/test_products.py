from __future__ import annotations

import numpy as np

from autorec_kernel.serving.products import catalogue_scores, place_vectors

RNG = np.random.default_rng(0)
ITEMS = RNG.standard_normal((7, 3)).astype(np.float32)


def test_a_score_is_the_inner_product_of_user_and_item():
    users = RNG.standard_normal((2, 3)).astype(np.float32)
    assert np.allclose(catalogue_scores(users, ITEMS), [[user @ item for item in ITEMS] for user in users], atol=1e-6)


def test_of_several_interests_the_best_one_scores_an_item():
    users = RNG.standard_normal((2, 4, 3)).astype(np.float32)
    expected = [[max(interest @ item for interest in user) for item in ITEMS] for user in users]
    assert np.allclose(catalogue_scores(users, ITEMS), expected, atol=1e-6)


def test_a_vector_found_by_folding_in_becomes_every_interest():
    flat, several, found = np.zeros((3, 2)), np.zeros((3, 4, 2)), np.array([[1.0, 2.0]])
    place_vectors(flat, np.array([1]), found)
    place_vectors(several, np.array([1]), found)
    assert flat.tolist() == [[0, 0], [1, 2], [0, 0]]
    assert several[1].tolist() == [[1, 2]] * 4
    assert not several[[0, 2]].any()
