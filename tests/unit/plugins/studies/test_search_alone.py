from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from autorec_kernel.cli.main import main
from autorec_kernel.search.journal import Journal, compare, read_journal

SMALL = ["--blueprint", "zoo/mf", "--blueprint", "zoo/dssm", "--set", 'evaluator_options={"epochs":2}', "--device", "cpu", "--seed", "3"]


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory, table: Path) -> Path:
    folder = tmp_path_factory.mktemp("set") / "features"
    assert main(["--block", "workers", "features", str(table), "--features", "raw", "--out", str(folder), "--json"]) == 0
    return folder


def search(features: Path, out: Path, *words: str) -> int:
    return main(["--block", "workers", "search", str(features), "--strategy", "random", *SMALL, "--out", str(out), *words])


def test_a_search_alone_says_baselines_best_front_and_knee_and_leaves_a_journal(tmp_path: Path, features: Path, capsys: Any) -> None:
    assert search(features, tmp_path / "run", "--trials", "4", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    values = {name: row["valid"]["ndcg@10"] for name, row in found["baselines"].items()}
    assert {"baselines/ease", "baselines/popularity"} < set(values)
    front = {row["trial"]: row for row in found["front"]}
    assert found["best"]["valid"]["ndcg@10"] >= max(values.values()) and found["best"]["trial"] in front
    assert found["knee"] in front and sum(found["trials"].values()) == 4 + len(values)
    assert json.loads((tmp_path / "run" / "search.json").read_text()) == {key: one for key, one in found.items() if key != "folder"}
    kinds = [record["kind"] for record in read_journal(tmp_path / "run" / "journal.jsonl")]
    assert kinds.count("run") == 1 and "test_opened" not in kinds


def test_its_status_is_finished_until_it_goes_on(tmp_path: Path, features: Path, capsys: Any) -> None:
    run = tmp_path / "run"
    assert search(features, run, "--trials", "2") == 0
    capsys.readouterr()
    assert main(["status", str(run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["state"], found["result"], found["bundle"], found["resume"]) == ("finished", str(run / "search.json"), None, None)
    assert found["trials"]["by_status"] == json.loads((run / "search.json").read_text())["trials"]
    with Journal.open(run / "journal.jsonl") as journal:
        journal.append("batch", batch=9, proposals=[])
    assert main(["status", str(run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["state"], found["resume"]) == ("interrupted", f"autorec search … --out {run} --resume")


def test_it_prints_the_same_for_a_reader(tmp_path: Path, features: Path, capsys: Any) -> None:
    assert search(features, tmp_path / "run", "--trials", "2", "--task", "recommend") == 0
    told = capsys.readouterr().out
    assert all(word in told for word in ("baseline baselines/ease", "\nbest ", "\nknee ", "chosen:  trial", "stopped by trials"))


def test_a_search_that_goes_on_has_the_journal_of_one_that_did_not_stop(tmp_path: Path, features: Path) -> None:
    assert search(features, tmp_path / "whole", "--trials", "4") == 0
    assert search(features, tmp_path / "parts", "--trials", "2") == 0
    assert search(features, tmp_path / "parts", "--trials", "4", "--resume") == 0
    differ = compare(tmp_path / "whole" / "journal.jsonl", tmp_path / "parts" / "journal.jsonl", ignore_kinds=("finished", "batch", "told"))
    assert differ == ()
    assert search(features, tmp_path / "parts", "--trials", "4") == 7
    assert search(features, tmp_path / "parts", "--trials", "5", "--resume", "--set", "batch=3") == 7


def test_a_search_alone_is_replayed_from_its_journal_and_feature_set(tmp_path: Path, features: Path, capsys: Any) -> None:
    assert search(features, tmp_path / "run", "--trials", "3") == 0
    shutil.rmtree(tmp_path / "run" / "artefacts")
    shutil.rmtree(tmp_path / "run" / "features")
    assert main(["--block", "workers", "replay", str(tmp_path / "run")]) == 0
    assert "equal: proposals" in capsys.readouterr().out


def test_the_feature_set_is_left_as_it_was(tmp_path: Path, features: Path) -> None:
    before = {path.name: path.read_bytes() for path in features.iterdir() if path.is_file()}
    assert search(features, tmp_path / "run", "--trials", "1") == 0
    assert {path.name: path.read_bytes() for path in features.iterdir() if path.is_file()} == before


@pytest.mark.parametrize(
    ("words", "told"), [(("--task", "rate"), "built for the task 'recommend'"), (("--budget", "9s", "--trials", "2"), "either a budget or")]
)
def test_what_does_not_fit_is_refused_and_leaves_no_folder(
    tmp_path: Path, features: Path, words: tuple[str, ...], told: str, capsys: Any
) -> None:
    assert search(features, tmp_path / "run", *words) == 2
    assert told in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_a_folder_without_features_is_refused(tmp_path: Path, capsys: Any) -> None:
    assert search(tmp_path, tmp_path / "run", "--trials", "1") == 2
    assert "no feature set in this folder" in capsys.readouterr().err
