from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from autorec_kernel.kernel import Kernel
from autorec_kernel.records.trial import Trial
from autorec_kernel.space import Genotype
from autorec_kernel.stages.log import LOG, Logged, log_to
from autorec_kernel.stages.workplace import Silent


@pytest.fixture(autouse=True)
def unchanged() -> Iterator[None]:
    """Fail when a logger of the kernel is left in another state."""
    logger = logging.getLogger("autorec_kernel")
    before = (logger.level, list(logger.handlers), logger.propagate)
    yield
    assert (logger.level, logger.handlers, logger.propagate) == before


def read(folder: Path) -> list[dict[str, Any]]:
    def refuse(text: str) -> float:
        raise AssertionError(f"{text} is not JSON")

    return [json.loads(line, parse_constant=refuse) for line in (folder / LOG).read_text(encoding="utf-8").splitlines()]


def test_events_and_messages_are_json_lines(tmp_path: Path) -> None:
    trial = Trial(4, Genotype({}), "failed", metrics={"ndcg@10": float("nan")}, measured={"seconds": 1.5}, error="boom")
    with log_to(tmp_path, Kernel(), level=logging.INFO) as log:
        told = Logged(Silent(), log)
        told.stage("search", "searching")
        logging.getLogger("autorec_kernel.data").info("read %d rows", 3)
        told.trial(trial, number=4, total=None, best=None, share=0.123456)
        told.note("a “remark”")
    stage, message, ended, note = read(tmp_path)
    assert (stage["event"], stage["stage"], stage["level"]) == ("stage", "search", "info")
    assert (message["logger"], message["message"]) == ("autorec_kernel.data", "read 3 rows")
    assert (ended["event"], ended["trial"], ended["status"], ended["error"]) == ("trial", 4, "failed", "boom")
    assert (ended["metrics"], ended["measured"], ended["share"]) == ({"ndcg@10": None}, {"seconds": 1.5}, 0.1235)
    assert (note["event"], note["message"]) == ("note", "a “remark”")
    assert all(line["time"].endswith("+00:00") for line in read(tmp_path))


def test_events_are_written_whatever_level_the_host_has_chosen(tmp_path: Path) -> None:
    with log_to(tmp_path, Kernel()) as log:
        Logged(Silent(), log).note("kept")
        logging.getLogger("autorec_kernel.data").info("not wanted")
        logging.getLogger("autorec_kernel.data").warning("wanted")
    assert [line["message"] for line in read(tmp_path)] == ["kept", "wanted"]


def test_an_exception_is_kept_with_its_traceback(tmp_path: Path) -> None:
    with log_to(tmp_path, Kernel()):
        try:
            raise ValueError("bad")
        except ValueError:
            logging.getLogger("autorec_kernel.x").exception("it failed")
    assert "ValueError: bad" in read(tmp_path)[0]["error"]


def test_loggers_of_plugins_are_heard(tmp_path: Path) -> None:
    plugin = SimpleNamespace(__name__="house_plugin.declaration")
    with log_to(tmp_path, Kernel({"house": plugin})):
        logging.getLogger("house_plugin.part").warning("from a plugin")
    assert not logging.getLogger("house_plugin").handlers
    assert [line["logger"] for line in read(tmp_path)] == ["house_plugin.part"]


def test_a_second_session_adds_to_the_log(tmp_path: Path) -> None:
    for text in ("one", "two"):
        with log_to(tmp_path, Kernel()) as log:
            Logged(Silent(), log).note(text)
    assert [line["message"] for line in read(tmp_path)] == ["one", "two"]


def test_nothing_is_written_before_the_first_event(tmp_path: Path) -> None:
    with log_to(tmp_path / "not there", Kernel()):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_log_that_cannot_be_written_does_not_stop_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with log_to(tmp_path / "not there", Kernel()) as log:
        told = Logged(Silent(), log)
        told.note("one")
        told.note("two")
    assert capsys.readouterr().err == ""


def test_a_handler_that_a_library_puts_at_the_root_echoes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, heard = logging.getLogger(), []
    handler = logging.Handler()
    handler.emit = heard.append  # type: ignore[method-assign]
    monkeypatch.setattr(root, "handlers", [])
    with log_to(tmp_path, Kernel(), level=logging.INFO):
        root.addHandler(handler)
        logging.getLogger("autorec_kernel.stages").info("quiet")
    assert heard == [] and read(tmp_path)[0]["message"] == "quiet"


def test_a_host_that_listens_at_the_root_still_hears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, heard = logging.getLogger(), []
    handler = logging.Handler()
    handler.emit = heard.append  # type: ignore[method-assign]
    monkeypatch.setattr(root, "handlers", [handler])
    with log_to(tmp_path, Kernel(), level=logging.INFO):
        logging.getLogger("autorec_kernel.stages").info("told")
    assert [record.getMessage() for record in heard] == ["told"]
