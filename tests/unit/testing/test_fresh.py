"""Other processes: fresh for each request, their ends told, whatever a component does in them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from autorec_kernel.config import ComponentConfig
from autorec_kernel.testing import fresh
from autorec_kernel.testing.violation import Violation

HERE = "tests.unit.testing.test_fresh"
MET: list[int] = []


class Plain:
    """A component of this module."""

    class Config(ComponentConfig):
        """No options."""


def told(component: Any, config: Any) -> list[Any]:
    MET.append(1)
    print("what a component prints is no answer")
    return [component.__name__, len(MET), os.environ["PYTHONHASHSEED"], os.getpid()]


def fails(component: Any, config: Any) -> None:
    raise ValueError("this is\nsaid")


def ends(component: Any, config: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leaves(component: Any, config: Any) -> None:
    sys.exit(0)


def gives_no_json(component: Any, config: Any) -> Any:
    return {1, 2}


def ask(function: str, seed: int = 1) -> Any:
    return fresh.in_fresh_process(f"{HERE}:{function}", Plain, Plain.Config(), seed)


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.syspath_prepend(str(request.config.rootpath))
    monkeypatch.setattr(Plain, "__module__", HERE)


def test_each_request_meets_a_process_of_its_own() -> None:
    answers = [ask("told"), ask("told")]
    assert [answer[:3] for answer in answers] == [["Plain", 1, "1"]] * 2
    assert len({answer[3] for answer in answers} | {os.getpid()}) == 3


def test_where_nothing_can_be_forked_each_request_starts_a_process_with_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fresh, "_FORKS", False)
    started = []
    begin = fresh._started
    monkeypatch.setattr(fresh, "_started", lambda seed: (started.append(begin(seed)), started[-1])[1])
    answer = ask("told", 2)
    assert answer[:3] == ["Plain", 1, "2"] and answer[3] == started[0].pid


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("fails", "ValueError: this is\nsaid"),
        ("ends", "ended with exit code -9"),
        ("leaves", "exit code 1"),
        ("gives_no_json", "TypeError"),
    ],
)
def test_what_goes_wrong_there_is_told_and_the_next_request_answered(function: str, message: str) -> None:
    with pytest.raises(Violation, match=message):
        ask(function)
    assert ask("told")[:2] == ["Plain", 1]


def test_what_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    with _hurried() as server:
        monkeypatch.setattr(fresh, "_server", lambda seed: server)
        with pytest.raises(Violation, match="it took more than 0 seconds"):
            ask("waits")


def test_what_a_component_starts_and_leaves_behind_holds_nobody_up() -> None:
    left = ask("starts")  # were it waited for, the time limit of the test would end this
    time.sleep(0.2)
    stat = Path(f"/proc/{left}/stat")  # of who was killed and is not yet buried
    assert not Path("/proc").is_dir() or not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


def starts(component: Any, config: Any) -> int:
    process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(3600,), daemon=True)
    process.start()
    return int(process.pid or 0)


def waits(component: Any, config: Any) -> None:
    time.sleep(60)


def _hurried() -> subprocess.Popen[str]:
    code = "import sys, json; sys.path[:] = json.loads(sys.argv[1]); from autorec_kernel.testing import fresh; "
    code += "fresh._LIMIT_SECONDS = 0.2; fresh._LIBRARIES = (); "
    command = [sys.executable, "-c", code + "fresh.main(True)", fresh.json.dumps(sys.path)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_a_server_that_is_gone_is_told_and_started_anew() -> None:
    fresh._server(1).kill()
    fresh._server(1).wait()
    with pytest.raises(Violation, match="ended with exit code -9"):
        ask("told")
    assert ask("told")[:2] == ["Plain", 1]
