"""`autorec profile`: where the time of a training step goes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import autorec_kernel.features
from autorec_kernel.errors import ContractError
from autorec_kernel.kernel import Kernel

pytestmark = pytest.mark.plugins

Autorec = Callable[..., tuple[int, str, str]]
PHASES = ("batch building", "forward", "backward", "optimiser")
FAST = ("--steps", 2, "--batch-size", 64, "--option", "hidden_units=[8]", "--option", "embedding_dim=4")


def test_a_step_is_told_by_phase_and_by_operator(autorec: Autorec, table: Path) -> None:
    code, out, err = autorec("profile", table, *FAST, "--top", 5)
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0].startswith("zoo/deepfm, task rate, ")
    for phase in (*PHASES, "step"):
        assert any(line.startswith(phase) for line in lines), phase
    assert "rows a second" in out
    assert "GFLOP/s" in out
    operators = lines[next(at for at, line in enumerate(lines) if line.startswith("OPERATOR")) + 1 :]
    assert len(operators) == 5
    assert any(line.startswith(("aten::", "Optimizer.step")) for line in operators)
    told = [line for line in err.splitlines() if not line.startswith(("[W", "USDT:"))]  # torch's own log, also its profiler's
    assert told == [f"reading {table}", "building features", "training 2 steps"]


def test_the_figures_come_as_json(autorec: Autorec, table: Path) -> None:
    code, out, _ = autorec("profile", table, *FAST, "--task", "click", "--positive-threshold", 4, "--json")
    assert code == 0
    found = json.loads(out)
    assert (found["task"], found["device"], found["steps"], found["rows"]) == ("click", "cpu", 2, 64)
    assert set(found["seconds"]) == set(PHASES)
    assert found["step_seconds"] == pytest.approx(sum(found["seconds"].values()))
    assert found["samples_per_second"] == pytest.approx(64 / found["step_seconds"])
    assert 0 < found["limit_share"] < 1
    names = {row["name"] for row in found["operators"]}
    assert {"aten::mm", "aten::_fused_adamw_"} <= names
    times = [row["cpu_us"] for row in found["operators"]]
    assert times == sorted(times, reverse=True)


def test_any_blueprint_can_be_profiled(autorec: Autorec, table: Path) -> None:
    code, out, err = autorec("profile", table, "--blueprint", "sasrec", "--steps", 1, "--batch-size", 64, "--json")
    assert code == 0, err
    assert json.loads(out)["task"] == "recommend"


@pytest.mark.slow
def test_every_blueprint_that_is_trained_on_such_data_can_be_profiled(autorec: Autorec, table: Path, monkeypatch) -> None:
    build, built = autorec_kernel.features.build_features, {}

    def once(dataset, kernel, *, task, **options):
        if task not in built:
            built[task] = build(dataset, kernel, task=task, **options)
        return built[task]

    monkeypatch.setattr(autorec_kernel.features, "build_features", once)
    answers, kernel = {}, Kernel.discover()
    for row in kernel.components("blueprint"):
        task = kernel.load("blueprint", row.id).tasks[0]
        labels = ("--positive-threshold", 4) if task == "click" else ()
        code, out, err = autorec("profile", table, "--blueprint", row.id, "--steps", 1, "--batch-size", 64, *labels, "--json")
        answers[row.id] = (code, json.loads(out)["gflop"] if code == 0 else err)
        if code and "closed form" not in err:
            with pytest.raises(ContractError):  # it does not suit the data: several labels are wanted, say
                kernel.create("blueprint", row.id).architecture(built[task].schema)
    profiled = {name for name, (code, _) in answers.items() if not code}
    assert profiled >= {"zoo/lightgcn", "zoo/deepfm", "zoo/sasrec", "zoo/multvae", "zoo/gru4rec", "zoo/autorec-item"}
    assert len(profiled) > 30


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--blueprint", "zoo/deepfn"), "did you mean 'zoo/deepfm'"),
        (("--blueprint", "baselines/ease"), "takes no training steps"),
        (("--task", "recommend"), "does not do the task 'recommend'"),
        (("--option", "embedding_dim"), "is not NAME=JSON"),
        (("--option", "embedding=4"), "unknown option 'embedding'"),
        (("--device", "cuda:9"), "device"),
    ],
)
def test_what_cannot_be_profiled_is_told_before_a_step(autorec: Autorec, table: Path, words: tuple[str, ...], told: str) -> None:
    code, out, err = autorec("profile", table, *words)
    assert code == 2
    assert out == ""
    assert told in err
