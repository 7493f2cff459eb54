"""`autorec run` without the road: options, recipe, folders, errors, and the command that goes on."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from autorec_kernel.cli.main import main
from autorec_kernel.cli.target import choose_folder
from autorec_kernel.errors import DataError, InfrastructureError, SearchError
from autorec_kernel.search.journal import Journal

Autorec = Callable[..., tuple[int, str, str]]


@pytest.fixture
def autorec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Autorec:
    """Run a command line in an empty folder, without plugins."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> tuple[int, str, str]:
        code = main(["--no-plugins", *map(str, words)])
        return (code, *capsys.readouterr())

    return run


@pytest.fixture
def road(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Put a road in place that writes down what it is called with."""
    calls: list[dict[str, Any]] = []

    def fake(source: Any, recipe: Any, kernel: Any, folder: Path, **options: Any) -> dict[str, Any]:
        calls.append({"source": source, "recipe": recipe, "folder": folder, **options})
        return {"seed": recipe.seed}

    monkeypatch.setattr("autorec_kernel.pipeline.run", fake)
    return calls


@pytest.fixture
def signals() -> Iterator[None]:
    """Put back the handlers that an interrupted command leaves to the end of its process."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def _raising(error: BaseException, *, after: Callable[[Path], None] = lambda folder: None) -> Callable[..., Any]:
    def fake(source: Any, recipe: Any, kernel: Any, folder: Path, **options: Any) -> Any:
        folder.mkdir(parents=True, exist_ok=True)
        after(folder)
        raise error

    return fake


def test_only_given_options_override_the_recipe(autorec: Autorec, road: list[dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('task = "rate"\nseed = 7\ntrials = 3\n[roles]\nwhen = "time"\n')
    assert autorec("run", "d.csv", "--recipe", "r.toml", "--seed", 8, "--json")[0] == 0
    recipe = road[0]["recipe"]
    assert (recipe.task, recipe.seed, recipe.trials, recipe.roles) == ("rate", 8, 3, {"when": "time"})


def test_every_option_reaches_the_recipe(autorec: Autorec, road: list[dict[str, Any]]) -> None:
    words = shlex.split(
        "run d.csv --users u.csv --items i.csv --task click --target edge --trials 2 --strategy auto --metric log_loss --protocol random "
        "--role a=user --role b=item --kind b=text --positive-threshold 4 --deduplicate last --seed 3 --workers 2 --device cpu --json"
    )
    assert autorec(*words)[0] == 0
    call = road[0]
    recipe = call["recipe"]
    assert (call["source"], call["users"], call["items"], call["resume"]) == ("d.csv", "u.csv", "i.csv", False)
    assert (recipe.task, recipe.target, recipe.trials, recipe.metric, recipe.protocol) == ("click", "edge", 2, "log_loss", "random")
    assert (recipe.roles, recipe.kinds, recipe.positive_threshold) == ({"a": "user", "b": "item"}, {"b": "text"}, 4.0)
    assert (recipe.deduplicate, recipe.seed, recipe.workers, recipe.device) == ("last", 3, 2, "cpu")


def test_without_data_the_packaged_ratings_are_used_with_their_films(autorec: Autorec, road: list[dict[str, Any]]) -> None:
    assert autorec("run", "--json")[0] == 0
    assert [Path(road[0][name]).is_file() for name in ("source", "items")] == [True, True]
    assert road[0]["folder"].name.startswith("movielens-recommend-")


def test_json_puts_the_result_alone_on_stdout(autorec: Autorec, road: list[dict[str, Any]]) -> None:
    code, out, err = autorec("run", "d.csv", "--seed", 5, "--json")
    assert (code, json.loads(out)) == (0, {"seed": 5})
    assert "the run is in runs" in err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["d.csv", "--budget", "1min", "--trials", "3"], "either a budget or a number of trials"),
        (["d.csv", "--budget", "soon"], "is not a time"),
        (["d.csv", "--trials", "-1"], "trials"),
        (["d.csv", "--task", "guess"], "'recommend', 'rate' or 'click'"),
        (["d.csv", "--role", "user"], "COLUMN=VALUE"),
        (["d.csv", "--resume"], "--resume needs the folder"),
        (["--items", "i.csv"], "belong to a table"),
        (["d.csv", "--recipe", "none.toml"], "cannot read the recipe"),
    ],
)
def test_a_wrong_option_is_a_usage_error_and_leaves_nothing(autorec: Autorec, tmp_path: Path, words: list[str], told: str) -> None:
    code, out, err = autorec("run", *words)
    assert (code, out) == (2, "")
    assert told in err
    assert list(tmp_path.iterdir()) == []


def test_without_plugins_a_run_names_what_to_install_and_leaves_nothing(autorec: Autorec, tmp_path: Path) -> None:
    code, _, err = autorec("run", "d.csv", "--out", "o")
    assert code == 6
    assert 'pip install "autorec-kernel[all]"' in err
    assert list(tmp_path.iterdir()) == []


def test_the_default_folder_is_new_every_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    now = datetime(2030, 1, 2, 3, 4, 5)
    names = []
    for _ in range(3):
        folder = choose_folder(None, "/data/my films.csv.gz", "rate", resume=False, now=now)
        folder.mkdir(parents=True)
        names.append(str(folder))
    assert names == [f"runs/my-films-rate-20300102-030405{ending}" for ending in ("", "-2", "-3")]


def test_a_folder_that_holds_something_else_is_refused(autorec: Autorec, road: list[dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "thesis.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    assert autorec("run", "d.csv", "--out", "o")[0] == 7
    assert autorec("run", "d.csv", "--out", "file")[0] == 7
    assert road == []


def test_a_folder_that_cannot_be_made_is_an_infrastructure_error(tmp_path: Path) -> None:
    from autorec_kernel.stages.workplace import make_folder

    (tmp_path / "file").write_text("")
    with pytest.raises(InfrastructureError, match="cannot be written"):
        make_folder(choose_folder(tmp_path / "file" / "o", "d.csv", "rate", resume=False))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="everything may be written by root")
def test_a_read_only_folder_is_an_infrastructure_error(tmp_path: Path) -> None:
    from autorec_kernel.stages.workplace import make_folder

    (tmp_path / "o").mkdir(mode=0o500)
    with pytest.raises(InfrastructureError, match="cannot be written"):
        make_folder(tmp_path / "o")


def test_an_interrupted_run_tells_the_exact_command_that_goes_on(
    autorec: Autorec, monkeypatch: pytest.MonkeyPatch, signals: None, tmp_path: Path
) -> None:
    monkeypatch.setattr("autorec_kernel.pipeline.run", _raising(KeyboardInterrupt()))
    code, _, err = autorec("run", "my data.csv", "--trials", 3, "--role", "a b=user", "--role", "c=item", "--json")
    assert code == 130
    hint = err.splitlines()[-1].removeprefix("hint: ")
    folder = next((tmp_path / "runs").iterdir()).relative_to(tmp_path)
    typed = ["--no-plugins", "run", "my data.csv", "--trials", "3", "--role", "a b=user", "--role", "c=item", "--json"]
    assert shlex.split(hint) == ["autorec", *typed, "--out", str(folder), "--resume"]
    again = shlex.split(hint)[1:]
    assert main(again) == 130  # the hint is a command that works, and its own hint is itself


def test_the_hint_of_a_resumed_run_is_the_same_command(
    autorec: Autorec, monkeypatch: pytest.MonkeyPatch, signals: None, tmp_path: Path
) -> None:
    monkeypatch.setattr("autorec_kernel.pipeline.run", _raising(KeyboardInterrupt()))
    _, _, err = autorec("run", "d.csv", "--out", "o", "--resume")
    assert shlex.split(err.splitlines()[-1].removeprefix("hint: ")) == shlex.split("autorec --no-plugins run d.csv --out o --resume")


def test_a_new_folder_goes_when_the_table_is_refused(autorec: Autorec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def begin(folder: Path) -> None:
        with Journal.open(folder / "journal.jsonl") as journal:
            journal.append("session_started")

    monkeypatch.setattr("autorec_kernel.pipeline.run", _raising(DataError("no rows"), after=begin))
    assert autorec("run", "d.csv", "--out", "o")[0] == 3
    assert not (tmp_path / "o").exists()


def test_a_folder_with_a_run_in_it_stays_whatever_happens(autorec: Autorec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def begin(folder: Path) -> None:
        with Journal.open(folder / "journal.jsonl") as journal:
            journal.append("run", recipe={})
            journal.append("features", digest="")

    monkeypatch.setattr("autorec_kernel.pipeline.run", _raising(DataError("changed"), after=begin))
    assert autorec("run", "d.csv", "--out", "o")[0] == 3
    assert (tmp_path / "o" / "journal.jsonl").is_file()
    monkeypatch.setattr("autorec_kernel.pipeline.run", _raising(SearchError("nothing completed")))
    assert autorec("run", "d.csv", "--out", "p")[0] == 4
    assert (tmp_path / "p").is_dir()


def test_help_names_every_option_with_what_it_does(autorec: Autorec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    code, out, _ = autorec("run", "--help")
    assert code == 0
    plain = re.sub(r"\x1b\[[0-9;]*m", "", out)
    for option in ("--users", "--items", "--task", "--target", "--budget", "--trials", "--recipe", "--resume", "--dry-run", "--role"):
        assert option in plain
    assert "Try: autorec run --budget 1min" in " ".join(plain.split())
