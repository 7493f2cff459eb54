from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from autorec_kernel.cli.main import main
from autorec_kernel.serving import Recommender

sys.path.insert(0, str(Path(__file__).parents[1] / "serving"))

from serving_toys import ITEMS, profiled, state, write_toy


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("bundles")
    for kind in ("factors", "scores", "ranker"):
        write_toy(base / kind, kind)
    return base


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    def call(*words: object) -> tuple[int, str, str]:
        code = main(["--no-plugins", *map(str, words)])
        told = capsys.readouterr()
        return code, told.out, told.err

    return call


def test_a_user_gets_what_python_gets(run: Any, bundles: Path) -> None:
    code, out, _ = run("recommend", bundles / "factors", "--user", "u1", "--user", "nobody", "-k", 3, "--json")
    assert code == 0
    expected = Recommender.load(bundles / "factors").recommend(["u1", "nobody"], k=3)
    assert json.loads(out) == [answer.to_json() for answer in expected]


def test_a_history_is_given_as_a_list(run: Any, bundles: Path) -> None:
    code, out, _ = run("recommend", bundles / "scores", "--history", "i01, i02,nothing", "-k", 2, "--json")
    answer = json.loads(out)[0]
    assert (code, answer["answered_by"], answer["unknown_items"], len(answer["items"])) == (0, "model", 1, 2)


def test_text_output_is_a_table_and_says_who_answered(run: Any, bundles: Path) -> None:
    code, out, err = run("recommend", bundles / "factors", "--user", "nobody", "-k", 2)
    assert code == 0
    assert out.splitlines()[0].split() == ["USER", "RANK", "ITEM", "SCORE"]
    assert len(out.splitlines()) == 3
    assert "answered by popularity, unknown user" in err


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_everyone_is_written_to_a_file(run: Any, bundles: Path, tmp_path: Path, ending: str) -> None:
    out = tmp_path / f"recs.{ending}"
    assert run("recommend", bundles / "factors", "--all", "--out", out, "-k", 4)[0] == 0
    rows = list(csv.DictReader(out.read_text().splitlines())) if ending == "csv" else pq.read_table(out).to_pylist()
    assert [row["user"] for row in rows[::4]] == ["u1", "u2", "u3", "u4", "u5"]
    assert [int(row["rank"]) for row in rows[:4]] == [1, 2, 3, 4]
    first = Recommender.load(bundles / "factors").recommend(["u1"], k=4)[0]
    assert [row["item"] for row in rows[:4]] == list(first.items)
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_seen_items_come_back_when_asked_for(run: Any, bundles: Path) -> None:
    short = json.loads(run("recommend", bundles / "factors", "--user", "u4", "-k", 100, "--json")[1])[0]
    whole = json.loads(run("recommend", bundles / "factors", "--user", "u4", "-k", 100, "--include-seen", "--json")[1])[0]
    assert len(short["items"]) < len(whole["items"]) == ITEMS


@pytest.mark.parametrize(
    "words",
    [[], ["--all"], ["--all", "--user", "u1", "--out", "x.csv"], ["--user", "u1", "--out", "x.txt"], ["--user", "u1", "-k", "0"]],
)
def test_a_request_that_makes_no_sense_is_a_usage_error(run: Any, bundles: Path, words: list[str]) -> None:
    code, out, err = run("recommend", bundles / "factors", *words)
    assert (code, out) == (2, "")
    assert "error:" in err


def test_pairs_are_predicted_in_order_and_marked(run: Any, bundles: Path, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("user_id,item_id\nu1,i01\nu2,nothing\nnobody,nothing\n")
    code, out, _ = run("predict", bundles / "ranker", pairs, "--json")
    rows = json.loads(out)
    assert code == 0
    assert [(row["user"], row["item"], row["known_user"], row["known_item"]) for row in rows] == [
        ("u1", "i01", True, True),
        ("u2", "nothing", True, False),
        ("nobody", "nothing", False, False),
    ]
    expected = Recommender.load(bundles / "ranker").predict(["u1"], ["i01"]).values[0]
    assert rows[0]["prediction"] == pytest.approx(expected)
    assert rows[2]["prediction"] == 3.5
    assert run("predict", bundles / "ranker", pairs, "--out", tmp_path / "p.csv")[0] == 0
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 4


def test_pairs_without_the_user_column_are_a_data_error(run: Any, bundles: Path, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("a,b\nu1,i01\n")
    code, _, err = run("predict", bundles / "ranker", pairs)
    assert code == 3
    assert "user_id" in err


def test_evaluate_ranks_the_catalogue_for_new_rows(run: Any, bundles: Path, tmp_path: Path) -> None:
    best = Recommender.load(bundles / "factors").recommend(["u1"], k=1)[0].items[0]
    data = tmp_path / "new.csv"
    data.write_text(f"user_id,item_id\nu1,{best}\nu1,{best}\nnobody,nothing\n")
    assert set(json.loads(run("evaluate", bundles / "factors", data, "--json")[1])["metrics"]) >= {"ndcg@10", "hr@10", "coverage@10"}
    code, out, _ = run("evaluate", bundles / "factors", data, "--metric", "ndcg@10", "--json")
    told = json.loads(out)
    assert code == 0
    assert told["metrics"]["ndcg@10"] == pytest.approx(0.5)
    counts = told["counts"]
    assert (counts["users"], counts["unknown_users"], counts["unknown_positives"], counts["rows_left_out"]) == (2, 1, 1, 1)


def test_evaluate_measures_predictions_against_labels(run: Any, bundles: Path, tmp_path: Path) -> None:
    found = Recommender.load(bundles / "ranker").predict(["u1", "u2"], ["i01", "i02"]).values
    data = tmp_path / "new.csv"
    data.write_text(f"user_id,item_id,rating\nu1,i01,{found[0] + 0.5}\nu2,i02,{found[1] - 0.5}\nu3,i03,\n")
    code, out, _ = run("evaluate", bundles / "ranker", data, "--json")
    told = json.loads(out)
    assert code == 0
    assert told["metrics"]["rmse"] == pytest.approx(0.5, abs=1e-6)
    assert told["counts"]["rows_without_label"] == 1


def test_evaluate_without_the_label_column_is_refused(run: Any, bundles: Path, tmp_path: Path) -> None:
    data = tmp_path / "new.csv"
    data.write_text("user_id,item_id,ratings\nu1,i01,4\n")
    code, _, err = run("evaluate", bundles / "ranker", data)
    assert code in (2, 3)
    assert "rating" in err


@pytest.fixture(scope="module")
def watched(bundles: Path) -> Path:
    """A ranker with the profile of 40 rows a user, and two tables: the same rows, and rows of strangers without an item column."""
    users, items = [f"u{1 + k % 5}" for k in range(200)], [f"i{1 + k % 40:02d}" for k in range(200)]
    write_toy(bundles / "watched", "ranker", drift=profiled(state(), ("user_id", "item_id", "price"), users, items, {}))
    lines = [f"{user},{item},x" for user, item in zip(users, items, strict=True)]
    (bundles / "same.csv").write_text("\n".join(["user_id,item_id,new", *lines]))
    (bundles / "strangers.csv").write_text("\n".join(["user_id,size", *["nobody,1"] * 200]))
    return bundles


def test_drift_is_a_table_with_the_worst_feature_first(run: Any, watched: Path) -> None:
    code, out, err = run("drift", watched / "watched", watched / "strangers.csv")
    lines = out.splitlines()
    assert (code, lines[0].split()[:3]) == (0, ["FEATURE", "VERDICT", "PSI"])
    assert [line.split()[1] for line in lines[1:]] == ["shifted"] * 3
    assert "user_id" in out and "unknown: 0.0% -> 100.0%" in out
    assert "200 rows against 200 training rows" in err and "0 of 3 features are stable" in err
    assert "columns missing, and the model reads them: item_id" in err
    assert "columns unknown to the bundle, ignored: size" in err


def test_drift_as_json_is_what_python_gets(run: Any, watched: Path) -> None:
    code, out, _ = run("drift", watched / "watched", watched / "same.csv", "--json")
    told = json.loads(out)
    assert (code, told["missing"], told["extra"], told["rows"]) == (0, [], ["new"], 200)
    assert {one["name"]: one["verdict"] for one in told["features"]} == dict.fromkeys(("user_id", "item_id", "price"), "stable")


def test_a_limit_of_drift_is_held(run: Any, watched: Path) -> None:
    assert run("drift", watched / "watched", watched / "same.csv", "--limit", "0.1")[0] == 0
    code, out, err = run("drift", watched / "watched", watched / "strangers.csv", "--limit", "0.25", "--json")
    assert (code, json.loads(out)["missing"]) == (3, ["item_id"])
    assert "features over 0.25:" in err and "columns missing or of another type: item_id" in err


def test_a_bundle_without_a_profile_cannot_tell_of_drift(run: Any, watched: Path) -> None:
    code, _, err = run("drift", watched / "ranker", watched / "same.csv")
    assert (code, "holds no drift profile" in err) == (5, True)


def test_verify_inspect_and_pack(run: Any, bundles: Path, tmp_path: Path) -> None:
    code, out, _ = run("bundle", "verify", bundles / "factors", "--json")
    facts = json.loads(out)
    assert (code, facts["ok"]) == (0, True)
    code, out, _ = run("bundle", "inspect", bundles / "factors", "--json")
    assert (code, json.loads(out)["content_digest"]) == (0, facts["content_digest"])
    assert run("bundle", "inspect", bundles / "factors")[0] == 0
    assert run("bundle", "pack", bundles / "factors", "--out", tmp_path / "b.zip")[0] == 0
    assert json.loads(run("bundle", "verify", tmp_path / "b.zip", "--json")[1])["content_digest"] == facts["content_digest"]
    assert run("bundle", "verify", tmp_path / "b.zip", "--require-digest", "0" * 64)[0] == 5


@pytest.mark.parametrize("words", [["bundle", "verify"], ["bundle", "inspect"], ["recommend", "--user", "u1"]])
def test_a_damaged_bundle_exits_with_five(run: Any, bundles: Path, tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    assert run(words[0], *words[1:2], tmp_path, *words[2:])[0] == 5 if words[0] == "bundle" else run(words[0], tmp_path, *words[1:])[0] == 5
