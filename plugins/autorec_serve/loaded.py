"""The bundle that answers: verified elsewhere, loaded and warmed here, and swapped whole for a newer one."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autorec_kernel.errors import AutoRecError
from autorec_kernel.records.schema import Column, Schema
from autorec_kernel.serving.drift import context_columns
from autorec_kernel.serving.recommender import Recommender
from autorec_serve.check import verified_digest
from autorec_serve.metrics import Metrics
from autorec_serve.problem import Refused, of_error, shown
from autorec_serve.settings import MAX_ROWS, Limits
from autorec_serve.work import Job, Work

if TYPE_CHECKING:
    from autorec_kernel.kernel import Kernel

__all__ = ["Loaded", "Served", "load"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A bundle that answers.

    Args:
        digest: Its content digest.
        columns: The event columns that `/v1/predict` reads beside the ids.
    """

    recommender: Recommender
    digest: str
    columns: Mapping[str, Column]

    def facts(self, limits: Limits) -> dict[str, Any]:
        """Return what `/schema` tells."""
        one = self.recommender
        return {
            "bundle": self.digest,
            "task": one.task,
            "catalogue": one.items - 1 if one.state.schema.item else 0,
            "labels": list(one.graph.outputs) if one.role == "ranker" else [],
            "columns": [{"name": name, "kind": column.kind} for name, column in self.columns.items()],
            "limits": {"body_bytes": limits.body_bytes, "rows": MAX_ROWS},
        }


@dataclass(slots=True)
class Served:
    """What is served from a path: the bundle of now and the one before, the thread that asks it, and how the last reload ended.

    Args:
        path: Read again at every reload.
        threads: Threads of one request.
        required: Asked at every reload for what `open_bundle` must require; it refuses whom nobody trusted signed.
        kernel: Where the index of a bundle with a large catalogue is looked for; None = every item is scored.
    """

    path: Path
    metrics: Metrics
    limits: Limits
    threads: int = 1
    required: Callable[[], str] = str
    kernel: Kernel | None = None
    current: Loaded = field(init=False)
    previous: Loaded | None = field(init=False, default=None)
    last_reload: dict[str, Any] | None = field(init=False, default=None)
    _pool: ThreadPoolExecutor = field(init=False)
    _again: bool = field(init=False, default=False)
    _busy: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self.current = load(self.path, self.threads, self.required(), self.kernel)
        self._pool = ThreadPoolExecutor(1, "model")
        self.metrics.bundle(self.current.digest, self.current.recommender.task)

    async def answer(self, work: Work, body: bytes) -> bytes:
        """Return the answer of the model thread.

        Raises:
            Refused: The request is refused, or there was no answer in time (503).
        """
        job = Job(self.current, body, self.limits.depth, time.monotonic() + self.limits.model_seconds, self.metrics)
        future = self._pool.submit(work, job)
        try:
            async with asyncio.timeout(self.limits.model_seconds):
                return await asyncio.wrap_future(future)  # cancelled by the time limit: it is not begun if it still waits
        except TimeoutError:
            raise Refused(503, "too-slow", "the model did not answer in time", headers={"Retry-After": "1"}) from None
        except AutoRecError as error:
            refused = of_error(error)
            if refused.status >= 500:
                _log.error("the bundle could not answer: %s", error)
            raise refused from None

    async def reload(self) -> None:
        """Read the path again, and serve what is there if it is a good bundle; a call while one is under way follows it."""
        self._again = True
        if self._busy:
            return
        self._busy = True
        try:
            while self._again:
                self._again = False
                self._note(*await asyncio.to_thread(self._load_again))
        finally:
            self._busy = False

    def back(self) -> None:
        """Serve the bundle before the last reload again, at once; a second call undoes it. Without one, what is served stays."""
        if self.previous is None:
            _log.error("not gone back, bundle %s goes on serving: there was none before it", self.current.digest)
            return
        self._swap(self.previous)
        _log.info("gone back: bundle %s, before %s", self.current.digest, self.previous.digest)

    def _swap(self, found: Loaded) -> None:
        self.previous, self.current = self.current, found
        self.metrics.bundle(found.digest, found.recommender.task)

    def close(self) -> None:
        """End the model thread; what waits for it is dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _load_again(self) -> tuple[Loaded | None, AutoRecError | None]:
        try:
            return load(self.path, self.threads, self.required(), self.kernel), None
        except AutoRecError as error:
            return None, error
        except Exception as error:  # whatever a bundle can do to its reader, the old one goes on serving
            _log.exception("reading the bundle again failed")
            return None, AutoRecError(f"reading the bundle failed: {type(error).__name__}")

    def _note(self, found: Loaded | None, error: AutoRecError | None) -> None:
        moment = datetime.now(UTC).isoformat(timespec="seconds")
        if found is not None:
            before = self.current.digest
            if found.digest != before:  # reading the same bundle again leaves the way back open
                self._swap(found)
            _log.info("reloaded: bundle %s, before %s", found.digest, before)
        elif error is not None:
            _log.error("not reloaded, bundle %s goes on serving: %s", self.current.digest, error)
        self.metrics.reloaded(ok=error is None)
        code, detail = (error.code, shown(error.message)) if error is not None else ("", "")
        self.last_reload = {"ok": error is None, "time": moment, "code": code, "detail": detail}


def load(path: Path, threads: int, require_digest: str, kernel: Kernel | None = None) -> Loaded:
    """Verify a bundle in a process of its own, load the very same one here, and ask it once, so that the first caller does not wait.

    Raises:
        BundleError: It is refused.
    """
    digest = verified_digest(path, require_digest, kernel=kernel)
    recommender = Recommender.load(path, threads=threads, require_digest=digest, create=kernel.create if kernel else None)
    _log.info("bundle %s, retrieval: %s", digest, recommender.retrieval)
    if recommender.state.schema.item:
        recommender.recommend([None], [[""]], k=1)
    schema = Schema.from_json(recommender.schema["columns"])
    read = set(context_columns(recommender.state, recommender.graph.inputs, schema))
    return Loaded(
        recommender, digest, {column.name: column for column in schema.columns if column.source == "events" and column.name in read}
    )
