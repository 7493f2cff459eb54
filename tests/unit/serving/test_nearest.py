"""Lists by an index: the same as exact lists, measured before they are trusted, and exact wherever the index cannot be."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from wide_toys import ITEMS, USERS, Host, Leaky, state, wide_model, write_wide

from autorec_kernel.deploy.index import with_index
from autorec_kernel.errors import BundleError, PluginError
from autorec_kernel.serving import Recommender

IDS = [f"u{number}" for number in range(1, USERS)]


def indexed(host: Host, **options: Any) -> Any:
    return with_index(wide_model(**options), state(), host, exact_up_to=1000)  # type: ignore[arg-type]


def pair(folder: Path, index: Any, **options: Any) -> tuple[Recommender, Recommender]:
    """Return the recommender that asks an index, and the exact one, of one bundle."""
    host = Host(leaky=index)
    write_wide(folder / "bundle", indexed(host, **options))
    with_it, without = Recommender.load(folder / "bundle", create=host.create), Recommender.load(folder / "bundle")
    assert with_it.retrieval.startswith("leaky: recall@10")
    assert without.retrieval == "exact: the index leaky is used where `create` is given"
    return with_it, without


def assert_same(one: list[Any], other: list[Any]) -> None:
    assert [answer.items for answer in one] == [answer.items for answer in other]
    assert [answer.answered_by for answer in one] == [answer.answered_by for answer in other]
    np.testing.assert_allclose([answer.scores for answer in one], [answer.scores for answer in other], rtol=1e-5, atol=1e-5)


def test_a_small_catalogue_gets_no_index() -> None:
    model = wide_model()
    assert with_index(model, state(), Host(leaky=Leaky(0.0)), exact_up_to=ITEMS) is model  # type: ignore[arg-type]


def test_the_weakest_effort_that_finds_enough_is_taken() -> None:
    model = indexed(Host(leaky=Leaky(0.5, 0.05, 0.0, 0.0)))
    assert model.index == {"component": "leaky", "effort": 2, "recall@10": 1.0}


def test_an_index_that_misses_too_much_is_left_out_and_the_next_is_tried(caplog: pytest.LogCaptureFixture) -> None:
    assert indexed(Host(leaky=Leaky(0.5, 0.02), sound=Leaky(0.0))).index["component"] == "sound"
    with caplog.at_level(logging.WARNING):
        model = indexed(Host(leaky=Leaky(0.5, 0.02)))
    assert model.index == {"told": "the index leaky has a recall@10 below 0.99"}
    assert model.index_arrays == {}
    assert "3000 items are scored for every list" in caplog.text


def test_why_there_is_no_index_is_told_by_the_bundle(tmp_path: Path) -> None:
    missing = PluginError("index 'x' is unavailable: it needs 'faiss'", hint='pip install "autorec-kernel[ann]"')
    broken = RuntimeError("out of cells")
    write_wide(tmp_path / "bundle", indexed(Host(missing=missing, broken=broken)))
    told = Recommender.load(tmp_path / "bundle").retrieval
    assert told == (
        "exact: index 'x' is unavailable: it needs 'faiss' (pip install \"autorec-kernel[ann]\"); "
        "the index broken failed: RuntimeError: out of cells"
    )


def test_without_a_plugin_or_users_there_is_no_index() -> None:
    assert indexed(Host()).index == {"told": "no plugin declares an index"}
    nobody = state()
    nobody.seen_positive[:] = False
    told = with_index(wide_model(), nobody, Host(leaky=Leaky(0.0)), exact_up_to=1000).index["told"]  # type: ignore[arg-type]
    assert told == "there are no users with a history to measure an index on"


@pytest.mark.parametrize("options", [{}, {"interests": 3}], ids=str)
def test_lists_are_those_of_all_scores(tmp_path: Path, options: dict[str, Any]) -> None:
    with_it, without = pair(tmp_path, Leaky(0.0), **options)
    for asked in ({"k": 10}, {"k": 1, "exclude_seen": False}, {"k": 40, "exclude": [f"i{number:04d}" for number in range(1, 60)]}):
        assert_same(with_it.recommend(IDS, **asked), without.recommend(IDS, **asked))


def test_ties_are_in_the_order_of_exact_lists(tmp_path: Path) -> None:
    with_it, without = pair(tmp_path, Leaky(0.0), whole=True)
    for k in (1, 2, 3, 5, 10, 20):
        expected = without.recommend(IDS, k=k, exclude_seen=False)
        found = with_it.recommend(IDS, k=k, exclude_seen=False)
        assert [(one.items, one.scores) for one in found] == [(one.items, one.scores) for one in expected]
    tied = [one for one in expected if len(set(one.scores)) < 20]
    assert len(tied) > 50


def test_users_who_have_seen_the_best_items_still_get_full_lists(tmp_path: Path) -> None:
    index = Leaky(0.0)
    with_it, without = pair(tmp_path, index)
    index.asked.clear()
    (answer,) = with_it.recommend(["u1"], k=12)
    assert len(answer.items) == 12
    assert index.asked == [80 + 12 + 1]
    assert_same([answer], without.recommend(["u1"], k=12))


def test_histories_strangers_and_known_users_are_answered_in_one_call(tmp_path: Path) -> None:
    with_it, without = pair(tmp_path, Leaky(0.0))
    users = ["u3", None, "nobody", "u5", None]
    histories = [None, ["i0001", "i0400"], None, None, ["i0007", "strange"]]
    found = with_it.recommend(users, histories, k=7)
    assert [answer.answered_by for answer in found] == ["model", "fold-in", "popularity", "model", "fold-in"]
    assert [answer.unknown_items for answer in found] == [0, 0, 0, 0, 1]
    assert_same(found, without.recommend(users, histories, k=7))


def test_lists_that_want_much_of_the_catalogue_are_made_exactly(tmp_path: Path) -> None:
    index = Leaky(0.0)
    with_it, without = pair(tmp_path, index)
    index.asked.clear()
    assert_same(with_it.recommend(IDS[:9], k=500), without.recommend(IDS[:9], k=500))
    assert index.asked == []


def test_given_items_are_scored_exactly(tmp_path: Path) -> None:
    with_it, without = pair(tmp_path, Leaky(0.0))
    items = ["i0001", "i2999", "unknown"]
    assert with_it.score("u7", items).tolist() == without.score("u7", items).tolist()


@pytest.mark.parametrize("odd", [-1, -7, 1 << 40], ids=["none", "negative", "outside"])
def test_what_an_index_cannot_answer_is_answered_exactly(tmp_path: Path, odd: int) -> None:
    index = Leaky(0.0)
    with_it, without = pair(tmp_path, index)
    index.odd = odd
    assert_same(with_it.recommend(IDS[:20]), without.recommend(IDS[:20]))


def test_a_loaded_index_that_has_become_worse_is_strengthened(tmp_path: Path) -> None:
    write_wide(tmp_path / "bundle", indexed(Host(leaky=Leaky(0.0))))
    found = Recommender.load(tmp_path / "bundle", create=Host(leaky=Leaky(0.5, 0.1, 0.0)).create)
    assert found.retrieval == "leaky: recall@10 1.0000 at effort 2"


def test_a_loaded_index_below_the_gate_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_wide(tmp_path / "bundle", indexed(Host(leaky=Leaky(0.0))))
    with caplog.at_level(logging.WARNING):
        found = Recommender.load(tmp_path / "bundle", create=Host(leaky=Leaky(0.5, 0.1)).create)
    assert found.retrieval == "exact: the index leaky has a recall@10 below 0.99"
    assert "every item is scored for a list" in caplog.text
    assert_same(found.recommend(IDS), Recommender.load(tmp_path / "bundle").recommend(IDS))


def test_an_index_whose_package_is_missing_is_told(tmp_path: Path) -> None:
    write_wide(tmp_path / "bundle", indexed(Host(leaky=Leaky(0.0))))
    gone = Host(leaky=PluginError("index 'leaky' is unavailable", hint="pip install it"))
    assert Recommender.load(tmp_path / "bundle", create=gone.create).retrieval == "exact: index 'leaky' is unavailable (pip install it)"


def test_a_damaged_index_is_refused(tmp_path: Path) -> None:
    class Damaged(Leaky):
        def open(self, arrays: Any) -> Leaky:
            raise BundleError("the index does not hold every row once")

    write_wide(tmp_path / "bundle", indexed(Host(leaky=Leaky(0.0))))
    with pytest.raises(BundleError, match="every row once"):
        Recommender.load(tmp_path / "bundle", create=Host(leaky=Damaged(0.0)).create)


def test_a_recommender_with_more_events_keeps_its_index(tmp_path: Path) -> None:
    import copy

    with_it, _ = pair(tmp_path, Leaky(0.0))
    assert copy.copy(with_it).recommend(["u3"]) == with_it.recommend(["u3"])
