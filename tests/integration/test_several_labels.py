"""One run over a table with three labels: every task is learned, reported and answered, and no label is a feature."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from json_schema import faults

from autorec_kernel import AutoRec, Kernel
from autorec_kernel.cli.main import main
from autorec_kernel.errors import UnknownNameError
from autorec_kernel.features import FeatureSet
from autorec_kernel.serving import Recommender

pytestmark = pytest.mark.slow  # a whole run of twenty seconds
SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "reference" / "result.schema.json").read_text(encoding="utf-8"))
LABELS = ("click", "buy", "minutes")
NAMES = {"auc:click", "log_loss:click", "auc:buy", "log_loss:buy", "rmse:minutes", "mae:minutes"}
ROLES = [word for name in LABELS for word in ("--role", f"{name}=label")]


class Run(NamedTuple):
    folder: Path
    table: Path
    frame: pd.DataFrame
    out: str
    result: dict[str, Any]


def _frame(rows: int = 900) -> pd.DataFrame:
    """Return impressions without users or items; a click depends on `place` and `price`, a purchase on `age` as well."""
    rng = np.random.default_rng(11)
    place, price, age = rng.integers(0, 6, rows), rng.normal(size=rows), rng.normal(size=rows)
    click = rng.random(rows) < 1 / (1 + np.exp(-(place - 2.5 + price)))
    buy = click & (rng.random(rows) < 1 / (1 + np.exp(-2 * age)))
    frame = pd.DataFrame({"place": [f"p{n}" for n in place], "price": price, "age": age, "minutes": 5 + 2 * price + rng.random(rows)})
    frame["buy"] = np.where(rng.random(rows) < 0.1, np.nan, buy)
    frame["click"] = click.astype(int)
    return frame


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run the command once, in a process of its own."""
    home = tmp_path_factory.mktemp("labels")
    frame, table = _frame(), home / "impressions.csv"
    frame.to_csv(table, index=False)
    recipe = home / "recipe.toml"
    recipe.write_text("trials = 2\nworkers = 1\n[evaluator_options]\nepochs = 40\n")
    words = ("run", str(table), "--task", "click", *ROLES, "--recipe", str(recipe), "--out", str(home / "run"))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "autorec_kernel.cli", *words]
    process = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert process.returncode == 0, process.stderr
    return Run(home / "run", table, frame, process.stdout, json.loads((home / "run" / "result.json").read_text(encoding="utf-8")))


def test_the_result_holds_the_metrics_of_every_task_and_optimises_the_first(ran: Run) -> None:
    best, served = ran.result["best"], ran.result["compressed"]
    assert list(faults(ran.result, SCHEMA)) == []
    assert ran.result["metric"] == "auc"
    for metrics in (best["valid"], best["test"], served["test"]):
        assert set(metrics) >= NAMES
        assert metrics["auc"] == metrics["auc:click"]
    assert best["test"]["auc:buy"] > 0.75


def test_the_summary_shows_a_line_for_each_task(ran: Run) -> None:
    lines = [line.split() for line in ran.out.splitlines() if line.startswith(LABELS)]
    assert [(task, metric) for task, metric, *_ in lines] == [
        ("click", "auc"),
        ("click", "log_loss"),
        ("buy", "auc"),
        ("buy", "log_loss"),
        ("minutes", "rmse"),
        ("minutes", "mae"),
    ]
    assert lines[2][3] == f"{ran.result['best']['test']['auc:buy']:.4f}"


def test_what_is_served_predicts_every_label(ran: Run) -> None:
    recommender = Recommender.load(ran.folder / "bundle")
    frame = ran.frame.head(50)
    columns = {"place": _texts(frame["place"]), "price": frame["price"].to_numpy(), "age": frame["age"].to_numpy()}
    found = recommender.predict(columns=columns)
    assert list(found.tasks) == list(LABELS)
    assert np.array_equal(found.values, found.tasks["click"])
    assert 0 <= found.tasks["buy"].min() < found.tasks["buy"].max() <= 1
    assert ran.frame["minutes"].min() <= found.tasks["minutes"].min() < found.tasks["minutes"].max() <= ran.frame["minutes"].max()


def _texts(column: pd.Series[Any]) -> Any:
    from autorec_kernel.testing.data import coded

    return coded(column.tolist())


def test_blueprints_of_one_label_stand_back_and_say_why(ran: Run) -> None:
    told = [note for note in ran.result["notes"] if "does not predict the labels buy, minutes" in note]
    assert any("zoo/deepfm" in note for note in told)
    assert any("zoo/esmm" in note and "minutes" in note for note in ran.result["notes"])


def test_no_label_is_a_feature_and_the_test_labels_stay_behind_the_seal(ran: Run) -> None:
    features = FeatureSet.load(next(ran.folder.rglob("features.json")).parent)
    assert list(features.schema.tasks) == list(LABELS)
    assert features.schema.implies == {"click": (), "buy": ("click",)}
    read = {name for op in features.fitted for name in op.program.inputs}
    assert not read & set(LABELS)
    assert not {feature.name for feature in features.schema.features} & set(LABELS)
    assert set(features.parts) == {"train", "valid"}
    opened = [json.loads(line) for line in (ran.folder / "journal.jsonl").read_text().splitlines() if "test_opened" in line]
    assert len(opened) == 1


def test_the_command_predicts_and_measures_every_task(ran: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(ran.folder / "bundle"), str(ran.table), "--json"]) == 0
    row = json.loads(capsys.readouterr().out)[0]
    assert set(row) == {"user", "item", "prediction", "prediction:buy", "prediction:minutes", "known_user", "known_item"}
    assert main(["evaluate", str(ran.folder / "bundle"), str(ran.table), "--json"]) == 0
    metrics = json.loads(capsys.readouterr().out)["metrics"]
    assert set(metrics) == {"auc", "log_loss", *NAMES}
    assert metrics["auc:click"] == metrics["auc"]
    assert metrics["auc:buy"] > 0.7


def test_the_estimator_answers_the_label_that_is_asked_for(ran: Run) -> None:
    model = AutoRec.load(ran.folder / "bundle").set_params(plugins=Kernel())
    first, second = model.predict(ran.frame), model.predict(ran.frame, label="buy")
    assert np.array_equal(first, model.predict(ran.frame, label="click"))
    assert not np.allclose(first, second)
    with pytest.raises(UnknownNameError, match="bought"):
        model.predict(ran.frame, label="bought")


def test_another_order_of_the_labels_is_another_run(ran: Run, capsys: pytest.CaptureFixture[str]) -> None:
    swapped = [word for name in ("buy", "click", "minutes") for word in ("--role", f"{name}=label")]
    recipe = ran.folder.parent / "recipe.toml"
    words = ["run", str(ran.table), "--task", "click", *swapped, "--recipe", str(recipe), "--out", str(ran.folder), "--resume"]
    assert main(words) != 0
    assert "labels: was" in capsys.readouterr().err
