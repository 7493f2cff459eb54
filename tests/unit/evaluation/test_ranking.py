from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autorec_kernel.errors import ContractError, DataError, UnknownNameError, UsageError
from autorec_kernel.evaluation import RankingEvaluator, RankingResult, evaluate_lists, evaluate_scores, ranking

_spec = importlib.util.spec_from_file_location("evaluation_oracle", Path(__file__).with_name("oracle.py"))
oracle = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(oracle)

NAMES = ("hr", "recall", "precision", "ndcg", "mrr", "map")


def csr(lists):
    offsets = np.cumsum([0, *map(len, lists)])
    return offsets, np.array([item for listed in lists for item in listed], dtype=np.int64)


def one(scores, relevant, *names, exclude=None):
    result = evaluate_scores(names, np.array([5]), np.array([scores], dtype=np.float32), csr([relevant]), exclude)
    return [result.values[name][0] for name in names]


@pytest.mark.parametrize("seed", range(10))
def test_metrics_equal_the_brute_force_oracle_in_a_thousand_cases_with_ties(seed):
    rng = np.random.default_rng(seed)
    for _ in range(100):
        users, items, k = int(rng.integers(1, 6)), int(rng.integers(2, 30)), int(rng.integers(1, 35))
        scores = rng.integers(0, int(rng.integers(1, 8)), (users, items)).astype(np.float32)
        scores[rng.random(scores.shape) < 0.05] = np.nan
        exclude = [np.flatnonzero(rng.random(items) < 0.2) for _ in range(users)]
        wanted = [rng.choice(items + 3, int(rng.integers(0, items)), replace=False) for _ in range(users)]
        names = [f"{name}@{k}" for name in NAMES]
        result = evaluate_scores(names, np.arange(users), scores, csr(wanted), csr(exclude))
        kept = [row for row in range(users) if len(wanted[row])]
        assert result.users.tolist() == kept
        for place, row in enumerate(kept):
            relevant = {item for item in wanted[row].tolist() if 0 < item < items}
            ranked = oracle.order(scores[row].tolist(), set(exclude[row].tolist()))
            for name in NAMES:
                expected = oracle.metric(name, ranked, relevant, len(wanted[row]) - len(relevant), k)
                assert result.values[f"{name}@{k}"][place] == pytest.approx(expected, abs=1e-12), name


def test_metrics_equal_a_second_library_where_the_definitions_agree():
    pytrec_eval = pytest.importorskip("pytrec_eval")
    rng = np.random.default_rng(1)
    scores = rng.permuted(np.tile(np.arange(60, dtype=np.float32), (40, 1)), axis=1)
    wanted = [rng.choice(np.arange(1, 60), int(rng.integers(1, 9)), replace=False) for _ in range(40)]
    names = ["hr@10", "recall@10", "precision@10", "ndcg@10", "mrr@59", "map@59"]
    theirs = ["success_10", "recall_10", "P_10", "ndcg_cut_10", "recip_rank", "map"]
    result = evaluate_scores(names, np.arange(40), scores, csr(wanted))
    qrel = {str(row): {str(item): 1 for item in items.tolist()} for row, items in enumerate(wanted)}
    run = {str(row): {str(item): float(scores[row, item]) for item in range(1, 60)} for row in range(40)}
    measures = {"success", "recall", "P", "ndcg_cut", "recip_rank", "map"}
    judged = pytrec_eval.RelevanceEvaluator(qrel, measures).evaluate(run)
    for name, theirs_name in zip(names, theirs, strict=True):
        expected = [judged[str(row)][theirs_name] for row in range(40)]
        assert result.values[name] == pytest.approx(expected, abs=1e-6), name


def test_known_answer_of_one_list():
    hit_third = one([0, 9, 8, 7, 6], [3], "hr@3", "recall@3", "precision@3", "ndcg@3", "mrr@3", "map@3")
    assert hit_third == pytest.approx([1, 1, 1 / 3, 0.5, 1 / 3, 1 / 3])


def test_a_perfect_list_scores_exactly_one():
    for k in range(1, 40):
        assert one([0, *range(60, 0, -1)], list(range(1, 21)), f"ndcg@{k}", f"map@{k}", f"mrr@{k}", f"hr@{k}") == [1.0] * 4


def test_recall_of_a_perfect_list_is_the_share_that_fits():
    assert one([0, *range(9, 0, -1)], [1, 2, 3, 4, 5], "recall@2", "recall@5") == pytest.approx([0.4, 1.0])


def test_a_constant_scorer_gets_what_the_order_of_ids_gets():
    assert one([0.0] * 50, [1], "ndcg@10") == [1.0]
    assert one([0.0] * 50, [49], "ndcg@10") == [0.0]


def test_a_constant_scorer_is_as_good_as_chance_over_random_ids():
    users = 4000
    wanted = np.random.default_rng(0).integers(1, 51, users)
    result = evaluate_scores(["hr@10"], np.arange(users), np.zeros((users, 51), np.float32), (np.arange(users + 1), wanted))
    assert result.mean()["hr@10"] == pytest.approx(0.2, abs=0.025)


def test_users_without_positives_are_left_out_and_counted():
    scores = np.tile(np.arange(5, dtype=np.float32), (3, 1))
    result = evaluate_scores(["hr@1"], np.array([10, 11, 12]), scores, csr([[4], [], [3]]))
    assert result.users.tolist() == [10, 12]
    assert result.mean()["hr@1"] == 0.5
    assert (result.counts["users"], result.counts["left_out"]) == (2, 1)


def test_the_mean_is_over_users_and_not_over_positives():
    scores = np.tile(np.array([0, 3, 2, 1, 0], dtype=np.float32), (2, 1))
    result = evaluate_scores(["recall@1"], np.arange(2), scores, csr([[1], [1, 2, 3, 4]]))
    assert result.mean()["recall@1"] == pytest.approx((1 + 0.25) / 2)


def test_positives_outside_the_catalogue_are_misses():
    scores = np.tile(np.array([99, 3, 2, 1], dtype=np.float32), (1, 1))
    result = evaluate_scores(["recall@3", "ndcg@3"], np.arange(1), scores, csr([[1, 0, 0, 70]]))
    assert result.values["recall@3"].tolist() == [0.25]
    assert result.values["ndcg@3"][0] == pytest.approx(1 / (1 + 1 / math.log2(3) + 0.5))
    assert result.counts["unknown_positives"] == 3
    assert result.counts["positives"] == 4


def test_a_seen_positive_is_a_miss_and_counted():
    result = evaluate_scores(["hr@3"], np.arange(1), np.array([[0, 9, 1, 1]], dtype=np.float32), csr([[1]]), csr([[1]]))
    assert result.values["hr@3"].tolist() == [0.0]
    assert result.counts["excluded_positives"] == 1


def test_seen_items_do_not_take_places():
    assert one([0, 9, 8, 7], [3], "mrr@3", exclude=csr([[1, 2]])) == [1.0]


def test_nan_scores_rank_last_and_are_counted_among_candidates():
    scores = np.array([[np.nan, np.nan, 1, np.nan]], dtype=np.float32)
    result = evaluate_scores(["mrr@3"], np.arange(1), scores, csr([[1]]), csr([[3, 3]]))
    assert result.values["mrr@3"].tolist() == [0.5]
    assert result.counts["nan_scores"] == 1


def test_a_cutoff_beyond_the_catalogue_is_fine():
    assert one([0, 2, 1], [2], "recall@100", "precision@100", "ndcg@100") == pytest.approx([1.0, 0.01, 1 / math.log2(3)])


def test_a_positive_named_twice_counts_once():
    assert one([0, 2, 1], [1, 1, 2], "recall@1") == [0.5]


def test_a_list_that_names_an_item_twice_is_refused():
    with pytest.raises(ContractError, match="item row 4 twice"):
        evaluate_lists(["hr@3"], np.arange(2), np.array([[1, 2, 3], [4, 5, 4]]), csr([[1], [4]]), 9)


@pytest.mark.parametrize("lists", [[[1, 9]], [[1, -2]], [[1, 0]], [[1]], [[1, 2], [1, 2]]])
def test_lists_that_do_not_fit_are_refused(lists):
    with pytest.raises(ContractError):
        evaluate_lists(["hr@2"], np.arange(1), np.array(lists), csr([[1]]), 9)


def test_scores_of_the_wrong_width_are_refused():
    with pytest.raises(ContractError, match=r"float32 \[1, 9\]"):
        RankingEvaluator(["hr@2"], 9).add(np.arange(1), np.zeros((1, 8), np.float32), csr([[1]]))


def test_finished_lists_give_what_their_scores_give():
    rng = np.random.default_rng(5)
    scores = rng.integers(0, 6, (30, 25)).astype(np.float32)
    wanted = csr([rng.choice(25, int(rng.integers(0, 5)), replace=False) for _ in range(30)])
    names = [f"{name}@7" for name in NAMES] + ["coverage@7", "coverage@3"]
    by_scores = evaluate_scores(names, np.arange(30), scores, wanted)
    by_lists = evaluate_lists(names, np.arange(30), ranking.top_k(scores, 12), wanted, 25)
    assert by_scores.mean() == by_lists.mean()


def test_coverage_is_the_share_of_the_catalogue_that_anyone_is_offered():
    scores = np.array([[0, 4, 3, 2, 1], [0, 4, 2, 3, 1]], dtype=np.float32)
    result = evaluate_scores(["coverage@1", "coverage@2"], np.arange(2), scores, csr([[1], [1]]))
    assert result.mean() == {"coverage@1": 0.25, "coverage@2": 0.75}


def test_novelty_is_the_mean_self_information_in_bits():
    scores = np.array([[0, 2, 1, 0]], dtype=np.float32)
    popularity = np.array([100, 3, 1, 9])
    result = evaluate_scores(["novelty@2", "novelty@9"], np.arange(1), scores, csr([[1]]), popularity=popularity)
    shares = [4 / 16, 2 / 16, 10 / 16]
    assert result.values["novelty@2"][0] == pytest.approx((2 + 3) / 2)
    assert result.values["novelty@9"][0] == pytest.approx(-sum(map(math.log2, shares)) / 3)


def test_novelty_without_popularity_says_what_it_needs():
    with pytest.raises(UsageError, match="novelty needs"):
        RankingEvaluator(["novelty@3"], 5)


def test_negative_popularity_is_refused():
    with pytest.raises(DataError, match="popularity"):
        ranking.self_information(np.array([1, -1]))


def test_a_result_survives_json():
    scores = np.random.default_rng(0).standard_normal((4, 9)).astype(np.float32)
    result = evaluate_scores(["ndcg@3", "coverage@3"], np.arange(4), scores, csr([[1], [2], [], [3, 0]]))
    read = RankingResult.from_json(json.loads(json.dumps(result.to_json(per_user=True), allow_nan=False)))
    assert read.mean() == result.mean()
    assert read.counts == result.counts
    assert np.array_equal(read.users, result.users)


def test_a_result_of_nobody_is_undefined_and_still_json():
    result = evaluate_scores(["ndcg@3", "coverage@3"], np.arange(1), np.zeros((1, 4), np.float32), csr([[]]))
    assert result.mean() == {"ndcg@3": None, "coverage@3": None}
    assert json.dumps(result.to_json(), allow_nan=False)


@pytest.mark.parametrize(
    ("name", "error"),
    [("ndcq@10", UnknownNameError), ("ndcg", UsageError), ("ndcg@0", UsageError), ("auc", UsageError)],
)
def test_a_metric_that_cannot_be_ranked_is_refused(name, error):
    with pytest.raises(error):
        RankingEvaluator([name], 5)


def test_no_metric_at_all_is_refused():
    with pytest.raises(UsageError, match="at least one"):
        RankingEvaluator([], 5)


cases = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def drawn(rng, *, ties=True):
    users, items = int(rng.integers(1, 9)), int(rng.integers(2, 25))
    scores = rng.integers(0, 4 if ties else 10**6, (users, items)).astype(np.float32)
    wanted = [rng.choice(np.arange(1, items), int(rng.integers(1, items)), replace=False) for _ in range(users)]
    return scores, wanted


@settings(max_examples=60, deadline=None)
@given(cases, st.integers(1, 30))
def test_every_metric_lies_between_zero_and_one(rng, k):
    scores, wanted = drawn(rng)
    result = evaluate_scores([f"{name}@{k}" for name in NAMES], np.arange(len(scores)), scores, csr(wanted))
    for values in result.values.values():
        assert (values >= 0).all()
        assert (values <= 1).all()


@settings(max_examples=60, deadline=None)
@given(cases)
def test_strictly_increasing_maps_of_the_scores_change_nothing(rng):
    scores, wanted = drawn(rng)
    names, users = [f"{name}@5" for name in NAMES], np.arange(len(scores))
    plain = evaluate_scores(names, users, scores, csr(wanted)).mean()
    assert evaluate_scores(names, users, np.exp(scores) * 3 - 100, csr(wanted)).mean() == plain


@settings(max_examples=60, deadline=None)
@given(cases, st.integers(1, 4))
def test_users_in_any_order_and_any_blocks_give_the_same_bits(rng, step):
    scores, wanted = drawn(rng)
    names, order = [f"{name}@5" for name in NAMES], rng.permutation(len(scores))
    whole = evaluate_scores([*names, "coverage@5"], np.arange(len(scores)), scores, csr(wanted))
    stream = RankingEvaluator([*names, "coverage@5"], scores.shape[1])
    for start in range(0, len(order), step):
        rows = order[start : start + step]
        stream.add(rows, scores[rows], csr([wanted[row] for row in rows]))
    assert stream.result().mean() == whole.mean()
    assert stream.result().counts == whole.counts


@settings(max_examples=60, deadline=None)
@given(cases, st.integers(1, 24))
def test_hits_and_recall_never_fall_with_the_cutoff(rng, k):
    scores, wanted = drawn(rng)
    result = evaluate_scores([f"hr@{k}", f"hr@{k + 1}", f"recall@{k}", f"recall@{k + 1}"], np.arange(len(scores)), scores, csr(wanted))
    assert (result.values[f"hr@{k}"] <= result.values[f"hr@{k + 1}"]).all()
    assert (result.values[f"recall@{k}"] <= result.values[f"recall@{k + 1}"]).all()


@settings(max_examples=60, deadline=None)
@given(cases)
def test_moving_a_relevant_item_up_never_lowers_a_metric(rng):
    scores, wanted = drawn(rng, ties=False)
    names, users = ["ndcg@7", "mrr@7", "map@7"], np.arange(len(scores))
    raised = scores.copy()
    for row, items in enumerate(wanted):
        raised[row, rng.choice(items)] += 10**6 * rng.random()
    before = evaluate_scores(names, users, scores, csr(wanted)).values
    after = evaluate_scores(names, users, raised, csr(wanted)).values
    for name in names:
        assert (after[name] >= before[name] - 1e-12).all()
