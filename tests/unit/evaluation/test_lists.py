from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from autorec_kernel.evaluation import RankingEvaluator, _lists, evaluate_scores, top_k

_spec = importlib.util.spec_from_file_location("evaluation_oracle", Path(__file__).with_name("oracle.py"))
oracle = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(oracle)


def csr(lists):
    return np.cumsum([0, *map(len, lists)]), np.concatenate([np.zeros(0, np.int64), *lists])


def case(rng, kind):
    users, items = int(rng.integers(1, 5)), int(rng.integers(40, 90))
    scores = rng.integers(0, (3, 40, 10**6)[kind % 3], (users, items)).astype(np.float32)
    if kind == 3:
        scores[rng.random(scores.shape) < 0.02] = rng.choice([np.nan, np.inf, -np.inf])
    return scores, [np.flatnonzero(rng.random(items) < 0.2) for _ in range(users)]


@pytest.mark.parametrize("kind", range(4))
def test_the_maxima_of_groups_lose_no_item_and_no_tie(kind, monkeypatch):
    monkeypatch.setattr(_lists, "_GROUPS", 8)
    rng = np.random.default_rng(kind)
    for _ in range(60):
        scores, exclude = case(rng, kind)
        k = int(rng.integers(1, 4))
        for row, listed in enumerate(top_k(scores, k, csr(exclude))):
            assert listed.tolist() == oracle.order(scores[row].tolist(), set(exclude[row].tolist()))[:k]


def test_scores_given_as_scratch_are_judged_like_a_copy(monkeypatch):
    monkeypatch.setattr(_lists, "_GROUPS", 8)
    rng = np.random.default_rng(9)
    for kind in range(4):
        scores, exclude = case(rng, kind)
        wanted = csr([rng.choice(np.arange(1, 40), 3, replace=False) for _ in scores])
        users, names = np.arange(len(scores)), ("ndcg@3", "mrr@3")
        whole = evaluate_scores(names, users, scores, wanted, csr(exclude))
        judge = RankingEvaluator(names, scores.shape[1])
        judge.add(users, scores, wanted, csr(exclude), scratch=True)
        assert judge.result().mean() == whole.mean()
        assert judge.result().counts == whole.counts
