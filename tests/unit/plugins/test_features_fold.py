"""Folding later events into a serving state gives, byte for byte, the state of a feature set that had them from the start: for every op."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from autorec_kernel.errors import ContractError, DataError, UsageError
from autorec_kernel.features import FeatureSet
from autorec_kernel.features.lately import Fading
from autorec_kernel.features.live import live_of
from autorec_kernel.kernel import Kernel
from autorec_kernel.records.live import Live
from autorec_kernel.records.serving_state import ServingState
from autorec_kernel.records.table import Table
from autorec_kernel.testing.feature_cases import SETTINGS
from tests.unit.plugins.test_features_serving_equality import CONTEXT, NEWCOMERS, STRANGERS, dataset_of, every_op, everyone, untrimmed

TIMED = [pair for pair in SETTINGS if pair[0] == "time"]
PARTS = ("seen_offsets", "seen_items", "seen_positive", "popularity")


@pytest.fixture(scope="module")
def built(kernel: Kernel) -> dict[tuple[str, str], FeatureSet]:
    return {pair: every_op(dataset_of(*pair), kernel, pair[1]) for pair in SETTINGS}


def given(rows: Table) -> tuple[list[str | None], list[str | None], dict[str, Any]]:
    """Return events as a host has them: ids and columns, none of the kernel's."""
    users, items = (list(rows[name].text()) for name in ("user_id", "item_id"))  # type: ignore[union-attr]
    return users, items, {name: rows[name] for name in rows if not name.startswith("@") and name not in ("user_id", "item_id")}


def stored(state: ServingState, live: Live) -> tuple[ServingState, Live]:
    """Return both as they come back from a bundle."""
    return (
        ServingState.load(json.loads(json.dumps(state.meta())), state.arrays()),
        Live.load(json.loads(json.dumps(live.packed()[0], sort_keys=True)), live.packed()[1]),
    )


def assert_same(found: ServingState, expected: ServingState, features: FeatureSet, pair: tuple[str, str]) -> None:
    for part in PARTS:
        one, other = getattr(found, part), getattr(expected, part)
        assert (one.dtype, one.tobytes()) == (other.dtype, other.tobytes()), part
    asked, users, items = everyone(features, expected, dataset_of(*pair))
    names = [feature.name for feature in features.schema.features]
    told: dict[str, Any] = {"users": users, "items": items, "columns": {name: asked[name] for name in CONTEXT}}
    for histories in (None, [np.array([1, 2, 3])[: k % 4] for k in range(asked.rows)]):
        answers, rebuilt = (
            state.inputs(names, **told, clock=int(np.asarray(asked["@clock"])[0]), histories=histories) for state in (found, expected)
        )
        differ = [name for name in names if answers[name].tobytes() != rebuilt[name].tobytes()]
        assert not differ, {name: (answers[name][:3].tolist(), rebuilt[name][:3].tolist()) for name in differ[:3]}


@pytest.mark.parametrize("batches", [1, 4, pytest.param(60, marks=pytest.mark.slow)])
@pytest.mark.parametrize("pair", TIMED)
def test_folding_equals_building_anew_whatever_the_batches(built: Any, pair: tuple[str, str], batches: int) -> None:
    features, later = built[pair], dataset_of(*pair).valid
    state, live = stored(features.state("train"), live_of(features))
    for rows in np.array_split(np.arange(later.rows), batches):
        state, live = live.fold(state, *given(later.take(rows)))
    assert_same(state, features.state("valid"), features, pair)
    assert live.facts == live_of(features, "valid").facts and not live.facts.left


@pytest.mark.parametrize("pair", TIMED)
def test_newcomers_are_answered_by_their_own_events(built: Any, pair: tuple[str, str]) -> None:
    features, live = built[pair], live_of(built[pair])
    state, _ = live.fold(features.state(), *given(dataset_of(*pair).valid))
    ids = [(user, item) for user in (*STRANGERS[:1], NEWCOMERS[0], "nobody") for item in (STRANGERS[1], NEWCOMERS[1], "nothing")]
    keys = [state.keys_of("user", [user for user, _ in ids]), state.keys_of("item", [item for _, item in ids])]
    whole = [_whole_keys(features, "user", [user for user, _ in ids]), _whole_keys(features, "item", [item for _, item in ids])]
    assert {key > 0 for key in keys[0][:6]} == {True} and not keys[0][6:].any()
    context = dataset_of(*pair).train.take(np.arange(len(ids)))
    columns: dict[str, Any] = {name: context[name] for name in CONTEXT}
    clock = np.full(len(ids), np.asarray(dataset_of(*pair).valid["@clock"]).max() + 1)
    zero = np.zeros(len(ids), np.int64)
    own = {"@user": zero, "@item": zero, "@user_key": whole[0], "@item_key": whole[1], "@clock": clock, "timestamp": clock}
    names = [feature.name for feature in features.schema.features]
    found = state.inputs(names, users=keys[0], items=keys[1], columns=columns, clock=int(clock[0]))
    for name, value in untrimmed(features, Table({**columns, **own}, len(ids)), "valid"):
        assert found[name].tobytes() == value.tobytes(), name


def _whole_keys(features: FeatureSet, entity: str, ids: list[str]) -> np.ndarray:
    known, more = getattr(features.entities, f"{entity}s"), getattr(features.entities, f"more_{entity}s")
    further = more.row_of(ids)
    return np.where(further > 0, known.size - 1 + further, 0)


@pytest.mark.parametrize("pair", TIMED)
def test_every_feature_that_moves_is_moved_by_folding(built: Any, pair: tuple[str, str]) -> None:
    features = built[pair]
    moving = {op.features[0].op for op in features.fitted if op.program.tables}
    assert moving >= {f"features/{name}" for name in ("activity", "counts", "groups", "history")}
    named = {name for names, _ in live_of(features).programs for name in names}
    without = {f.name for f in features.schema.features if f.dynamic} - named
    assert all(features.schema[name].op == "features/factors" for name in without)  # its moments were fixed when it was fitted


def test_the_order_of_rows_in_a_batch_is_of_no_matter_where_times_differ(built: Any) -> None:
    features, pair = built["time", "click"], ("time", "click")
    later = dataset_of(*pair).valid
    _, first = np.unique(np.asarray(later["timestamp"]), return_index=True)
    rows = later.take(first)
    one, _ = live_of(features).fold(features.state(), *given(rows))
    other, _ = live_of(features).fold(features.state(), *given(rows.take(np.arange(rows.rows)[::-1])))
    assert_same(one, other, features, pair)


def test_what_is_kept_does_not_grow_with_what_is_past(built: Any) -> None:
    features, later = built["time", "recommend"], dataset_of("time", "recommend").valid
    state, live = features.state(), live_of(features)
    users, items, columns = given(later)
    sizes = []
    for round_ in range(6):
        state, live = live.fold(state, users, items, {**columns, "timestamp": columns["timestamp"] + (round_ + 1) * 60 * 86_400 * 10**9})
        sizes.append(sum(len(table.values) for _, program in live.programs for table in program.tables.values()))
    assert sizes[-1] < 1.3 * sizes[1]


def test_popularity_that_fades_is_folded_too(built: Any) -> None:
    features = replace(built["time", "recommend"], fading=Fading(half_life=3e14), _cache={})
    live = Live.load(*live_of(features).packed())
    state, later = features.state(), dataset_of("time", "recommend").valid
    for rows in np.array_split(np.arange(later.rows), 3):
        state, live = live.fold(state, *given(later.take(rows)))
    assert state.popularity.tobytes() == features.state("valid").popularity.tobytes()
    assert state.popularity.tobytes() != built["time", "recommend"].state("valid").popularity.tobytes()


@pytest.mark.parametrize("pair", TIMED[1:])
def test_rows_without_a_label_teach_nothing(built: Any, pair: tuple[str, str]) -> None:
    features, later = built[pair], dataset_of(*pair).valid
    users, items, columns = given(later.take(np.concatenate([np.arange(later.rows)] * 2)))
    again = np.arange(2 * later.rows) >= later.rows
    state, _ = live_of(features).fold(features.state(), users, items, {**columns, "rating": np.where(again, np.nan, columns["rating"])})
    assert_same(state, features.state("valid"), features, pair)


def test_a_pair_that_comes_again_is_refused_where_only_its_last_event_counts(built: Any) -> None:
    features, later = built["time", "recommend"], dataset_of("time", "recommend").valid
    live = live_of(features)
    with pytest.raises(DataError, match="a pair of user and item comes again"):
        replace(live, facts=replace(live.facts, once=True)).fold(features.state(), *given(later))


def test_where_positions_break_ties_an_event_of_the_same_moment_is_late(built: Any) -> None:
    features, later = built["time", "recommend"], dataset_of("time", "recommend").valid
    live = live_of(features)
    users, items, columns = given(later.take(np.arange(1)))
    at_the_end = {**columns, "timestamp": np.array([live.facts.until])}
    assert live.fold(features.state(), users, items, at_the_end)[1].facts.order == live.facts.order + 1
    with pytest.raises(DataError, match="the state holds everything"):
        replace(live, facts=replace(live.facts, position="place")).fold(features.state(), users, items, at_the_end)


def test_what_the_model_has_stored_is_not_folded_into(built: Any) -> None:
    features = built["time", "recommend"]
    moving = next(f.name for f in features.schema.features if f.dynamic and f.depends == "item")
    live = live_of(features, stored=[moving, "items.year", "@interactions"])
    with pytest.raises(ContractError, match=f"events change {moving}, and the model stores"):
        live.fold(features.state(), *given(dataset_of("time", "recommend").valid))


def test_only_what_a_model_reads_is_kept_and_the_rest_is_gone_once_folded(built: Any) -> None:
    features, later = built["time", "click"], dataset_of("time", "click").valid
    moving = [f.name for op in features.fitted if op.program.tables for f in op.features]
    live = live_of(features, names=[moving[0], "items.year"])
    assert {name for names, _ in live.programs for name in names if name} == {moving[0]}
    state, _ = stored(features.state(), live)[1].fold(features.state(), *given(later))
    rows: dict[str, Any] = {"users": np.arange(5), "items": np.arange(5)}
    assert (
        state.inputs([moving[0]], **rows)[moving[0]].tobytes() == features.state("valid").inputs([moving[0]], **rows)[moving[0]].tobytes()
    )
    with pytest.raises(ContractError, match="cannot compute feature"):
        state.inputs([moving[1]], **rows)


def test_late_events_are_refused(built: Any) -> None:
    features, pair = built["time", "rate"], ("time", "rate")
    users, items, columns = given(dataset_of(*pair).valid)
    with pytest.raises(DataError, match="the state holds everything up to"):
        live_of(features).fold(features.state(), users, items, {**columns, "timestamp": columns["timestamp"] - 10**18})
    with pytest.raises(DataError, match="without a time"):
        live_of(features).fold(features.state(), users, items, {**columns, "timestamp": np.full(len(users), np.iinfo(np.int64).min)})


def test_every_column_that_folding_reads_is_named(built: Any) -> None:
    features = built["time", "rate"]
    with pytest.raises(UsageError, match=r"rating, .*timestamp"):
        live_of(features).fold(features.state(), ["u"], ["i"], {})


def test_no_events_change_nothing(built: Any) -> None:
    features = built["time", "recommend"]
    live, state = live_of(features), features.state()
    users, items, columns = given(dataset_of("time", "recommend").valid.take(np.arange(0)))
    assert live.fold(state, users, items, columns) == (state, live)


def test_without_a_clock_of_all_users_there_is_no_folding(built: Any) -> None:
    with pytest.raises(ContractError, match="no time orders"):
        live_of(built["position", "recommend"])


def test_labels_of_clicks_are_not_ratings(built: Any) -> None:
    features = built["time", "click"]
    live = live_of(features)
    live = replace(live, facts=replace(live.facts, threshold=None))
    users, items, columns = given(dataset_of("time", "click").valid)
    with pytest.raises(DataError, match="0 and 1"):
        live.fold(features.state(), users, items, {**columns, live.facts.label: np.full(len(users), 5.0)})
