from __future__ import annotations

import json
from typing import Any

import pytest

pytest.importorskip("fastapi")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serve_kit import ask

ROUTES = ("/v1/recommend", "/v1/score", "/v1/predict")
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ids = st.one_of(st.none(), st.text(max_size=5), st.integers(-(2**70), 2**70), st.sampled_from(["u1", "i01", "i02"]))
anything = st.recursive(
    st.one_of(ids, st.booleans(), st.floats()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
)
columns = st.dictionaries(st.sampled_from(["price", "when", "colour"]), st.lists(anything, min_size=1, max_size=2), max_size=2)
bodies = st.fixed_dictionaries(
    {},
    optional={
        "users": st.one_of(st.lists(ids, min_size=1, max_size=2), anything),
        "user": ids,
        "items": st.one_of(st.lists(ids, min_size=1, max_size=2), anything),
        "histories": st.one_of(st.lists(st.lists(ids, max_size=3), min_size=1, max_size=2), anything),
        "history": st.lists(ids, max_size=3),
        "columns": st.one_of(columns, anything),
        "k": st.one_of(st.integers(-1, 1100), anything),
        "exclude": st.lists(ids, max_size=2),
        "exclude_seen": st.booleans(),
    },
)


def answered(served: Any, path: str, body: bytes) -> None:
    reply = ask(served, "POST", path, body)
    assert reply.status in (200, 400, 422), reply
    json.loads(reply.body, parse_constant=pytest.fail)


@pytest.mark.parametrize("name", ["first", "ranker"])
@QUICK
@given(path=st.sampled_from(ROUTES), body=bodies)
def test_whatever_is_asked_is_answered_or_refused(served_apps: Any, name: str, path: str, body: Any) -> None:
    answered(served_apps[name], path, json.dumps(body).encode())


@QUICK
@given(
    path=st.sampled_from(ROUTES),
    body=st.one_of(st.binary(max_size=50), st.text(alphabet='[]{}",:\\\\u0e1-.nNaI ', max_size=30).map(str.encode)),
)
def test_whatever_bytes_come_are_answered_or_refused(served_apps: Any, path: str, body: bytes) -> None:
    answered(served_apps["first"], path, body)
