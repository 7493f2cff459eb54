"""What a server counts, for Prometheus: no ids and no paths of callers become labels."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

__all__ = ["MEDIA_TYPE", "Metrics", "Quantiles"]

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_BYTES = (256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576)
_KEPT = 4096
_SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)


class Quantiles:
    """Quantiles of the newest 4,096 scores that the model gave: the best one of each list, every one of `/v1/score` and `/v1/predict`."""

    def __init__(self) -> None:
        self._values = np.zeros(_KEPT, dtype=np.float64)
        self._count = 0

    def add(self, values: Sequence[float] | np.ndarray) -> None:
        """Take in scores; what is not finite is left out."""
        fresh = np.asarray(values, dtype=np.float64)
        fresh = fresh[np.isfinite(fresh)][-_KEPT:]
        self._values[(self._count + np.arange(len(fresh))) % _KEPT] = fresh
        self._count += len(fresh)

    def collect(self) -> Iterable[Metric]:
        """Return one gauge a quantile; none before the first score."""
        family = GaugeMetricFamily("autorec_score", "Quantiles of the newest scores of the model.", labels=["quantile"])
        kept = self._values[: min(self._count, _KEPT)].copy()
        for share, value in zip(_SHARES, np.quantile(kept, _SHARES).tolist() if len(kept) else (), strict=False):
            family.add_metric([str(share)], value)
        yield family


class Metrics:
    """The counters of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter("autorec_requests", "Requests by route and status.", ["route", "status"], registry=registry)
        self._seconds = Histogram("autorec_request_seconds", "Time to answer.", ["route"], buckets=_SECONDS, registry=registry)
        self._bytes = Histogram("autorec_request_body_bytes", "Size of bodies.", buckets=_BYTES, registry=registry)
        self.in_flight = Gauge("autorec_in_flight", "Requests for the model under way.", registry=registry)
        self._model = Histogram("autorec_model_seconds", "Time in the model thread.", buckets=_SECONDS, registry=registry)
        self._ids = Counter("autorec_ids", "Ids asked for, by kind.", ["kind"], registry=registry)
        self._unknown = Counter("autorec_unknown_ids", "Ids that training never saw, by kind.", ["kind"], registry=registry)
        self._answers = Counter(
            "autorec_answers", "Users answered, by way; all but model are fallbacks.", ["answered_by"], registry=registry
        )
        self._reloads = Counter("autorec_reloads", "Reloads by result.", ["result"], registry=registry)
        self._fresh = Gauge("autorec_reload_ok", "1 unless the last reload was refused.", registry=registry)
        self._bundle = Info("autorec_bundle", "The bundle that answers.", registry=registry)
        self.scores = Quantiles()
        registry.register(self.scores)
        self._fresh.set(1)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)

    def request(self, route: str, status: int, seconds: float, size: int) -> None:
        """Count an answered request; routes that do not exist are one label."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)
        if size:
            self._bytes.observe(size)

    @contextmanager
    def model_time(self) -> Iterator[None]:
        """Count the time that the model takes, also where it fails."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._model.observe(time.perf_counter() - began)

    def count_ids(self, kind: str, asked: int, unknown: int) -> None:
        """Count ids of a kind, `user` or `item`."""
        self._ids.labels(kind).inc(asked)
        self._unknown.labels(kind).inc(unknown)

    def count_answer(self, way: str, scores: Sequence[float] | np.ndarray) -> None:
        """Count who was answered how; scores of the model go to the quantiles."""
        self._answers.labels(way).inc()
        if way == "model":
            self.scores.add(scores)

    def bundle(self, digest: str, task: str) -> None:
        """Name the bundle that answers from now on."""
        self._bundle.info({"sha256": digest, "task": task})

    def reloaded(self, *, ok: bool) -> None:
        """Count a reload."""
        self._reloads.labels("ok" if ok else "refused").inc()
        self._fresh.set(int(ok))
