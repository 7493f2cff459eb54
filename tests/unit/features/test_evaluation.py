"""Evaluation sets: who is judged, on what, with which history and without which items."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from autorec_kernel.features import EvaluationSet, FeatureSet
from autorec_kernel.features.evaluation import Events, collect, repeats


def events(rows: list[tuple[int, int, int, int]]) -> Events:
    """Columns user, item (key and row), positive, target."""
    table = np.array(rows, dtype=np.int64).reshape(-1, 4)
    return Events(table[:, 0], table[:, 1], np.where(table[:, 1] < 100, table[:, 1], 0), table[:, 2], table[:, 3])


def ids(keys: np.ndarray) -> list[str]:
    return [{1: "zoe", 2: "ann", 3: "mia"}[int(key)] for key in keys]


def lists(offsets: np.ndarray, items: np.ndarray) -> list[list[int]]:
    return [items[a:b].tolist() for a, b in pairwise(offsets)]


TRAIN = events([(1, 5, 1, 1), (2, 6, 1, 1), (1, 7, 0, 1), (1, 3, 1, 1)])


def made(split: list[tuple[int, int, int, int]], *, exclude: bool = True) -> EvaluationSet:
    return collect(TRAIN, events(split), 1000, exclude=exclude, ids=ids)


def test_users_stand_in_order_of_id_text_and_know_their_events() -> None:
    found = made([(1, 8, 1, 1), (2, 9, 1, 1), (1, 4, 1, 1)])
    assert found.ids == ("ann", "zoe") and found.users.tolist() == [2, 1]
    assert lists(*found.positives) == [[9], [8, 4]]
    assert found.event_rows.tolist() == [1001, 1000, 1002]


def test_histories_are_positives_in_order_and_exclusions_are_everything_seen() -> None:
    found = made([(1, 8, 1, 1)])
    assert lists(*found.histories) == [[5, 3]]
    assert lists(*found.seen) == [[3, 5, 7]]


def test_a_positive_that_was_seen_before_is_not_judged_and_exclusions_never_depend_on_answers() -> None:
    found = made([(1, 5, 1, 1), (1, 8, 1, 1), (2, 6, 1, 1)])
    assert found.ids == ("zoe",) and lists(*found.positives) == [[8]]
    assert lists(*found.seen) == [[3, 5, 7]]


def test_where_repeats_are_answers_nothing_is_excluded() -> None:
    found = made([(1, 5, 1, 1)], exclude=False)
    assert lists(*found.positives) == [[5]] and lists(*found.seen) == [[]]


def test_context_events_are_history_and_never_judged() -> None:
    found = made([(3, 2, 1, 0), (3, 4, 1, 0), (3, 9, 1, 1)])
    assert found.ids == ("mia",)
    assert lists(*found.histories) == [[2, 4]] and lists(*found.positives) == [[9]] and lists(*found.seen) == [[2, 4]]


def test_negative_events_are_nothing_to_find() -> None:
    assert len(made([(1, 8, 0, 1)])) == 0


def test_items_outside_the_catalogue_stay_in_the_count_one_each() -> None:
    found = made([(1, 150, 1, 1), (1, 151, 1, 1), (1, 150, 1, 1), (1, 8, 1, 1)])
    assert lists(*found.positives) == [[0, 0, 8]]


def test_events_without_a_user_or_an_item_are_left_out() -> None:
    assert made([(0, 8, 1, 1), (1, 0, 1, 1), (2, 8, 1, 1)]).ids == ("ann",)


def test_nothing_to_judge_is_an_empty_set() -> None:
    found = made([])
    assert len(found) == 0 and found.history_offsets.tolist() == [0]
    assert len(found.sample(3, np.random.default_rng(0))) == 0


def test_a_sample_keeps_order_and_content() -> None:
    full = made([(1, 8, 1, 1), (2, 9, 1, 1), (3, 9, 1, 1)])
    part = full.sample(2, np.random.default_rng(0))
    assert len(part) == 2 and list(part.ids) == sorted(part.ids)
    for place, name in enumerate(part.ids):
        there = full.ids.index(name)
        assert lists(*part.positives)[place] == lists(*full.positives)[there]
        assert lists(*part.seen)[place] == lists(*full.seen)[there]
        assert lists(*part.histories)[place] == lists(*full.histories)[there]
    assert part.ids == full.sample(2, np.random.default_rng(0)).ids and full.sample(9, np.random.default_rng(0)) is full


def test_repeats_are_told_from_stray_duplicates() -> None:
    users = np.repeat(np.arange(200), 2)
    assert not repeats(users, np.arange(400)) and not repeats(users[:0], users[:0])
    assert repeats(users, users) and not repeats(np.append(users, 0), np.append(np.arange(400), 0))


@pytest.mark.plugins
def test_the_sets_of_real_splits_never_exclude_what_is_to_be_found(build: Callable[..., FeatureSet]) -> None:
    features = build("recommend", opened=True)
    for split in ("valid", "test"):
        found = features.evaluation(split)  # type: ignore[arg-type]
        for seen, positive in zip(lists(*found.seen), lists(*found.positives), strict=True):
            assert positive and not set(seen) & set(positive)
        assert found.users.tolist() == features.entities.users.row_of(found.ids).tolist()
        assert np.array_equal(features.item_rows[found.event_rows], found.positive_items)


@pytest.mark.plugins
def test_test_histories_hold_validation_and_equal_what_the_state_after_it_reads(build: Callable[..., FeatureSet]) -> None:
    features = build("recommend", opened=True)
    found = features.evaluation("test")
    stored = features.state("valid").inputs(["history"], users=found.users)["history"]
    handed = features.state().inputs(["history"], users=found.users, histories=found.histories)["history"]
    assert np.array_equal(stored, handed)
