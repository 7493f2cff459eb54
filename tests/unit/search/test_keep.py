from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loop_kit import AtOnce, Crash, Later, judged, search

from autorec_kernel.contracts.evaluator import Task
from autorec_kernel.records.trial import Cost, Evaluation, Trial
from autorec_kernel.search import loop
from autorec_kernel.search.front import front_of
from autorec_kernel.search.keep import Keeper
from autorec_kernel.search.tasks import ARTEFACTS
from autorec_kernel.space import Genotype


def writing(task: Task) -> Evaluation:
    """Judge, and leave the files a training leaves."""
    found = judged(task)
    folder = Path(task.run) / ARTEFACTS
    folder.mkdir(exist_ok=True)
    if found.status != "complete":
        return found
    names = {"values": f"values-{task.trial}-{task.rung}.npy", "weights": f"weights-{task.trial}-{task.rung}.safetensors"}
    for name in names.values():
        (folder / name).write_bytes(task.genotype["retriever"].encode())
    return Evaluation("complete", found.metrics, found.cost, {}, "", names, {})


def files(folder: Path) -> set[str]:
    return {path.name for path in (folder / ARTEFACTS).iterdir()}


def ended(number: int, value: float, *, rung: int = 0, latency: float = 1.0, status: Any = "complete") -> tuple[Trial, Evaluation]:
    names = {"values": f"v{number}-{rung}", "weights": f"w{number}-{rung}"}
    cost = Cost(1, 1, latency, 1.0)
    trial = Trial(number, Genotype(), status, (value,), artefacts=names, cost=cost, rung=rung)
    return trial, Evaluation("complete", artefacts=names, cost=cost)


def keeper(tmp_path: Path, best: int, *names: str) -> Keeper:
    (tmp_path / ARTEFACTS).mkdir()
    for name in names:
        (tmp_path / ARTEFACTS / name).write_bytes(b"x")
    return Keeper(tmp_path, best)


def test_only_the_best_and_the_front_keep_their_weights_and_complete_trials_their_values(tmp_path: Path) -> None:
    _, result = search(tmp_path, AtOnce(writing), trials=60, keep=3)
    complete = [trial for trial in result.trials if trial.status == "complete"]
    best = sorted(complete, key=lambda trial: (-trial.value, trial.number))[:3]
    wanted = {trial.artefacts["weights"] for trial in (*best, *front_of(complete))} | {trial.artefacts["values"] for trial in complete}
    assert files(tmp_path) == wanted
    assert 3 <= sum(name.startswith("weights") for name in files(tmp_path)) < len(complete)


def test_the_best_so_far_is_there_after_every_batch(tmp_path: Path) -> None:
    values = np.random.default_rng(0).permutation(40) / 40
    pairs = [ended(number, float(value)) for number, value in enumerate(values)]
    found = keeper(tmp_path, 2, *(name for trial, _ in pairs for name in trial.artefacts.values()))
    for end in range(4, 41, 4):
        found.tidy([trial for trial, _ in pairs[end - 4 : end]], [one for _, one in pairs[end - 4 : end]])
        best = sorted((trial for trial, _ in pairs[:end]), key=lambda trial: -trial.value)[:2]
        kept = {name for name in files(tmp_path) if name.startswith("w") and int(name[1:].split("-")[0]) < end}
        assert kept == {trial.artefacts["weights"] for trial in best}


def test_a_lower_rung_and_a_stopped_trial_leave_nothing(tmp_path: Path) -> None:
    low, first = ended(0, 0.5)
    high, second = ended(0, 0.6, rung=1)
    stopped, third = ended(1, 0.4, status="stopped")
    found = keeper(tmp_path, 5, "v0-0", "w0-0", "v0-1", "w0-1", "v1-0", "w1-0")
    found.tidy([high, stopped], [first, second, third])
    assert files(tmp_path) == {"v0-1", "w0-1"} and low.number == high.number


def test_a_stopped_copy_does_not_take_the_files_of_its_original(tmp_path: Path) -> None:
    original, result = ended(0, 0.5)
    better, other = ended(1, 0.6)
    found = keeper(tmp_path, 1, "v0-0", "w0-0", "v1-0", "w1-0")
    found.tidy([original], [result])
    found.tidy([Trial(7, Genotype(), "stopped", (0.5,), artefacts=result.artefacts)], [result])
    assert files(tmp_path) == {"v0-0", "w0-0", "v1-0", "w1-0"}
    found.tidy([better], [other])
    found.tidy([Trial(8, Genotype(), "stopped", (0.5,), artefacts=result.artefacts)], [result])
    assert files(tmp_path) == {"v0-0", "v1-0", "w1-0"}  # no longer among the best, still compared with


def test_what_is_cheaper_than_anything_better_keeps_its_weights(tmp_path: Path) -> None:
    pairs = [ended(0, 0.9, latency=9.0), ended(1, 0.8, latency=9.0), ended(2, 0.7, latency=1.0), ended(3, 0.6, latency=2.0)]
    found = keeper(tmp_path, 1, *(f"w{n}-0" for n in range(4)))
    found.tidy([trial for trial, _ in pairs], [one for _, one in pairs])
    assert files(tmp_path) == {"w0-0", "w2-0"}


def test_a_front_of_every_trial_does_not_keep_them_all(tmp_path: Path) -> None:
    pairs = [ended(number, number / 100, latency=1.0 + number) for number in range(60)]
    found = keeper(tmp_path, 2, *(f"w{number}-0" for number in range(60)))
    for end in range(4, 61, 4):
        found.tidy([trial for trial, _ in pairs[end - 4 : end]], [one for _, one in pairs[end - 4 : end]])
    assert files(tmp_path) == {f"w{number}-0" for number in range(52, 60)}


def test_everything_can_be_kept(tmp_path: Path) -> None:
    pairs = [ended(n, n / 9) for n in range(9)]
    found = keeper(tmp_path, 0, *(f"w{n}-0" for n in range(9)))
    found.tidy([trial for trial, _ in pairs], [one for _, one in pairs])
    assert len(files(tmp_path)) == 9


def test_only_files_of_the_artefact_folder_are_deleted(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"x")
    found = keeper(tmp_path, 1, "solve-cache")
    bad = Evaluation("complete", artefacts={"weights": "../precious", "values": "..", "other": "solve-cache"})
    found.tidy([], [bad])
    assert (tmp_path / "precious").exists() and files(tmp_path) == {"solve-cache"}


@pytest.mark.parametrize("stop", [1, 3, 7])
def test_an_interrupted_search_ends_with_the_same_files(tmp_path: Path, stop: int, monkeypatch: Any) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "cut").mkdir()
    search(tmp_path / "whole", AtOnce(writing), trials=20, keep=2)
    for _ in range(50):
        try:
            search(tmp_path / "cut", AtOnce(writing, stop_after=stop), trials=20, keep=2)
            break
        except Crash:
            continue
    submit = Later(writing)
    (tmp_path / "later").mkdir()
    monkeypatch.setattr(loop, "wait", submit.wait)
    search(tmp_path / "later", submit, trials=20, keep=2)
    assert files(tmp_path / "whole") == files(tmp_path / "cut") == files(tmp_path / "later")
