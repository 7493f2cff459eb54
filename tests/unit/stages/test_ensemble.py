"""The ensemble that a result names: from stored predictions of complete trials, for rows with labels only."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from autorec_kernel.recipe import Recipe
from autorec_kernel.records.trial import Trial
from autorec_kernel.search.tasks import ARTEFACTS
from autorec_kernel.space import Genotype
from autorec_kernel.stages.ensemble import ensemble_of

ROWS = 400


def given(tmp_path: Path, task: str = "rate", metric: str = "") -> tuple[Any, Any, list[Trial]]:
    """Return a run with trials 0 and 1 of opposite errors, 2 of noise, 3 failed, 4 without its file; a tenth of the labels is unknown."""
    rng = np.random.default_rng(0)
    label, error = rng.normal(3.0, 1.0, ROWS), rng.normal(size=ROWS)
    known = np.where(np.arange(ROWS) % 10 == 0, np.nan, label if task == "rate" else (label > 3.0))
    predictions = (label + error, label - error, rng.normal(3.0, 1.0, ROWS), label, label)
    (tmp_path / ARTEFACTS).mkdir()
    trials = []
    for number, values in enumerate(predictions):
        name = f"values-{number}-0.npy"
        if number != 4:
            np.save(tmp_path / ARTEFACTS / name, values)
        status = "failed" if number == 3 else "complete"
        trials.append(Trial(number, Genotype({}), status, (-float(number),), artefacts={"values": name}))
    features = SimpleNamespace(
        rows=lambda split: np.arange(ROWS),
        labels=lambda: known.astype(np.float32),
        rows_at=lambda entity, rows: rows % 40,  # a fortieth of the rows has no known user
    )
    return SimpleNamespace(folder=tmp_path, recipe=Recipe(task=task, metric=metric)), features, trials  # type: ignore[arg-type]


def test_trials_that_complement_one_another_share_the_weight(tmp_path: Path) -> None:
    found = ensemble_of(*given(tmp_path))
    assert found is not None
    assert [member["trial"] for member in found["members"]] == [0, 1]
    assert [member["weight"] for member in found["members"]] == pytest.approx([0.5, 0.5], abs=0.05)
    assert found["valid"]["rmse"] < 0.2


def test_clicks_are_judged_by_auc(tmp_path: Path) -> None:
    found = ensemble_of(*given(tmp_path, "click"))
    assert found is not None
    assert found["valid"]["auc"] > 0.97


@pytest.mark.parametrize(("task", "metric"), [("recommend", ""), ("click", "log_loss"), ("rate", "mae")])
def test_there_is_none_where_no_mean_of_rows_is_judged(tmp_path: Path, task: str, metric: str) -> None:
    assert ensemble_of(*given(tmp_path, task, metric)) is None


def test_one_trial_is_no_ensemble(tmp_path: Path) -> None:
    place, features, trials = given(tmp_path)
    assert ensemble_of(place, features, trials[2:]) is None
