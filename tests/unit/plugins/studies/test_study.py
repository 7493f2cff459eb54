from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from studies_kit import searched

from autorec_kernel.cli.main import main
from autorec_kernel.kernel import Kernel
from autorec_kernel.search.journal import read_journal
from autorec_studies.original import read_original

optuna = pytest.importorskip("optuna")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(before)


def exported(run: Path, folder: Path) -> Any:
    url = f"sqlite:///{folder / 'study.db'}"
    assert main(["export-study", str(run), "--storage", url, "--name", "one"]) == 0
    return optuna.load_study(study_name="one", storage=url)


def evaluations(run: Path) -> dict[tuple[int, int], Any]:
    return {(r["trial"], r["rung"]): r["evaluation"] for r in read_journal(run / "journal.jsonl") if r["kind"] == "result"}


def test_the_study_has_the_trials_and_the_best_value_of_the_run(tmp_path: Path, run: Path) -> None:
    study, found = exported(run, tmp_path), evaluations(run)
    assert len(study.trials) == sum(read_original(run).sizes) == len({trial for trial, _ in found})
    assert study.best_value == max(one["metrics"]["ndcg@10"] for one in found.values())
    assert study.direction == optuna.study.StudyDirection.MAXIMIZE


def test_a_trial_that_a_rung_stopped_is_pruned_with_what_the_rung_measured(tmp_path: Path, run: Path) -> None:
    study, found = exported(run, tmp_path), evaluations(run)
    promoted = next(trial for trial, rung in found if rung == 1)
    pruned = [trial for trial in study.trials if trial.state == optuna.trial.TrialState.PRUNED]
    assert pruned and all(len(trial.intermediate_values) == 1 for trial in pruned)
    assert set(study.trials[promoted].intermediate_values) == {0, 1}


def test_a_gene_is_a_parameter_only_where_it_is_active(tmp_path: Path, run: Path) -> None:
    study = exported(run, tmp_path)
    rows = [row for rows in read_original(run).batches for row in rows]
    assert [set(trial.params) for trial in study.trials] == [set(row["genotype"]) for row in rows]
    tables = [trial for trial in study.trials if trial.params["retriever"] != "zoo/dssm"]
    assert tables and not any(name.startswith("zoo/dssm.") for trial in tables for name in trial.params)


def test_costs_weights_and_errors_are_user_attributes(tmp_path: Path, run: Path) -> None:
    attributes = exported(run, tmp_path).trials[0].user_attrs
    first = evaluations(run)[0, 0]
    assert attributes["parameters"] == first["cost"]["parameters"] and attributes["weights"] == first["details"]["weights"]
    assert (attributes["number"], attributes["status"], attributes["error"]) == (0, "complete", "")


def test_several_objectives_become_several_directions(tmp_path: Path, table: Path) -> None:
    run = searched(tmp_path / "run", table, trials=2, objectives=("metric", "bytes"))
    study, first = exported(run, tmp_path), evaluations(run)[0, 0]
    assert [way.name for way in study.directions] == ["MAXIMIZE", "MINIMIZE"] and study.best_trials
    assert study.trials[0].values == [first["metrics"]["ndcg@10"], first["cost"]["bytes"]]


def test_a_metric_that_is_better_when_smaller_is_minimised_in_its_own_scale(tmp_path: Path, table: Path) -> None:
    run = searched(tmp_path / "run", table, trials=1, task="rate", blueprints=("zoo/fm",))
    study = exported(run, tmp_path)
    assert study.best_value == min(one["metrics"]["rmse"] for one in evaluations(run).values())


def test_the_exporter_writes_a_file_and_overwrites_none(tmp_path: Path, run: Path) -> None:
    export = Kernel.discover().load("exporter", "studies/optuna-study")
    export(run, tmp_path / "new.db")
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path / 'new.db'}")
    assert study.study_name == run.name
    with pytest.raises(Exception, match="the file is there already"):
        export(run, tmp_path / "new.db")


@pytest.mark.parametrize("url", ["sqlite:////nowhere/at/all.db", "nothing", "bogus://x"])
def test_a_storage_that_cannot_be_opened_is_an_error_of_the_disk(run: Path, url: str, capsys: Any) -> None:
    assert main(["export-study", str(run), "--storage", url]) == 7
    assert "the study cannot be written" in capsys.readouterr().err


def test_a_second_study_of_the_same_name_is_refused(tmp_path: Path, run: Path, capsys: Any) -> None:
    exported(run, tmp_path)
    assert main(["export-study", str(run), "--storage", f"sqlite:///{tmp_path / 'study.db'}", "--name", "one"]) == 7
    assert "has a study 'one' already" in capsys.readouterr().err
