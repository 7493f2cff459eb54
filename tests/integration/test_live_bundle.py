"""From a run to a host: a bundle that tells of drift, refuses tables that lack what its model reads, and takes in later events."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from autorec_kernel.cli.main import main
from autorec_kernel.deploy.rows import read_rows
from autorec_kernel.records.table import Coded
from autorec_kernel.serving import Recommender

pytestmark = pytest.mark.slow
ROWS, START = 1500, 1_600_000_000


def table() -> pd.DataFrame:
    """Clicks of 30 users on 40 items, an event every ten minutes; users like every third item, and phones more."""
    rng = np.random.default_rng(0)
    users, items, phone = rng.integers(0, 30, ROWS), rng.integers(0, 40, ROWS), rng.random(ROWS) < 0.5
    liked = rng.random(ROWS) < np.where(users % 3 == items % 3, 0.7, 0.2) + 0.15 * phone
    return pd.DataFrame(
        {
            "user_id": [f"u{user:02d}" for user in users],
            "item_id": [f"i{item:02d}" for item in items],
            "click": liked.astype(int),
            "timestamp": START + 600 * np.arange(ROWS),
            "device": np.where(phone, "phone", "web"),
        }
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("live")
    table().to_csv(folder / "events.csv", index=False)
    (folder / "live.toml").write_text('live = true\nblueprints = ["baselines/logistic-regression"]\nworkers = 1\n')
    words = ["run", folder / "events.csv", "--task", "click", "--trials", "0", "--recipe", folder / "live.toml", "--out", folder / "run"]
    assert main([str(word) for word in words]) == 0
    return folder


@pytest.fixture
def call(home: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*words: object) -> tuple[int, str, str]:
        code = main([str(word) for word in words])
        return (code, *capsys.readouterr())

    return run


def test_later_rows_of_the_same_kind_are_quiet_and_a_planted_shift_is_not(home: Path, call: Any) -> None:
    table()[int(0.9 * ROWS) :].to_csv(home / "later.csv", index=False)
    code, out, _ = call("drift", home / "run/bundle", home / "later.csv", "--limit", "0.5", "--json")
    told = json.loads(out)
    assert (code, told["missing"], told["extra"], told["retyped"], told["held_out"]) == (0, [], [], {}, True)
    assert sum(feature["verdict"] == "shifted" for feature in told["features"]) <= 0.1 * len(told["features"])
    table()[: int(0.9 * ROWS)].assign(device="tv", new=1).to_csv(home / "tv.csv", index=False)
    code, out, err = call("drift", home / "run/bundle", home / "tv.csv", "--limit", "0.25")
    first, verdict = out.splitlines()[1].split()[:2]
    assert (code, first.partition(".")[0], verdict) == (3, "device", "shifted")
    assert "unknown to the bundle, ignored: new" in err and "features over 0.25: device" in err


@pytest.mark.parametrize(
    ("harm", "code", "told"),
    [
        (lambda frame: frame[:0], 3, "odd.parquet: the table has no rows"),
        (lambda frame: frame.assign(user_id=[["u1"]] * len(frame)), 0, "column user_id holds lists, and was id in training"),
        (lambda frame: frame.assign(user_id=[{"id": 1}] * len(frame)), 0, "column user_id holds lists, and was id in training"),
        (lambda frame: frame.assign(timestamp=None), 0, "column timestamp holds no value at all, and was time in training"),
        (lambda frame: frame.assign(timestamp="soon"), 0, "column timestamp holds texts, and was time in training"),
        (lambda frame: frame.assign(user_id=range(len(frame))), 0, "user_id: 100.0% of the rows are unknown"),
        (lambda frame: frame.assign(more=[{"a": 1}] * len(frame)), 0, "ignored: more"),
    ],
)
def test_odd_tables_are_told_about_and_never_a_traceback(home: Path, call: Any, harm: Any, code: int, told: str) -> None:
    harm(table()[int(0.9 * ROWS) :]).to_parquet(home / "odd.parquet")
    found = call("drift", home / "run/bundle", home / "odd.parquet")
    assert (found[0], told in found[2], "Traceback" in found[2]) == (code, True, False), found[2]


def test_a_table_without_what_the_model_reads_is_refused_by_name(home: Path, call: Any) -> None:
    table().drop(columns=["device", "item_id"]).to_csv(home / "less.csv", index=False)
    code, _, err = call("predict", home / "run/bundle", home / "less.csv")
    assert code == 3
    assert "lacks 'item_id', 'device'" in err
    assert call("drift", home / "run/bundle", home / "less.csv", "--json")[0] == 0


def test_folding_the_last_tenth_is_what_a_later_table_would_have_left(home: Path) -> None:
    recommender = Recommender.load(home / "run/bundle")
    late = table()[int(0.9 * ROWS) :]
    rows = read_rows(late, recommender, labelled=True)
    assert rows.labels is not None
    columns = {name: column for name, column in rows.columns.items() if not name.startswith("@")}
    later = recommender.fold(rows.users, rows.items, {**columns, "click": rows.labels})
    counted = later.state.seen_offsets[-1] - recommender.state.seen_offsets[-1]
    assert counted == len(late)
    assert later.state.popularity.sum() - recommender.state.popularity.sum() == late["click"].sum()
    before, after = (one.predict(rows.users, rows.items, rows.columns).values for one in (recommender, later))
    assert np.abs(before - after).max() > 1e-3
    assert np.array_equal(recommender.predict(rows.users, rows.items, rows.columns).values, before)


def test_a_live_bundle_of_data_without_a_time_is_refused_before_anything_is_trained(home: Path, call: Any) -> None:
    table().drop(columns="timestamp").to_csv(home / "timeless.csv", index=False)
    code, _, err = call("run", home / "timeless.csv", "--task", "click", "--recipe", home / "live.toml", "--out", home / "none")
    assert code == 3
    assert "`live` needs a time column" in err


@pytest.fixture(scope="module")
def told(home: Path) -> Recommender:
    """A ranker of clicks that reads a table of users, two of whom (u98, u99) have no event."""
    rng = np.random.default_rng(1)
    users = [*(f"u{number:02d}" for number in range(30)), "u98", "u99"]
    pd.DataFrame({"user_id": users, "job": rng.choice(["cook", "clerk"], 32), "age": rng.integers(18, 80, 32)}).to_csv(
        home / "users.csv", index=False
    )
    words = ["run", home / "events.csv", "--users", home / "users.csv", "--task", "click", "--trials", "0"]
    assert main([str(word) for word in (*words, "--recipe", home / "live.toml", "--out", home / "told")]) == 0
    return Recommender.load(home / "told/bundle")


def test_a_stranger_of_a_side_table_is_recommended_what_is_predicted_for_him(told: Recommender) -> None:
    assert any(told.state.schema[name].depends == "user" and not told.state.schema[name].dynamic for name in told.graph.inputs)
    items = told.state.items.ids_of(np.arange(1, told.items))
    for user in ("u98", "u99"):
        values = told.predict([user] * len(items), items).values
        best = [items[place] for place in np.argsort(-values, kind="stable")[:5]]
        answer = told.recommend([user], k=5)[0]
        assert (list(answer.items), answer.answered_by, answer.known) == (best, "model", False)
    assert told.recommend(["nobody"])[0].answered_by == "popularity"


def test_a_given_history_of_a_stranger_leaves_what_his_side_table_says(told: Recommender) -> None:
    user = told.state.keys_of("user", ["u98"])
    read = [
        name
        for name in told.graph.inputs
        if told.state.schema[name].depends in ("user", "pair") and told.state.schema[name].kind != "history"
    ]
    given, stored, nobody = (
        told.state.inputs(read, users=key, items=np.array([3]), histories=histories)
        for key, histories in ((user, [np.array([1, 2])]), (user, None), (np.array([0]), [np.array([1, 2])]))
    )
    static = [name for name in read if not told.state.schema[name].dynamic and name != "user_id"]
    assert static and all(np.array_equal(given[name], stored[name]) for name in static)
    assert any(not np.array_equal(given[name], nobody[name]) for name in static)
    answers = told.recommend(["u98", None], histories=[["i01", "i02"]] * 2, k=5)
    assert [one.answered_by for one in answers] == ["model", answers[1].answered_by]


def test_a_folded_stranger_is_recommended_what_is_predicted_for_him(told: Recommender) -> None:
    time = START + 600 * (ROWS + 1)
    columns = {"click": np.ones(3), "timestamp": (time + np.arange(3)) * 10**9, "device": coded(["phone"] * 3)}
    later = told.fold(["new"] * 3, ["i00", "i03", "i06"], columns)
    items = later.state.items.ids_of(np.arange(1, later.items))
    values = later.predict(["new"] * len(items), items).values
    best = [items[place] for place in np.argsort(-values, kind="stable") if items[place] not in ("i00", "i03", "i06")][:5]
    answer = later.recommend(["new"], k=5)[0]
    assert (list(answer.items), answer.answered_by, answer.known) == (best, "model", False)


def coded(texts: list[str]) -> Coded:
    values = sorted(set(texts))
    return Coded(np.array([values.index(text) for text in texts], np.int32), np.array(values, dtype=object))
