"""A cascade goes the whole way: trained, exported, bundled, and the bundle answers as the network does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autorec_kernel.evaluation import top_k
from autorec_kernel.kernel import Kernel
from autorec_kernel.models.scoring import rank_block
from autorec_kernel.serving.requests import concat
from tests.integration.test_bundle_answers import bundled, trained


@pytest.mark.slow
@pytest.mark.parametrize("blueprint", ["cascade/reranked"])
def test_a_bundle_recommends_what_the_cascade_ranks_first(tmp_path: Path, blueprint: str) -> None:
    network, features, _ = trained(Kernel.discover(), blueprint, "recommend")
    recommender = bundled(network, features, tmp_path / "bundle", "recommend")
    state, users = features.state(), np.arange(1, features.schema.users)
    scores = rank_block(network, state, users, concat([state.history_of(user) for user in users]), None)
    lists = top_k(scores, 5, concat([np.unique(state.seen_by(user)) for user in users]))
    answers = recommender.recommend(state.users.ids_of(users), k=5)
    for place, answer in enumerate(answers):
        row = lists[place][lists[place] >= 0]
        assert np.allclose(answer.scores, scores[place, row], atol=1e-4)
        assert answer.items == tuple(state.items.ids_of(row)) or len(set(np.round(answer.scores, 4))) < len(row)
    stranger = recommender.recommend(["nobody"], [list(answers[0].items)], k=3)[0]
    assert len(stranger.items) == 3
    assert not stranger.known
