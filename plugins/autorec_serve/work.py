"""From the body of a request to the body of its answer: what the model thread does."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

from autorec_kernel.serving.requests import read_requests
from autorec_serve.asked import Predict, Recommend, Score, read
from autorec_serve.columns import arrays
from autorec_serve.strict_json import parse

if TYPE_CHECKING:
    from autorec_kernel.serving.answer import Answer
    from autorec_serve.loaded import Loaded
    from autorec_serve.metrics import Metrics

__all__ = ["Job", "Work", "predict", "recommend", "score"]


@dataclass(frozen=True, slots=True)
class Job:
    """One request on its way through the model thread.

    Args:
        loaded: The bundle that answers it, whatever is loaded meanwhile.
        body: As it came.
        depth: Deepest nesting of its JSON.
        deadline: Monotonic seconds from which nobody waits for the answer any more.
        metrics: Where what happens is counted.
    """

    loaded: Loaded
    body: bytes
    depth: int
    deadline: float
    metrics: Metrics


Work = Callable[[Job], bytes]


def recommend(job: Job) -> bytes:
    """Answer `/v1/recommend`: exactly what `Recommender.recommend` returns.

    Raises:
        Refused: The body is refused.
        UsageError: The bundle has no catalogue.
        TimeoutError: The deadline passed between two blocks of users.
    """
    asked = read(Recommend, parse(job.body, job.depth))
    nobody = asked.users is None and asked.histories is None
    recommender = job.loaded.recommender
    recommender.need_catalogue()
    answers: list[Answer] = []
    with job.metrics.model_time():
        requests = read_requests(recommender.state, [None] if nobody else asked.users, asked.histories)
        step = 1 if recommender.role == "ranker" else len(requests)  # a ranker reads the whole catalogue for each user, one by one
        for start in range(0, len(requests), step):
            part = requests[start : start + step]
            for answer in recommender.stream(part, asked.k, exclude_seen=asked.exclude_seen, exclude=asked.exclude):
                answers.append(answer)
                if time.monotonic() > job.deadline:
                    raise TimeoutError
    for answer in answers:
        job.metrics.count_answer(answer.answered_by, answer.scores[:1])
    job.metrics.count_ids(
        "user", sum(one.user is not None for one in answers), sum(one.user is not None and not one.known for one in answers)
    )
    job.metrics.count_ids("item", sum(map(len, filter(None, asked.histories or ()))), sum(one.unknown_items for one in answers))
    return _json({"bundle": job.loaded.digest, "answers": [answer.to_json() for answer in answers]})


def score(job: Job) -> bytes:
    """Answer `/v1/score`: exactly what `Recommender.score` returns, and how it was answered.

    Raises:
        Refused: The body is refused.
        UsageError: The bundle has no catalogue.
    """
    asked = read(Score, parse(job.body, job.depth))
    recommender = job.loaded.recommender
    state = recommender.state
    with job.metrics.model_time():
        request = read_requests(state, [asked.user], [asked.history])[0]
        values, way = recommender.scored(request, asked.items)
        known_items = (state.items.row_of(asked.items) > 0).tolist()
    known = 0 < request.row < state.users.size
    job.metrics.count_answer(way, values)
    job.metrics.count_ids("user", int(asked.user is not None), int(asked.user is not None and not known))
    job.metrics.count_ids("item", len(asked.items), known_items.count(False))
    told = {
        "bundle": job.loaded.digest,
        "user": asked.user,
        "scores": _numbers(values.tolist()),
        "answered_by": way,
        "known": known,
        "known_items": known_items,
        "unknown_items": request.unknown_items,
    }
    return _json(told)


def predict(job: Job) -> bytes:
    """Answer `/v1/predict`: exactly what `Recommender.predict` returns.

    Raises:
        Refused: The body is refused, or names columns that the bundle does not read.
    """
    asked = read(Predict, parse(job.body, job.depth))
    columns = arrays(asked.columns, job.loaded.columns)
    with job.metrics.model_time():
        found = job.loaded.recommender.predict(asked.users, asked.items, columns)
    known_users, known_items = found.known_users.tolist(), found.known_items.tolist()
    job.metrics.count_answer("model", found.values)
    job.metrics.count_ids("user", *_unknown(asked.users, known_users))
    job.metrics.count_ids("item", *_unknown(asked.items, known_items))
    told = {
        "bundle": job.loaded.digest,
        "predictions": _numbers(found.values.tolist()),
        "tasks": {name: _numbers(values.tolist()) for name, values in found.tasks.items()},
        "known_users": known_users,
        "known_items": known_items,
    }
    return _json(told)


def _unknown(ids: Sequence[str | None] | None, known: Sequence[bool]) -> tuple[int, int]:
    """Return how many ids were given, and how many of them are unknown."""
    given = [there for one, there in zip(ids or (), known, strict=False) if one is not None]
    return len(given), given.count(False)


def _numbers(values: Sequence[float]) -> list[float | None]:
    return [value if isfinite(value) else None for value in values]


def _json(told: dict[str, Any]) -> bytes:
    return json.dumps(told, allow_nan=False, separators=(",", ":")).encode("ascii")
