from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from autorec_kernel.contracts.evaluator import PROVISIONAL, EvaluationContext, Rung
from autorec_kernel.errors import UsageError
from autorec_kernel.features import FeatureSet
from autorec_kernel.kernel import Kernel
from autorec_kernel.records.trial import Evaluation
from autorec_kernel.search.genes import assemble_space, offers
from autorec_kernel.search.journal import Journal
from autorec_kernel.search.objectives import Objectives
from autorec_kernel.search.tasks import ARTEFACTS, FEATURES
from autorec_training.full import FullTraining
from autorec_training.source import read_source

OPTIONS = {"epochs": 2, "batch_size": 256}


@pytest.fixture
def run(tmp_path: Path, kernel: Kernel, features_of: Callable[..., FeatureSet]) -> Path:
    """Return a run with a closed form (trial 0) and a model that learns (trial 1), whose evaluator and options an adviser filled in."""
    folder = tmp_path / "run"
    features = features_of("rate")
    features.save(folder / FEATURES)
    (folder / ARTEFACTS).mkdir()
    space = assemble_space(kernel, offers(kernel, "rate", features.schema), features.schema, "training/full")
    genotypes = [space.canonical({"pipeline": "ranker", "ranker": name}) for name in ("baselines/bias", "zoo/fm")]
    with Journal.open(folder / "journal.jsonl", fsync_each=False) as journal:
        journal.append("run", recipe={"task": "rate", "evaluator": "training/none", "evaluator_options": {"epochs": 1}})
        journal.append("advice", changes={"evaluator": "training/full", "evaluator_options": OPTIONS}, reason="")
        journal.append("batch", batch=0, proposals=[{"trial": n, "genotype": dict(one)} for n, one in enumerate(genotypes)])
        for number, one in enumerate(genotypes):
            context = EvaluationContext(kernel, features, "rate", "rmse", 0, number, folder / ARTEFACTS)
            found = FullTraining(FullTraining.Config(**OPTIONS)).evaluate(one, Rung(0, 1.0), context)
            journal.append("result", trial=number, rung=0, evaluation=found.to_json())
    return folder


def files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("gone", ["", "weights-1-0.safetensors", "solve-*/*"])
@pytest.mark.parametrize("trial", [0, 1])
def test_the_folder_of_the_run_stays_as_it_is(run: Path, kernel: Kernel, gone: str, trial: int) -> None:
    kept = read_source(run, trial, kernel).network.state_dict()
    for path in (run / ARTEFACTS).glob(gone) if gone else ():
        path.unlink()
    (run / "journal.jsonl").touch()
    before = files(run)
    again = read_source(run, trial, kernel).network.state_dict()
    assert files(run) == before
    assert kept.keys() == again.keys()
    if trial == 0 or gone != "weights-1-0.safetensors":
        assert all(torch.equal(kept[name], value) for name, value in again.items())


def test_a_process_reads_a_trial_once_until_the_journal_grows(run: Path, kernel: Kernel) -> None:
    first = read_source(run, 1, kernel)
    assert read_source(run, 1, kernel) is first
    with Journal.open(run / "journal.jsonl", fsync_each=False) as journal:
        journal.append("session_ended", elapsed=1.0)
    assert read_source(run, 1, kernel) is not first


def test_what_an_adviser_filled_in_is_followed(run: Path, kernel: Kernel) -> None:
    (run / ARTEFACTS / "weights-1-0.safetensors").unlink()  # trained again, by the evaluator that the advice names
    assert read_source(run, 1, kernel).network.trainable
    with pytest.raises(UsageError, match="trial 7 is none of the run's"):
        read_source(run, 7, kernel)


def result(status: str, rmse: float | None = None, **details: Any) -> Evaluation:
    return Evaluation(status, {} if rmse is None else {"rmse": rmse}, details=details)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rungs", "kept"),
    [
        ([result("complete", 1.0), result("complete", 0.9)], 1),
        ([result("complete", 0.9), result("complete", 0.9)], 1),
        ([result("complete", 0.9), result("complete", 1.0)], 0),
        ([result("complete", 0.9), result("crashed")], 0),
        ([result("complete", 0.1, **{PROVISIONAL: True}), result("complete", 1.0)], 1),
        ([result("complete", 0.1, **{PROVISIONAL: True})], 0),
        ([result("complete", 0.1, **{PROVISIONAL: True}), result("crashed")], 1),
        ([result("crashed")], 0),
        ([], None),
    ],
)
def test_of_several_rungs_the_result_that_the_search_kept_counts(rungs: list[Evaluation], kept: int | None) -> None:
    assert Objectives("rmse", maximise=False).settled(rungs) is (None if kept is None else rungs[kept])
