from __future__ import annotations

import hashlib
import json
import math
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from studies_kit import recipe, searched

from autorec_kernel.cli.main import main
from autorec_kernel.contracts.evaluator import PROVISIONAL
from autorec_kernel.errors import DataError, UnknownNameError, UsageError
from autorec_kernel.features import FeatureSet
from autorec_kernel.kernel import Kernel
from autorec_kernel.records.features import Feature, FeatureSchema
from autorec_kernel.records.trial import Evaluation
from autorec_kernel.search.journal import read_journal
from autorec_kernel.serving import Recommender
from autorec_studies.kept import genotypes_of, kept, learns, training_options
from autorec_studies.original import read_original
from autorec_studies.transfer import Tuning, _note_lost, transfer

TRIAL, EPOCHS = 2, 12  # the first candidate behind two baselines
QUICK = {"ranker.training.learning_rate": 0.02, "ranker.training.batch_size": 256, "ranker.training.id_dropout": 0.0}


def domain(path: Path, users: range, items: range, seed: int, count: int) -> Path:
    """Write ratings of some users for some items; tastes and items are the same for every seed."""
    rng = np.random.default_rng(0)
    tastes, factors, offsets = rng.normal(size=(200, 3)), rng.normal(size=(60, 3)), rng.normal(size=60) / 2
    rng = np.random.default_rng(seed)
    u, i = rng.choice(users, count), rng.choice(items, count)
    ratings = 3 + (tastes[u] * factors[i]).sum(1) / 2 + offsets[i] + rng.normal(size=count) / 5
    rows = [f"u{a},i{b},{r:.3f},{1_600_000_000 + 60 * n}" for n, (a, b, r) in enumerate(zip(u, i, ratings, strict=True))]
    path.write_text("\n".join(["user_id,item_id,rating,timestamp", *rows]) + "\n")
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run that has learnt the domain, with what a result says of what it serves."""
    root = tmp_path_factory.mktemp("domain")
    old = domain(root / "old.csv", range(100), range(50), 1, 5000)
    told: dict[str, Any] = {"task": "rate", "trials": 1, "blueprints": ("zoo/fm",), "evaluator_options": {"epochs": 12}, "defaults": QUICK}
    run = searched(root / "run", old, **told)
    baselines = {"baselines/bias": {"trial": 0, "status": "complete"}}
    (run / "result.json").write_text(json.dumps({"best": {"trial": TRIAL}, "baselines": baselines}))
    return run


@pytest.fixture(scope="module")
def new(finished: Path) -> Path:
    """Return a table of other people and mostly the same items."""
    return domain(finished.with_name("new.csv"), range(70, 170), range(5, 60), 2, 2000)


@pytest.fixture(scope="module")
def found(finished: Path, new: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Return the folder of a transfer by the command, and what it wrote."""
    folder = tmp_path_factory.mktemp("transfer") / "new"
    words = [
        "--block",
        "workers",
        "transfer",
        str(finished),
        "--data",
        str(new),
        "--epochs",
        str(EPOCHS),
        "--rate",
        "1",
        "--out",
        str(folder),
    ]
    assert main(words) == 0
    assert main(words) == 7  # the folder is not empty any more
    return folder, json.loads((folder / "transfer.json").read_text())


def test_it_reaches_the_best_of_training_from_scratch_in_half_as_many_epochs(found: tuple[Path, dict[str, Any]]) -> None:
    told = found[1]
    reached = told["reached"]
    assert reached["transferred"] <= reached["scratch"] / 2
    assert told["transferred"]["valid"]["rmse"] < told["scratch"]["valid"]["rmse"]
    assert told["transferred"]["test"]["rmse"] < told["scratch"]["test"]["rmse"]
    assert len(told["transferred"]["values"]) == len(told["scratch"]["values"]) == told["epochs"] == EPOCHS
    assert told["transferred"]["before"]["rmse"] < told["scratch"]["values"][0]
    assert math.isclose(min(told["transferred"]["values"]), told["transferred"]["valid"]["rmse"], abs_tol=1e-6)


def test_it_says_how_many_rows_were_carried_over(found: tuple[Path, dict[str, Any]]) -> None:
    carried = found[1]["carried"]
    assert carried["vocabularies"] == {
        "item": {"carried": 45, "new": 10, "gone": 5},
        "user": {"carried": 30, "new": 70, "gone": 70},
    }
    assert carried["left"] == {} and carried["tensors"] > 2


def test_its_folder_is_that_of_a_run_and_its_bundle_serves(found: tuple[Path, dict[str, Any]], capsys: Any) -> None:
    folder, told = found
    result = json.loads((folder / "result.json").read_text())
    assert told["served"]["what"] == "transferred" and result["best"]["trial"] == told["served"]["trial"]
    assert {"from scratch", "baselines/bias"} == set(result["baselines"]) and result["verdict"] == told["verdict"]
    predicted = Recommender.load(folder / "bundle").predict(["u0", "u80", "u169"], ["i10", "i10", "i10"])
    assert np.isfinite(predicted.values).all() and len(set(predicted.values)) == 3
    assert main(["status", str(folder), "--json"]) == 0
    state = json.loads(capsys.readouterr().out)
    assert (state["state"], state["bundle"]) == ("finished", str(folder / "bundle"))


def test_test_rows_are_opened_once_after_everything_is_decided(found: tuple[Path, dict[str, Any]]) -> None:
    kinds = [record["kind"] for record in read_journal(found[0] / "journal.jsonl")]
    assert kinds.count("test_opened") == 1 and kinds.index("test_opened") > max(n for n, kind in enumerate(kinds) if kind == "result")


@pytest.mark.slow
def test_a_model_that_was_only_scored_is_fine_tuned_as_any_other_and_its_run_stays_as_it_is(
    tmp_path: Path, finished: Path, new: Path, here: Kernel
) -> None:
    cheap = {"steps": 10, "candidates": 0, "learning_rate": 0.5, "full": {"epochs": 2, "batch_size": 128, "weight_decay": 0.01}}
    told: dict[str, Any] = {"task": "rate", "trials": 1, "blueprints": ("zoo/fm",), "evaluator": "supernet/one-shot"}
    run = searched(tmp_path / "run", finished.with_name("old.csv"), **told, evaluator_options=cheap)
    (run / "result.json").write_text(json.dumps({"best": {"trial": TRIAL}, "baselines": {}}))
    before = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in run.rglob("*") if path.is_file()}
    found = transfer(run, here, tmp_path / "new", new, tuning=Tuning(epochs=2))
    assert found["scratch"]["status"] == "complete" and found["carried"]["vocabularies"]["item"]["carried"] == 45
    assert {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in run.rglob("*") if path.is_file()} == before
    records = read_journal(tmp_path / "new" / "journal.jsonl")
    header, batch = (next(record for record in records if record["kind"] == kind) for kind in ("run", "batch"))
    options = header["recipe"]["evaluator_options"]
    assert (options["batch_size"], options["weight_decay"], options["epochs"]) == (128, 0.01, 2)
    rates = [row["genotype"].get("ranker.training.learning_rate") for row in batch["proposals"]]
    assert rates == [0.001, None]  # half of what full training has where nobody says it


@pytest.mark.parametrize(
    ("evaluator", "stated", "used"),
    [
        ("training/full", {"epochs": 3}, {"epochs": 3}),
        ("supernet/inherited", {"epochs": 3, "full": {"epochs": 9, "clip_norm": 1.0}}, {"epochs": 3, "clip_norm": 1.0}),
        ("supernet/one-shot", {"batch_size": 64, "full": {"clip_norm": 1.0}}, {"clip_norm": 1.0}),
    ],
)
def test_options_are_those_that_a_run_trains_a_model_by(here: Kernel, evaluator: str, stated: dict[str, Any], used: dict[str, Any]) -> None:
    found = training_options(here, recipe(evaluator=evaluator, evaluator_options=stated))
    assert {name: value for name, value in found.items() if name != "full"} == used


def test_a_model_says_itself_whether_it_learns_whatever_its_trial_was_judged_by(finished: Path, here: Kernel) -> None:
    features, found = FeatureSet.load(finished / "features"), genotypes_of(read_original(finished))
    assert [learns(here, features, found[number]) for number in (0, TRIAL)] == [False, True]


def test_of_several_rungs_the_result_that_the_search_kept_counts() -> None:
    def told(*rungs: tuple[str, float, bool]) -> float:
        results = {
            (1, rung): Evaluation(status, {"rmse": value}, details={PROVISIONAL: early})  # type: ignore[arg-type]
            for rung, (status, value, early) in enumerate(rungs)
        }
        return kept(SimpleNamespace(metric="rmse", results=results, folder=Path()), 1).metrics["rmse"]  # type: ignore[arg-type]

    assert told(("complete", 1.0, False), ("complete", 0.9, False)) == 0.9
    assert told(("complete", 0.9, False), ("complete", 1.0, False)) == 0.9
    assert told(("complete", 0.9, False), ("crashed", 0.1, False)) == 0.9
    assert told(("complete", 0.1, True), ("complete", 1.0, False)) == 1.0
    with pytest.raises(UsageError, match="did not complete"):
        told(("complete", 0.1, True), ("crashed", 1.0, False))


@pytest.mark.slow
def test_a_reader_is_told_the_same_and_a_closed_form_is_solved_again(tmp_path: Path, finished: Path, new: Path, capsys: Any) -> None:
    words = ["--block", "workers", "transfer", str(finished), "--data", str(new), "--trial", "0", "--out", str(tmp_path / "new")]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert "nothing of this model is learnt by gradient" in told and "served:  transferred" in told and "bundle:" in told
    assert json.loads((tmp_path / "new" / "transfer.json").read_text())["scratch"] is None


@pytest.mark.slow
def test_equal_transfers_are_equal_and_a_table_without_times_will_do(
    tmp_path: Path, finished: Path, new: Path, found: tuple[Path, dict[str, Any]], here: Kernel
) -> None:
    again = transfer(finished, here, tmp_path / "again", new, tuning=Tuning(epochs=EPOCHS, rate=1.0, scratch=False))
    assert again["scratch"] is None and again["reached"] is None
    assert again["transferred"]["values"] == found[1]["transferred"]["values"]
    assert again["bundle"]["content_digest"] == found[1]["bundle"]["content_digest"]
    bare = tmp_path / "bare.csv"
    bare.write_text("\n".join(line.rpartition(",")[0] for line in new.read_text().splitlines()) + "\n")  # without the times
    told = transfer(finished, here, tmp_path / "bare", bare, tuning=Tuning(epochs=2, scratch=False))
    assert told["carried"]["vocabularies"]["item"]["carried"] == 45


def test_features_that_the_new_data_does_not_give_are_named() -> None:
    told: list[str] = []
    schemas = [FeatureSchema(tuple(Feature(name, "numeric", "row") for name in names)) for names in ("abcdefghijk", "b")]
    was, now = (SimpleNamespace(schema=schema) for schema in schemas)
    _note_lost(SimpleNamespace(note=told.append), was, now)  # type: ignore[arg-type]
    _note_lost(SimpleNamespace(note=told.append), was, was)  # type: ignore[arg-type]
    assert told == ["features of the run that the new data does not give: a, c, d, e, f, g, h, i and 2 more"]


def test_help_shows_an_example(capsys: Any) -> None:
    assert main(["transfer", "--help"]) == 0
    told = capsys.readouterr().out
    assert "autorec transfer run --data new.csv" in " ".join(told.split()) and "--unrelated" in told


def test_a_run_that_has_not_finished_is_refused(tmp_path: Path, finished: Path, new: Path, here: Kernel) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(finished / "journal.jsonl", bare)
    with pytest.raises(UsageError, match="has not finished"):
        transfer(bare, here, tmp_path / "new", new)
    with pytest.raises(UsageError, match="features of this run are gone"):
        transfer(bare, here, tmp_path / "new", new, tuning=Tuning(TRIAL))
    with pytest.raises(UsageError, match="trial 77 of this run did not complete"):
        transfer(finished, here, tmp_path / "new", new, tuning=Tuning(77))
    assert not (tmp_path / "new").exists()


def test_another_task_or_an_unknown_vocabulary_is_refused(tmp_path: Path, finished: Path, new: Path, here: Kernel) -> None:
    with pytest.raises(UsageError, match=r"learnt the task 'rate'.*nothing about 'click'"):
        transfer(finished, here, tmp_path / "new", new, task="click")
    with pytest.raises(UnknownNameError, match="users"):
        transfer(finished, here, tmp_path / "new", new, tuning=Tuning(unrelated=("users",)))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda text: text.replace("user_id,item_id,rating", "user_id,item_id,stars"), "label column 'rating'"),
        (lambda text: text.replace("user_id,item_id", "user_id,film_id"), "item column 'item_id'"),
        (lambda text: text.replace(",1600000000", ",soon"), "'timestamp'"),
    ],
)
def test_a_table_with_other_columns_is_refused(tmp_path: Path, finished: Path, new: Path, here: Kernel, change: Any, told: str) -> None:
    other = tmp_path / "other.csv"
    other.write_text(change(new.read_text()))
    with pytest.raises(DataError, match=told):
        transfer(finished, here, tmp_path / "new", other)
