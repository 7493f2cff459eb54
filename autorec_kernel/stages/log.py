"""`log.jsonl`: what happened in a run, one JSON object a line. The application attaches it; the library only writes to its loggers."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autorec_kernel.stages.result import clean
from autorec_kernel.stages.workplace import Reporter

if TYPE_CHECKING:
    from autorec_kernel.kernel import Kernel
    from autorec_kernel.records.trial import Trial

__all__ = ["LOG", "LogFile", "Logged", "log_to"]

LOG = "log.jsonl"
_log = logging.getLogger(__name__)


class JsonLines(logging.Formatter):
    """One JSON object a record: time (UTC), level, logger, message, and the facts of an event."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "event", {}),
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class LogFile(logging.FileHandler):
    """The log of a run: made with its first line. A log that cannot be written is given up; the run goes on."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, mode="a", encoding="utf-8", delay=True, errors="backslashreplace")
        self.setFormatter(JsonLines())
        self._given_up = False

    def emit(self, record: logging.LogRecord) -> None:
        if self._given_up:
            return
        try:
            super().emit(record)
        except OSError:  # it cannot be opened, or not yet: the run folder is made after the plugins were looked at
            return

    def handleError(self, record: logging.LogRecord) -> None:
        self._given_up = True


@contextmanager
def log_to(folder: Path, kernel: Kernel, *others: logging.Handler, level: int = logging.NOTSET) -> Iterator[LogFile]:
    """Write what the kernel and its plugins log to `folder / "log.jsonl"`; loggers are left as they were found.

    Args:
        folder: The run folder; it is not made here.
        others: Further handlers.
        level: Set for the time being; NOTSET = what the host has chosen.
    """
    file = LogFile(folder / LOG)
    handlers = (file, *others)
    loggers = [logging.getLogger(name) for name in _packages(kernel)]
    found = [(logger.level, logger.propagate) for logger in loggers]
    own = not logging.getLogger().handlers  # nobody listens at the root: a library that puts a handler there must not echo the log
    for logger in loggers:
        logger.setLevel(level or logger.level)
        logger.propagate = logger.propagate and not own
        for handler in handlers:
            logger.addHandler(handler)
    try:
        yield file
    finally:
        for logger, (before, propagates) in zip(loggers, found, strict=True):
            logger.setLevel(before)
            logger.propagate = propagates
            for handler in handlers:
                logger.removeHandler(handler)
        file.close()


def _packages(kernel: Kernel) -> Iterable[str]:
    """Return the names of the loggers: the kernel's, and the top-level package of every plugin."""
    plugins = {row.module.partition(".")[0] for row in kernel.plugins() if row.status == "ok"}
    return sorted({"autorec_kernel", *filter(None, plugins)})


class Logged:
    """A reporter that also writes every event to the log of the run, whatever level the host has chosen.

    Args:
        reporter: Who else is told.
        log: Where the events go.
    """

    def __init__(self, reporter: Reporter, log: LogFile) -> None:
        self._reporter = reporter
        self._file = log

    def stage(self, name: str, text: str) -> None:
        """Log and pass on."""
        self._write(f"stage {name}: {text}", {"event": "stage", "stage": name})
        self._reporter.stage(name, text)

    def note(self, text: str) -> None:
        """Log and pass on."""
        self._write(text, {"event": "note"})
        self._reporter.note(text)

    def trial(self, trial: Trial, *, number: int, total: int | None, best: Trial | None, share: float) -> None:
        """Log and pass on."""
        event: dict[str, Any] = {"event": "trial", "trial": number, "rung": trial.rung, "status": trial.status}
        event |= {"metrics": clean(trial.metrics), "measured": clean(trial.measured), "best_trial": best.number if best else None}
        event |= {"share": round(share, 4), **({"error": trial.error} if trial.error else {})}
        self._write(f"trial {number} rung {trial.rung}: {trial.status}", event)
        self._reporter.trial(trial, number=number, total=total, best=best, share=share)

    def _write(self, message: str, event: dict[str, Any]) -> None:
        record = _log.makeRecord(_log.name, logging.INFO, __file__, 0, message, (), None, extra={"event": event})
        (_log if _log.isEnabledFor(logging.INFO) else self._file).handle(record)
