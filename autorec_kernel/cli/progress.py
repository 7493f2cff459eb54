"""How a run goes, on stderr: a bar with the best so far and the time left on a terminal, one plain line an event when piped."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from autorec_kernel.stages.workplace import Reporter

if TYPE_CHECKING:
    from rich.progress import Progress

    from autorec_kernel.records.trial import Trial

__all__ = ["Bar", "Clock", "Lines", "Warnings", "plain_text", "reporting", "span"]

_STAGES = {"data": (0.0, 0.02), "features": (0.02, 0.05), "search": (0.05, 0.7), "evaluate": (0.7, 0.8), "deploy": (0.8, 1.0)}


class Clock:
    """How far a run is and how long it will take.

    Args:
        seconds: The time budget; None = a number of trials.
        spent: Seconds that earlier sessions used.
        now: Monotonic seconds.
    """

    def __init__(self, seconds: float | None, spent: float = 0.0, now: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._spent, self._now = seconds, spent, now
        self._started = now()
        self.done = 0.0

    def enter(self, stage: str) -> None:
        """Take note of a stage; the part that is done never shrinks (stages come in turns)."""
        self.done = max(self.done, _STAGES.get(stage, (0.0, 0.0))[0])

    def advance(self, share: float) -> None:
        """Take note of the share of the search that is done."""
        low, high = _STAGES["search"]
        self.done = max(self.done, low + (high - low) * min(1.0, max(0.0, share)))

    def elapsed(self) -> float:
        """Return the seconds of this session."""
        return self._now() - self._started

    def left(self) -> float | None:
        """Return the seconds left: of the budget, else by the part that is done; None when it is too early to tell."""
        if self._seconds is not None:
            return max(0.0, self._seconds - self._spent - self.elapsed())
        if self.done <= _STAGES["search"][0]:
            return None
        return self.elapsed() * (1.0 - self.done) / self.done


class _Told:
    """What both reporters say of a trial.

    Args:
        known: (trial, rung) that an earlier session finished: counted, but not told again.
    """

    def __init__(self, metric: str, clock: Clock, known: Collection[tuple[int, int]] = ()) -> None:
        self._metric, self._clock = metric, clock
        self._known = set(known)
        self._trials: set[int] = set()

    def _count(self, trial: Trial, share: float) -> bool:
        """Count a trial; return whether it is news."""
        self._trials.add(trial.number)
        self._clock.advance(share)
        return (trial.number, trial.rung) not in self._known

    def _value(self, trial: Trial | None) -> str:
        value = trial.metrics.get(self._metric) if trial is not None else None
        return "" if value is None else f"{self._metric} {value:.4f}"

    def _outcome(self, trial: Trial) -> str:
        if trial.status == "complete":
            return self._value(trial)
        reason = trial.error.strip().splitlines()[-1][:120] if trial.error.strip() else ""
        return f"{trial.status}: {reason}" if reason else trial.status


class Lines(_Told):
    """One plain line an event: for pipes, files and logs of other programs."""

    def __init__(self, stream: TextIO, metric: str, clock: Clock, known: Collection[tuple[int, int]] = ()) -> None:
        super().__init__(metric, clock, known)
        self._stream: TextIO | None = stream

    def stage(self, name: str, text: str) -> None:
        """Tell a stage."""
        self._clock.enter(name)
        self._say(f"{name}: {text}")

    def note(self, text: str) -> None:
        """Tell a remark."""
        self._say(f"note: {text}")

    def trial(self, trial: Trial, *, number: int, total: int | None, best: Trial | None, share: float) -> None:
        """Tell a trial that is news."""
        if not self._count(trial, share):
            return
        parts = [f"trial {number} {_name(trial)} {self._outcome(trial)}".rstrip()]
        parts += [f"best {self._value(best)} (trial {best.number} {_name(best)})"] if best is not None else []
        left = self._clock.left()
        parts += [f"about {span(left)} left"] if left is not None else []
        self._say("; ".join(parts))

    def _say(self, text: str) -> None:
        if self._stream is None:
            return
        try:
            self._stream.write(f"{span(self._clock.elapsed()):>6}  {plain_text(text)}\n")
            self._stream.flush()
        except (OSError, ValueError):  # whoever read this is gone; the run goes on
            self._stream = None


class Bar(_Told):
    """A bar on a terminal; remarks stand above it."""

    def __init__(self, progress: Progress, metric: str, clock: Clock, known: Collection[tuple[int, int]] = ()) -> None:
        super().__init__(metric, clock, known)
        self._progress = progress
        self._task = progress.add_task("starting", total=1.0, trials="", best="")

    def stage(self, name: str, text: str) -> None:
        """Show a stage."""
        self._clock.enter(name)
        self._progress.update(self._task, description=plain_text(text), completed=self._clock.done)

    def note(self, text: str) -> None:
        """Print a remark above the bar."""
        self._progress.console.print(plain_text(f"note: {text}"), markup=False, highlight=False)

    def trial(self, trial: Trial, *, number: int, total: int | None, best: Trial | None, share: float) -> None:
        """Show how many trials there were and the best."""
        news = self._count(trial, share)
        count = f"{len(self._trials)}/{total} trials" if total else f"{len(self._trials)} trials"
        shown = f"best {self._value(best)} {_name(best)}" if best is not None else ""
        self._progress.update(self._task, completed=self._clock.done, trials=count, best=shown)
        if news and trial.status not in ("complete", "stopped", "infeasible"):
            self.note(f"trial {number} {_name(trial)} {self._outcome(trial)}")


class Warnings(logging.Handler):
    """Shows warnings of the kernel and of plugins as remarks.

    Args:
        reporter: Who shows them.
    """

    def __init__(self, reporter: Reporter) -> None:
        super().__init__(logging.WARNING)
        self._reporter = reporter

    def emit(self, record: logging.LogRecord) -> None:
        self._reporter.note(record.getMessage())


@contextmanager
def reporting(metric: str, seconds: float | None, spent: float = 0.0, known: Collection[tuple[int, int]] = ()) -> Iterator[Reporter]:
    """Open the reporter that fits stderr.

    Args:
        metric: The metric of the run.
        seconds: Its time budget, if any; `spent` of it went to earlier sessions.
        known: (trial, rung) that earlier sessions finished.
    """
    clock = Clock(seconds, spent)
    if not sys.stderr.isatty():
        yield Lines(sys.stderr, metric, clock, known)  # the stream of now: libraries redirect sys.stderr for a while
        return
    with _bar(clock) as progress:
        yield Bar(progress, metric, clock, known)


def _bar(clock: Clock) -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, TextColumn
    from rich.text import Text

    class Times(ProgressColumn):
        """Elapsed and left."""

        max_refresh = 0.5

        def render(self, task: Any) -> Text:
            left = clock.left()
            return Text(span(clock.elapsed()) + ("" if left is None else f", about {span(left)} left"), style="cyan")

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[trials]}", markup=False),
        TextColumn("{task.fields[best]}", markup=False),
        Times(),
    )
    return Progress(*columns, console=Console(file=sys.stderr), transient=True, refresh_per_second=4)


def _name(trial: Trial) -> str:
    """Return the blueprint of a trial."""
    return str(trial.details.get("blueprint") or trial.genotype.get(str(trial.genotype.get("pipeline")), ""))


def plain_text(text: str) -> str:
    """Return one line without control characters, so that a value of the table cannot steer the terminal."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def span(seconds: float) -> str:
    """Return 1:05 for 65 seconds, 1:01:05 for an hour more."""
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"
