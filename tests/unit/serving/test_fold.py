"""A recommender that takes in later events: from the bundle alone, without the packages that made it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from serving_toys import ITEMS, events, schema, state, write_toy

from autorec_kernel.errors import BundleError, ContractError, DataError, UsageError
from autorec_kernel.records.as_of import AsOfTable, Measure
from autorec_kernel.records.bundle import LIVE
from autorec_kernel.records.live import Live, LiveFacts
from autorec_kernel.records.program import Program
from autorec_kernel.records.recent import recent
from autorec_kernel.records.serving_state import ServingState
from autorec_kernel.records.vocabulary import Vocabulary
from autorec_kernel.serving import Recommender

sys.path.insert(0, str(Path(__file__).parents[2] / "architecture"))
from test_serving_stands_alone import run_blocked

FACTS = LiveFacts("recommend", "rating", "", None, until=18, order=18, once=False)
NONE = Vocabulary.of(())


def keyed() -> Program:
    """The history of the toy state, keyed as the features of plugins are: strangers have keys of their own."""
    (program, _) = state().programs["history"]
    (step,) = program.steps
    tables = {name: replace(table, key="@user_key") for name, table in program.tables.items()}
    return replace(program, inputs=("@user_key", "@order"), steps=(replace(step, inputs=("@user_key", "@order")),), tables=tables)


def timed_state() -> ServingState:
    """The toy state, whose events have a time."""
    columns = {"user": "user_id", "item": "item_id", "time": "when"}
    return replace(state(), columns=columns, programs={**state().programs, "history": (keyed(), "history")})


def live() -> Live:
    return Live(FACTS, ((("history",), keyed()),), NONE, NONE, np.zeros(0, np.int32), np.zeros(0, np.int64))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("bundles")
    for kind in ("scores", "factors"):
        write_toy(base / kind, kind, live=live(), state=timed_state())
    return base


def test_a_later_event_is_in_the_history_and_among_the_seen_items(folder: Path) -> None:
    before, seen = Recommender.load(folder / "scores"), set(events()["@item"][events()["@user"] == 2].tolist())
    first, second = (f"i{item:02d}" for item in sorted(set(range(1, ITEMS + 1)) - seen)[:2])
    after = before.fold(["u2", "u2"], [second, first], {"when": np.array([21, 20])})
    history = [f"i{item:02d}" for item in events()["@item"][events()["@user"] == 2]]
    by_history = before.recommend(histories=[[*history, first, second]], k=5)[0]
    answer = after.recommend(["u2"], k=5)[0]
    assert (answer.items, answer.scores) == (by_history.items, by_history.scores)
    assert {first, second}.isdisjoint(after.recommend(["u2"], k=ITEMS)[0].items)
    assert {first, second} <= set(before.recommend(["u2"], k=ITEMS)[0].items)
    assert sum(after.state.popularity) == sum(before.state.popularity) + 2


@pytest.mark.parametrize("kind", ["scores", "factors"])
def test_a_stranger_is_answered_by_what_was_folded_as_by_the_same_history_given(folder: Path, kind: str) -> None:
    before, items = Recommender.load(folder / kind), ["i05", "i07", "unheard of", "i09"]
    after = before.fold(["new"] * 3 + ["newer"], items, {"when": np.array([20, 21, 22, 23])})
    given = before.recommend(histories=[["i05", "i07"], ["i09"]], k=7)
    found = after.recommend(["new", "newer", "u1", "nobody"], k=7)
    assert [(one.items, one.scores, one.answered_by) for one in found[:2]] == [(one.items, one.scores, one.answered_by) for one in given]
    assert [one.known for one in found] == [False, False, True, False]
    assert {"i05", "i07"}.isdisjoint(after.recommend(["new"], k=ITEMS)[0].items)
    assert found[2:] == [after.recommend(["u1"], k=7)[0], after.recommend(["nobody"], k=7)[0]]
    assert found[3].answered_by == "popularity"
    mixed = after.recommend(["new", "u1"], histories=[["i11"], None], k=7)
    assert mixed[0].items == before.recommend(histories=[["i11", "i05", "i07"][:1]], k=7, exclude=["i05", "i07"])[0].items
    scores = [after.score("new", ["i20"])[0], before.score(None, ["i20"], ["i05", "i07"])[0]]
    assert scores[0] == scores[1] == after.predict(["new"], ["i20"]).values[0]


def test_only_the_last_event_of_a_pair_counts_for_strangers_too(tmp_path: Path) -> None:
    once = live()
    write_toy(tmp_path / "b", "scores", live=replace(once, facts=replace(once.facts, once=True)), state=timed_state())
    before = Recommender.load(tmp_path / "b")
    twice = before.fold(["new", "new", "u1", "new"], ["i05", "i07", "fresh", "i05"], {"when": np.array([20, 21, 22, 23])})
    alone = before.fold(["new", "u1", "new"], ["i07", "fresh", "i05"], {"when": np.array([21, 22, 23])})
    assert twice.state.later.tolist() == alone.state.later.tolist()
    assert twice.state.popularity.tolist() == alone.state.popularity.tolist()
    assert twice.recommend(["new"]) == alone.recommend(["new"])
    for user, item in (("new", "i05"), ("u1", "fresh"), ("u1", f"i{before.state.seen_by(1)[0]:02d}")):
        with pytest.raises(DataError, match="a pair of user and item comes again"):
            twice.fold([user], [item], {"when": np.array([30])})
    assert len(twice.fold(["newer", None, None], ["i05"] * 3, {"when": np.array([30, 31, 32])}).state.later) == len(twice.state.later) + 1


def test_the_recommender_that_was_folded_stays_as_it_was(folder: Path) -> None:
    before = Recommender.load(folder / "scores")
    expected = before.recommend(["u1", "u5"], k=7)
    before.fold(["u1", "u5"], ["i39", "i40"], {"when": np.array([21, 20])})
    assert before.recommend(["u1", "u5"], k=7) == expected


def test_events_are_folded_call_after_call_and_never_late(folder: Path) -> None:
    once = Recommender.load(folder / "factors").fold(["u1"], ["i39"], {"when": np.array([30])})
    assert once.fold(["u1"], ["i40"], {"when": np.array([30])}).state.seen_by(1)[-2:].tolist() == [39, 40]
    with pytest.raises(DataError, match="the state holds everything up to"):
        once.fold(["u1"], ["i40"], {"when": np.array([29])})
    with pytest.raises(UsageError, match="folding reads the columns when of an event"):
        once.fold(["u1"], ["i40"], {})


def test_a_bundle_that_keeps_nothing_says_what_cannot_be_folded(tmp_path: Path) -> None:
    write_toy(tmp_path / "b", "scores")
    with pytest.raises(ContractError, match="cannot be folded into history") as caught:
        Recommender.load(tmp_path / "b").fold(["u1"], ["i39"], {"when": np.array([30])})
    assert "live = true" in caught.value.hint


@pytest.mark.parametrize("harm", [{"version": 2}, {"places": {}}, {"facts": {}}])
def test_damage_is_refused_when_the_bundle_is_loaded(folder: Path, harm: dict[str, object]) -> None:
    meta, packed = live().packed()
    with pytest.raises((BundleError, KeyError, TypeError)):
        Live.load({**meta, **harm}, packed)


def test_folding_needs_numpy_and_onnxruntime_only(folder: Path) -> None:
    assert LIVE in Recommender.load(folder / "scores").bundle.members
    done = run_blocked(
        "import numpy as np\nfrom autorec_kernel.serving import Recommender\n"
        f"r = Recommender.load({str(folder / 'scores')!r}).fold(['u1', 'new'], ['i39', 'i40'], {{'when': np.array([30, 31])}})\n"
        "print(r.state.seen_by(1)[-1], r.state.popularity[40])"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == "39"


@pytest.mark.parametrize("seed", range(20))
def test_a_table_cut_to_what_is_recent_answers_as_the_whole_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size, count, window = 60, int(rng.integers(1, 5)), int(rng.integers(0, 12))
    old = {"@user": rng.integers(0, 6, size), "@clock": np.sort(rng.integers(0, 30, size))}
    new = {"@user": rng.integers(0, 8, size), "@clock": np.sort(rng.integers(old["@clock"].max(), 60, size))}
    whole = AsOfTable.sums(old, 6, key="@user", measures=(Measure(),))
    kept = recent(whole, count, window)
    assert len(kept.values) <= len(whole.values)
    keys, times = np.repeat(np.arange(9), 61 - new["@clock"].min()), np.tile(np.arange(new["@clock"].min(), 61), 9)
    for one, other in ((whole, kept), (whole.fold(new), kept.fold(new)), (whole.fold(new), recent(kept.fold(new), count, window))):
        later = times >= one.times.max()
        at = (keys[later], times[later])
        assert np.array_equal(one.latest(keys), other.latest(keys))
        assert np.array_equal(one.read(*at), other.read(*at))
        assert np.array_equal(one.within(*at, window), other.within(*at, window))
        assert np.array_equal(one.newest(*at, count), other.newest(*at, count))
        for first in (False, True):
            assert np.array_equal(one.since(*at, first=first), other.since(*at, first=first), equal_nan=True)
        assert (one.end, one.keys) == (other.end, other.keys)


def test_the_toy_schema_has_one_feature_that_events_change() -> None:
    assert [feature.name for feature in schema().features if feature.dynamic] == ["history"]
