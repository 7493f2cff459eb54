from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from autorec_kernel.errors import ContractError, UsageError
from autorec_kernel.evaluation import ordering, ranks, top_k

_spec = importlib.util.spec_from_file_location("evaluation_oracle", Path(__file__).with_name("oracle.py"))
oracle = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(oracle)


def csr(lists):
    offsets = np.cumsum([0, *map(len, lists)])
    return offsets, np.array([item for listed in lists for item in listed], dtype=np.int64)


def random_case(rng):
    users, items = int(rng.integers(1, 7)), int(rng.integers(1, 40))
    kind = rng.integers(5)
    scores = rng.integers(0, 4, (users, items)).astype(np.float32)
    if kind == 1:
        scores = rng.standard_normal((users, items)).astype(np.float32)
    if kind == 2:
        scores[rng.random(scores.shape) < 0.3] = rng.choice([np.nan, np.inf, -np.inf, -0.0])
    if kind == 3:
        scores = np.where(rng.random(scores.shape) < 0.9, 0.0, scores)
    if kind == 4:
        scores[:] = rng.choice([0.0, np.nan, -np.inf, np.inf])
    exclude = [np.flatnonzero(rng.random(items) < 0.3) for _ in range(users)]
    return scores, exclude


@pytest.mark.parametrize("seed", range(10))
def test_lists_equal_the_brute_force_order_under_ties_infinities_and_nan(seed):
    rng = np.random.default_rng(seed)
    for _ in range(100):
        scores, exclude = random_case(rng)
        unknown_row, k = bool(rng.integers(2)), int(rng.integers(1, 45))
        lists = top_k(scores, k, csr(exclude), unknown_row=unknown_row)
        for row, listed in enumerate(lists):
            expected = oracle.order(scores[row].tolist(), set(exclude[row].tolist()), unknown_row)[:k]
            assert listed.tolist() == expected + [-1] * (k - len(expected))


@pytest.mark.parametrize("sort_from", [0, 10**6])
@pytest.mark.parametrize("seed", range(5))
def test_ranks_equal_the_brute_force_order_by_either_method(seed, sort_from, monkeypatch):
    monkeypatch.setattr(ordering, "_SORT_FROM", sort_from)
    rng = np.random.default_rng(seed)
    for _ in range(100):
        scores, exclude = random_case(rng)
        wanted = [rng.choice(scores.shape[1] + 2, int(rng.integers(0, scores.shape[1] + 1)), replace=False) for _ in exclude]
        found = ranks(scores, csr(wanted), csr(exclude))
        expected = []
        for row, items in enumerate(wanted):
            ranked = oracle.order(scores[row].tolist(), set(exclude[row].tolist()) - set(items.tolist()))
            expected += [ranked.index(item) + 1 if item in ranked else 0 for item in items.tolist()]
        assert found.tolist() == expected


def test_ranks_place_positives_where_the_lists_have_them():
    scores = np.random.default_rng(0).integers(0, 9, (50, 200)).astype(np.float32)
    positives = csr([[7, 120]] * 50)
    lists = top_k(scores, 199)
    expected = [list(listed).index(item) + 1 for listed in lists for item in (7, 120)]
    assert ranks(scores, positives).tolist() == expected


@pytest.mark.parametrize("block", [1, 7, 64, 10**6])
def test_lists_and_ranks_do_not_depend_on_the_block_size(block, monkeypatch):
    rng = np.random.default_rng(3)
    scores = rng.integers(0, 5, (17, 31)).astype(np.float32)
    exclude = csr([np.flatnonzero(rng.random(31) < 0.2) for _ in range(17)])
    positives = csr([rng.choice(30, 4, replace=False) + 1 for _ in range(17)])
    whole = top_k(scores, 9, exclude), ranks(scores, positives, exclude)
    monkeypatch.setattr(ordering, "_BLOCK", block)
    assert np.array_equal(top_k(scores, 9, exclude), whole[0])
    assert np.array_equal(ranks(scores, positives, exclude), whole[1])


def test_equal_scores_are_listed_by_item_row():
    assert top_k(np.zeros((1, 6), dtype=np.float32), 3).tolist() == [[1, 2, 3]]


def test_sparse_scores_with_more_positives_than_k_are_cut_at_the_right_tie():
    scores = np.zeros((2, 1000), dtype=np.float32)
    scores[0, 500:600] = 1.0
    scores[0, 900] = 2.0
    scores[1, 40] = 1.0
    assert top_k(scores, 4).tolist() == [[900, 500, 501, 502], [40, 1, 2, 3]]


def test_nan_is_listed_after_minus_infinity_and_before_nothing():
    scores = np.array([[9, np.nan, -np.inf, 1, np.nan]], dtype=np.float32)
    assert top_k(scores, 6).tolist() == [[3, 2, 1, 4, -1, -1]]


def test_an_excluded_item_is_never_listed_even_when_nothing_else_is_left():
    assert top_k(np.ones((1, 3), dtype=np.float32), 2, csr([[1, 2]])).tolist() == [[-1, -1]]


def test_a_catalogue_of_the_unknown_row_alone_gives_empty_lists():
    assert top_k(np.ones((2, 1), dtype=np.float32), 2).tolist() == [[-1, -1]] * 2


def test_no_users_give_no_lists():
    assert top_k(np.ones((0, 5), dtype=np.float32), 2).shape == (0, 2)


def test_double_scores_are_not_rounded_before_they_are_ranked():
    assert top_k(np.array([[0.0, 1.0, 1.0 + 1e-12]]), 1).tolist() == [[2]]


def test_integer_scores_are_ranked_as_numbers():
    assert top_k(np.array([[0, 3, 2**40, 2]]), 3).tolist() == [[2, 1, 3]]


def test_the_scores_are_left_as_they_were():
    scores = np.array([[1.0, np.nan, 3.0]], dtype=np.float32)
    before = scores.copy()
    scores.flags.writeable = False
    top_k(scores, 2, csr([[2]]))
    ranks(scores, csr([[1]]), csr([[2]]))
    assert np.array_equal(scores, before, equal_nan=True)


def test_a_positive_keeps_its_rank_when_it_is_excluded():
    scores = np.array([[0, 3, 2, 1]], dtype=np.float32)
    assert ranks(scores, csr([[2]]), csr([[1, 2]])).tolist() == [1]


@pytest.mark.parametrize("exclude", [csr([[4]]), csr([[-1]]), csr([[1], [1]]), (np.array([0, 5]), np.array([1]))])
def test_exclude_lists_that_do_not_fit_the_scores_are_refused(exclude):
    with pytest.raises(ContractError, match="exclude"):
        top_k(np.ones((1, 4), dtype=np.float32), 2, exclude)


def test_scores_that_are_no_matrix_are_refused():
    with pytest.raises(ContractError, match="users, items"):
        top_k(np.ones(4, dtype=np.float32), 2)


def test_a_list_of_length_zero_is_refused():
    with pytest.raises(UsageError, match="at least 1"):
        top_k(np.ones((1, 4), dtype=np.float32), 0)
