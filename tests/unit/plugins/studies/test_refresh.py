from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from studies_kit import chain, ended, searched

from autorec_kernel.cli.main import main
from autorec_kernel.errors import DataError, UsageError
from autorec_kernel.kernel import Kernel
from autorec_kernel.search.journal import read_journal
from autorec_studies.refresh import refresh


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, table: Path) -> Path:
    folder = searched(tmp_path_factory.mktemp("finished") / "run", table)
    ended(folder)
    return folder


def test_on_its_own_data_the_front_has_its_own_metrics(tmp_path: Path, finished: Path, table: Path, here: Kernel) -> None:
    found = refresh(finished, here, tmp_path / "new", table)
    assert found["data"]["was"] == found["data"]["is"] and not any("planned anew" in note for note in found["notes"])
    assert {row["status"] for row in found["candidates"]} == {"complete"}
    assert [row["new"] for row in found["candidates"]] == [row["old"] for row in found["candidates"]]
    assert found["best"]["was"] == found["best"]["is"]


def test_on_data_of_another_kind_another_candidate_wins(tmp_path: Path, finished: Path, here: Kernel) -> None:
    found = refresh(finished, here, tmp_path / "new", chain(tmp_path / "chain.csv"))
    names = {row["trial"]: row["baseline"] for row in found["candidates"]}
    assert names[found["served"]["is"]] == "baselines/directed" != names[found["served"]["was"]]
    winner = next(row for row in found["candidates"] if row["trial"] == found["served"]["is"])
    assert winner["new"] > 0.9 > winner["old"] and found["best"]["is"] == winner["trial"]


def test_nothing_but_the_front_what_was_served_and_the_baselines_is_trained(
    tmp_path: Path, finished: Path, table: Path, here: Kernel
) -> None:
    refresh(finished, here, tmp_path / "new", table)
    records = read_journal(tmp_path / "new" / "journal.jsonl")
    result = json.loads((finished / "result.json").read_text())
    wanted = {row["trial"] for row in (*result["front"], result["best"], *result["baselines"].values())}
    assert [record["kind"] for record in records].count("batch") == 1
    assert {record["trial"] for record in records if record["kind"] == "result"} == wanted
    then = {
        row["trial"]: row["genotype"] for r in read_journal(finished / "journal.jsonl") if r["kind"] == "batch" for row in r["proposals"]
    }
    now = {row["trial"]: row["genotype"] for record in records if record["kind"] == "batch" for row in record["proposals"]}
    assert now == {number: then[number] for number in wanted}
    assert not any(record["kind"] in ("test_opened", "space") for record in records)


def test_features_that_are_gone_are_planned_anew_and_that_is_said(tmp_path: Path, finished: Path, table: Path, here: Kernel) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("journal.jsonl", "result.json"):
        shutil.copy(finished / name, bare)
    found = refresh(bare, here, tmp_path / "new", table)
    assert any("planned anew" in note for note in found["notes"])
    assert found["candidates"][0]["new"] == found["candidates"][0]["old"]


def test_a_run_without_a_result_is_refused(tmp_path: Path, run: Path, table: Path, here: Kernel) -> None:
    with pytest.raises(UsageError, match="no result with a front"):
        refresh(run, here, tmp_path / "new", table)


def test_a_table_without_the_columns_of_the_run_is_refused(tmp_path: Path, finished: Path, here: Kernel) -> None:
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n2,3\n")
    with pytest.raises(DataError):
        refresh(finished, here, tmp_path / "new", other)


def test_the_command_says_what_won_then_and_what_wins_now(tmp_path: Path, finished: Path, capsys: Any) -> None:
    words = ["--block", "workers", "refresh", str(finished), "--data", str(chain(tmp_path / "chain.csv")), "--out", str(tmp_path / "new")]
    assert main(words) == 0
    told = capsys.readouterr().out
    served = json.loads((tmp_path / "new" / "refresh.json").read_text())["served"]
    assert main(["status", str(tmp_path / "new"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "finished"
    assert f"to serve:     trial {served['was']} then, trial {served['is']} now" in told and "OLD ndcg@10" in told
    assert main(words) == 7
