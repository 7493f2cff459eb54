from __future__ import annotations

import io
import logging
import sys
from typing import Any

import pytest

from autorec_kernel.cli.progress import Bar, Clock, Lines, Warnings, plain_text, reporting, span
from autorec_kernel.records.trial import Trial
from autorec_kernel.space import Genotype


class Watch:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


def trial(number: int, value: float | None = None, rung: int = 0, error: str = "") -> Trial:
    genotype = Genotype({"pipeline": "retriever", "retriever": "zoo/mf"})
    if value is None:
        return Trial(number, genotype, "failed", rung=rung, error=error)
    return Trial(number, genotype, "complete", (value,), {"ndcg@10": value}, rung=rung)


def lines(known: Any = (), seconds: float | None = None) -> tuple[Lines, io.StringIO, Watch]:
    watch, stream = Watch(), io.StringIO()
    return Lines(stream, "ndcg@10", Clock(seconds, now=watch), known), stream, watch


def test_a_time_budget_counts_down_with_earlier_sessions() -> None:
    watch = Watch()
    clock = Clock(60.0, spent=10.0, now=watch)
    watch.time += 20.0
    assert clock.left() == 30.0
    watch.time += 100.0
    assert clock.left() == 0.0


def test_time_left_under_a_number_of_trials_follows_the_part_that_is_done() -> None:
    watch = Watch()
    clock = Clock(None, now=watch)
    clock.enter("search")
    assert clock.left() is None
    clock.advance(0.5)
    watch.time += 30.0
    assert clock.left() == pytest.approx(30.0 * (1 - clock.done) / clock.done)
    assert 0.05 < clock.done < 0.7


def test_progress_never_goes_back() -> None:
    clock = Clock(None)
    clock.enter("deploy")
    done = clock.done
    clock.enter("evaluate")
    clock.advance(0.1)
    assert clock.done == done


def test_an_event_is_one_plain_line() -> None:
    reporter, stream, watch = lines()
    reporter.stage("search", "searching")
    watch.time += 65.0
    reporter.trial(trial(3, 0.25), number=3, total=10, best=trial(1, 0.5), share=0.4)
    reporter.note("two\nlines \x1b[31mred")
    first, second, third = stream.getvalue().splitlines()
    assert first.split() == ["0:00", "search:", "searching"]
    assert second.strip().startswith("1:05  trial 3 zoo/mf ndcg@10 0.2500; best ndcg@10 0.5000 (trial 1 zoo/mf); about")
    assert "\x1b" not in third
    assert third.endswith("red")


def test_a_failed_trial_says_why() -> None:
    reporter, stream, _ = lines()
    reporter.trial(trial(0, error="Traceback\nValueError: bad\n"), number=0, total=None, best=None, share=0.0)
    assert "trial 0 zoo/mf failed: ValueError: bad" in stream.getvalue()


def test_what_an_earlier_session_finished_is_not_told_again() -> None:
    reporter, stream, _ = lines(known={(0, 0)})
    reporter.trial(trial(0, 0.1), number=0, total=2, best=None, share=0.5)
    reporter.trial(trial(0, 0.1, rung=1), number=0, total=2, best=None, share=0.5)
    assert len(stream.getvalue().splitlines()) == 1


def test_a_reader_that_went_away_does_not_stop_the_run() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    reporter = Lines(Gone(), "ndcg@10", Clock(None))
    reporter.note("one")
    reporter.note("two")


def test_piped_output_has_neither_bar_nor_colour(capsys: pytest.CaptureFixture[str]) -> None:
    with reporting("ndcg@10", None) as reporter:
        reporter.stage("data", "reading")
    told = capsys.readouterr()
    assert (type(reporter), told.out) == (Lines, "")
    assert "\x1b" not in told.err
    assert "data: reading" in told.err


def test_a_terminal_gets_a_bar_with_stage_trials_and_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.delenv("NO_COLOR", raising=False)
    with reporting("ndcg@10", 60.0) as reporter:
        assert isinstance(reporter, Bar)
        reporter.stage("search", "searching")
        reporter.trial(trial(4, 0.25), number=4, total=9, best=trial(4, 0.25), share=0.5)
        reporter.trial(trial(5, error="boom"), number=5, total=9, best=trial(4, 0.25), share=0.5)
        reporter._progress.refresh()
    shown = stream.getvalue()
    for text in ("searching", "2/9 trials", "best ndcg@10 0.2500 zoo/mf", "note: trial 5 zoo/mf failed: boom", "left"):
        assert text in shown


def test_warnings_become_remarks() -> None:
    reporter, stream, _ = lines()
    logger = logging.getLogger("autorec_kernel.test_warnings")
    handler = Warnings(reporter)
    logger.addHandler(handler)
    try:
        logger.warning("a line was cut off")
        logger.info("silence")
    finally:
        logger.removeHandler(handler)
    assert [line.split("  ")[-1] for line in stream.getvalue().splitlines()] == ["note: a line was cut off"]


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (65.4, "1:05"), (3665, "1:01:05")])
def test_a_span_reads_like_a_clock(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert plain_text("a\x1b[2Jb\n") == "a�[2Jb�"
