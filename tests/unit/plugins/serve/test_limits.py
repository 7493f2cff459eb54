from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import Any

import pytest

pytest.importorskip("fastapi")
from serve_kit import HEADERS, Reply, ask, ask_async, serving

from autorec_serve import gate
from autorec_serve.app import guarded
from autorec_serve.settings import Access, Limits

TOKEN = "0123456789abcdef"
PLAIN = [("host", "localhost"), ("content-type", "application/json")]


def problem(reply: Reply, status: int, code: str) -> dict[str, Any]:
    """Return the problem of a refusal of the given kind."""
    assert (reply.status, reply.json()["code"]) == (status, code), reply
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["request_id"] == reply.headers["x-request-id"]
    assert set(reply.json()) == {"type", "title", "status", "code", "detail", "fields", "request_id"}
    found: dict[str, Any] = reply.json()
    return found


def post(served: Any, body: Any, **options: Any) -> Reply:
    return ask(served, "POST", "/v1/recommend", body, **options)


@pytest.mark.parametrize(
    "path", ["/", "/docs", "/redoc", "/v1", "/v1/recommend/", "/V1/recommend", "//healthz", "/../healthz", "/v1/recommend\x00"]
)
def test_a_route_that_is_not_listed_is_not_there(served_apps: Any, path: str) -> None:
    problem(ask(served_apps["first"], "GET", path), 404, "no-route")


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
def test_a_route_has_one_method(served_apps: Any, method: str) -> None:
    reply = ask(served_apps["first"], method, "/v1/recommend")
    problem(reply, 405, "wrong-method")
    assert reply.headers["allow"] == "POST"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "", "localhost.evil.example", "127.0.0.1.evil.example", "192.168.0.1", "[::2]"]
)
def test_a_host_that_is_not_this_server_is_refused(served_apps: Any, host: str) -> None:
    problem(ask(served_apps["first"], "GET", "/healthz", headers=[("host", host)]), 421, "wrong-host")


def test_a_request_without_host_is_refused(served_apps: Any) -> None:
    problem(ask(served_apps["first"], "GET", "/healthz", headers=[]), 421, "wrong-host")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1", "127.0.0.1:8000", "[::1]:8000"])
def test_loopback_names_are_this_server(served_apps: Any, host: str) -> None:
    assert ask(served_apps["first"], "GET", "/healthz", headers=[("host", host)]).status == 200


def test_beyond_loopback_addresses_and_given_names_are_this_server(served_apps: Any) -> None:
    access = Access(hosts=frozenset({"recs.example"}), addresses=True)
    for host, status in (
        ("10.1.2.3:80", 200),
        ("[fe80::1]", 200),
        ("recs.example", 200),
        ("evil.example", 421),
        ("10.1.2.3.evil.example", 421),
    ):
        assert ask(served_apps["first"], "GET", "/healthz", headers=[("host", host)], access=access).status == status


@pytest.mark.parametrize("name", ["host", "content-length", "content-type", "authorization", "origin"])
def test_a_header_that_decides_stands_once(served_apps: Any, name: str) -> None:
    problem(ask(served_apps["first"], "GET", "/healthz", headers=[("host", "localhost"), (name, "1"), (name, "1")]), 400, "repeated-header")


def test_pages_of_strangers_may_not_ask(served_apps: Any) -> None:
    for origin in ("https://evil.example", "null", "http://localhost:8000"):
        problem(post(served_apps["first"], {}, add=[("origin", origin)]), 403, "wrong-origin")


def test_pages_of_an_allowed_origin_may_ask(served_apps: Any) -> None:
    access, origin = Access(origins=frozenset({"https://shop.example"})), ("origin", "https://shop.example")
    assert post(served_apps["first"], {}, add=[origin], access=access).headers["access-control-allow-origin"] == origin[1]
    before = ask(served_apps["first"], "OPTIONS", "/v1/recommend", add=[origin], access=access)
    assert (before.status, before.headers["access-control-allow-methods"]) == (204, "POST")
    assert post(served_apps["first"], {}, add=[("origin", "https://shop.example.evil")], access=access).status == 403


@pytest.mark.parametrize(
    "given", [None, "", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer \xff"]
)
def test_a_wrong_token_is_refused(served_apps: Any, given: str | None) -> None:
    access = Access(token=TOKEN.encode())
    reply = post(served_apps["first"], {}, add=[] if given is None else [("authorization", given)], access=access)
    problem(reply, 401, "no-token")
    assert reply.headers["www-authenticate"] == "Bearer"


def test_the_token_opens_every_route_and_probes_need_none(served_apps: Any) -> None:
    access = Access(token=TOKEN.encode())
    assert post(served_apps["first"], {}, add=[("authorization", f"Bearer {TOKEN}")], access=access).status == 200
    statuses = {
        path: ask(served_apps["first"], "GET", path, access=access).status
        for path in ("/healthz", "/readyz", "/metrics", "/schema", "/openapi.json")
    }
    assert statuses == {"/healthz": 200, "/readyz": 200, "/metrics": 401, "/schema": 401, "/openapi.json": 401}


def test_the_token_is_in_no_log_and_no_repr(served_apps: Any, caplog: pytest.LogCaptureFixture) -> None:
    access = Access(token=TOKEN.encode())
    with caplog.at_level(logging.DEBUG):
        post(served_apps["first"], {}, add=[("authorization", f"Bearer {TOKEN}")], access=access)
    assert caplog.records
    assert TOKEN not in repr(access) + repr([vars(record) for record in caplog.records])


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/json; charset=latin-1"]
)
def test_only_json_is_read(served_apps: Any, kind: str) -> None:
    problem(
        post(served_apps["first"], None, headers=[("host", "localhost"), ("content-type", kind), ("content-length", "0")]), 415, "not-json"
    )


def test_a_compressed_body_is_refused(served_apps: Any) -> None:
    problem(post(served_apps["first"], {}, add=[("content-encoding", "gzip")]), 415, "encoded")


@pytest.mark.parametrize("more", [[], [("transfer-encoding", "chunked")], [("content-length", "-1")], [("content-length", "1e3")]])
def test_a_body_needs_a_length(served_apps: Any, more: list[tuple[str, str]]) -> None:
    problem(post(served_apps["first"], None, headers=[*PLAIN, *more]), 411, "no-length")


@pytest.mark.parametrize("length", [2**20 + 1, 10**30])
def test_a_body_that_says_it_is_too_large_is_not_read(served_apps: Any, length: int) -> None:
    reply = post(served_apps["first"], None, headers=[*PLAIN, ("content-length", str(length))], chunks=[])
    problem(reply, 413, "body-too-large")
    assert reply.headers["connection"] == "close", "nobody waits for the rest of it"


def test_a_body_is_counted_while_it_comes(served_apps: Any) -> None:
    reply = post(served_apps["first"], None, headers=[*PLAIN, ("content-length", "10")], chunks=[b" " * 9] * 1000)
    assert "longer than its Content-Length" in problem(reply, 413, "body-too-large")["detail"]


def test_a_refusal_of_a_whole_request_keeps_the_connection(served_apps: Any) -> None:
    assert "connection" not in post(served_apps["first"], {"k": 0}).headers
    assert "connection" not in ask(served_apps["first"], "GET", "/nowhere").headers


def test_a_body_of_the_largest_size_is_read(served_apps: Any) -> None:
    assert post(served_apps["first"], b"{}" + b" " * (2**20 - 2)).status == 200


def test_a_body_that_ends_early_is_refused(served_apps: Any) -> None:
    problem(post(served_apps["first"], None, headers=[*PLAIN, ("content-length", "10")], chunks=[]), 400, "body-too-short")


def test_a_slow_body_is_cut_off(served_bundles: Any) -> None:
    served, began = serving(served_bundles["first"], body_seconds=0.1), time.monotonic()
    reply = post(served, None, headers=[*PLAIN, ("content-length", "100")], chunks=[b" "] * 100, pause=0.03)
    problem(reply, 408, "body-too-slow")
    assert reply.headers["connection"] == "close"
    assert time.monotonic() - began < 1
    served.close()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "not-json"),
        (b"{", "not-json"),
        (b"{'k': 1}", "not-json"),
        (b'{"k": 1} {}', "not-json"),
        (b"\xff\xfe{}", "not-utf-8"),
        (b'{"k": NaN}', "not-finite"),
        (b'{"k": Infinity}', "not-finite"),
        (b'{"k": -Infinity}', "not-finite"),
        (b'{"k": 1e999}', "not-finite"),
        (b'{"k": 1' + b"0" * 5000 + b"}", "not-json"),
        (b'{"k": 1, "k": 2}', "duplicate-key"),
        (b'{"users": [{"a": 1, "a": 1}]}', "duplicate-key"),
        (b'{"users": ' + b"[" * 16 + b"]" * 16 + b"}", "too-deep"),
        (b"[" * 500_000, "too-deep"),
        (b'{"a":' * 100_000, "too-deep"),
    ],
)
def test_json_is_read_strictly(served_apps: Any, body: bytes, code: str) -> None:
    problem(post(served_apps["first"], body), 400, code)


def test_brackets_in_strings_are_no_depth(served_apps: Any) -> None:
    assert post(served_apps["first"], {"users": ['[{"\\' * 50, "]]]"]}).status == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], "body"),
        ({"k": "10"}, "k"),
        ({"k": 10.0}, "k"),
        ({"k": True}, "k"),
        ({"k": 0}, "k"),
        ({"k": 1001}, "k"),
        ({"users": "u1"}, "users"),
        ({"users": []}, "users"),
        ({"users": [1.5]}, "users.0"),
        ({"users": [True]}, "users.0"),
        ({"users": ["x" * 1025]}, "users.0"),
        ({"users": ["u1"] * 1001}, "users"),
        ({"histories": [["i01"] * 1001]}, "histories.0"),
        ({"histories": [["i01"]] * 1001}, "histories"),
        ({"histories": [[None]]}, "histories.0.0"),
        ({"exclude": ["i01"] * 1001}, "exclude"),
        ({"exclude_seen": 1}, "exclude_seen"),
        ({"users": ["u1"], "histories": [None, None]}, "body"),
        ({"user": "u1"}, "user"),
    ],
)
def test_what_is_asked_is_typed_strictly(served_apps: Any, body: Any, field: str) -> None:
    assert [one["field"] for one in problem(post(served_apps["first"], body), 422, "invalid-request")["fields"]] == [field]


def test_a_field_that_there_is_not_is_told_with_those_that_there_are(served_apps: dict[str, Any]) -> None:
    (told,) = problem(post(served_apps["first"], {"user": "u1"}), 422, "invalid-request")["fields"]
    assert told == {"field": "user", "problem": "there is no such field; this request has users, histories, k, exclude, exclude_seen"}


def test_a_lone_surrogate_is_an_id_like_any_unknown_one(served_apps: Any) -> None:
    reply = post(served_apps["first"], b'{"users": ["\\ud800"]}')
    assert (reply.status, reply.body.isascii(), reply.json()["answers"][0]["known"]) == (200, True, False)


@pytest.mark.parametrize("path", ["/v1/score", "/v1/predict"])
def test_the_other_routes_take_at_most_a_thousand_rows(served_apps: Any, path: str) -> None:
    body: dict[str, Any] = {"items": ["i01"] * 1001}
    problem(ask(served_apps["first"], "POST", path, body), 422, "invalid-request")
    assert ask(served_apps["first"], "POST", path, {"items": ["i01"] * 1000}).status == 200


def test_a_refusal_repeats_at_most_200_characters_of_the_request(served_apps: Any) -> None:
    for body in (
        json.dumps({"z" * 5000: 1}).encode(),
        b'{"' + b"z" * 5000 + b'":1,"' + b"z" * 5000 + b'":2}',
        b'{"k": "' + b"z" * 5000 + b'"}',
    ):
        assert post(served_apps["first"], body).body.count(b"z") <= 200


def test_one_more_than_the_limit_under_way_is_told_to_come_again(served_bundles: Any) -> None:
    served = serving(served_bundles["first"], concurrency=2)

    async def three() -> list[Reply]:
        app = guarded(served, Access())
        served._pool.submit(time.sleep, 0.2)
        return await asyncio.gather(*(ask_async(served, "POST", "/v1/recommend", {}, app=app) for _ in range(3)))

    replies = asyncio.run(three())
    assert sorted(reply.status for reply in replies) == [200, 200, 503]
    refused = next(reply for reply in replies if reply.status == 503)
    problem(refused, 503, "busy")
    assert refused.headers["retry-after"] == "1"
    assert post(served, {}).status == 200
    served.close()


def test_an_answer_that_takes_too_long_is_given_up(served_bundles: Any) -> None:
    served = serving(served_bundles["first"], model_seconds=0.1)
    served._pool.submit(time.sleep, 0.4)
    reply = post(served, {})
    problem(reply, 503, "too-slow")
    assert reply.headers["retry-after"] == "1"
    assert b"autorec_model_seconds_count 0.0" in served.metrics.text(), "what nobody waits for any more is not begun"
    time.sleep(0.4)
    assert post(served, {}).status == 200
    served.close()


def test_a_long_call_stops_between_blocks_of_users(served_bundles: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    served = serving(served_bundles["first"], model_seconds=0.2)
    recommender: Any = served.current.recommender
    honest, answered = recommender.stream, []

    def slow(*args: Any, **options: Any) -> Any:
        for answer in honest(*args, **options):
            time.sleep(0.05)
            answered.append(answer)
            yield answer

    monkeypatch.setattr(recommender, "stream", slow)
    problem(post(served, {"users": ["u1"] * 100}), 503, "too-slow")
    time.sleep(0.2)
    assert len(answered) < 10
    served.close()


def test_a_ranker_stops_between_users(served_bundles: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    served, asked = serving(served_bundles["ranker"], model_seconds=0.2), list[int]()
    recommender: Any = served.current.recommender
    honest = recommender.scores

    def slow(requests: Any) -> Any:
        time.sleep(0.05)
        asked.append(len(requests))
        return honest(requests)

    monkeypatch.setattr(recommender, "scores", slow)
    problem(post(served, {"users": ["u1"] * 100}), 503, "too-slow")
    time.sleep(0.2)
    assert set(asked) == {1}
    assert len(asked) < 10
    served.close()


def test_a_failure_tells_nothing_of_the_inside(
    served_bundles: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    served = serving(served_bundles["first"])

    def broken(*args: Any, **options: Any) -> Any:
        raise RuntimeError("secret /home/somebody/bundle")

    monkeypatch.setattr(served.current.recommender, "stream", broken)
    found = problem(post(served, {}), 500, "internal")
    assert "secret" not in json.dumps(found)
    assert "secret" in caplog.text, "the log has the reason"
    served.close()


def test_a_model_that_fails_is_the_servers_fault(served_bundles: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from autorec_kernel.errors import BundleError

    served = serving(served_bundles["first"])

    def broken(*args: Any, **options: Any) -> Any:
        raise BundleError("the model failed", where="/home/somebody/retriever.onnx")

    monkeypatch.setattr(served.current.recommender, "stream", broken)
    assert "somebody" not in json.dumps(problem(post(served, {}), 500, "AR5000"))
    served.close()


def test_a_given_request_id_is_kept_if_it_is_harmless(served_apps: Any) -> None:
    given = ask(served_apps["first"], "GET", "/healthz", add=[("x-request-id", "abc-1.2_3")])
    assert given.headers["x-request-id"] == "abc-1.2_3"
    for odd in ("a b", "x" * 65, "a\x1b[31m", ""):
        assert ask(served_apps["first"], "GET", "/healthz", add=[("x-request-id", odd)]).headers["x-request-id"] != odd


def test_log_lines_hold_no_body_no_query_and_no_control_character(served_apps: Any, caplog: pytest.LogCaptureFixture) -> None:
    from autorec_serve.logs import JsonLines

    with caplog.at_level(logging.INFO, logger=gate.__name__):
        post(served_apps["first"], {"users": ["private-user"]})
        ask(served_apps["first"], "GET", "/x\n\x1b[31m\u202e")
    lines = [JsonLines().format(record) for record in caplog.records if record.name == gate.__name__]
    assert len(lines) == 2
    assert all(line.isascii() and line.isprintable() for line in lines)
    assert "private-user" not in lines[0]
    first, second = map(json.loads, lines)
    assert (first["path"], first["status"], first["bytes"]) == ("/v1/recommend", 200, 27)
    assert (second["status"], second["code"]) == (404, "no-route")
    assert "\n" not in second["path"]


def test_other_connections_than_http_end_at_once(served_apps: Any) -> None:
    app = guarded(served_apps["first"], Access())
    with pytest.raises(RuntimeError, match="only http"):
        asyncio.run(app({"type": "websocket"}, None, None))  # type: ignore[arg-type]


def test_every_answer_forbids_caching_and_sniffing(served_apps: Any) -> None:
    for method, path in (("GET", "/healthz"), ("GET", "/nowhere"), ("POST", "/v1/score")):
        headers = ask(served_apps["first"], method, path, headers=HEADERS).headers
        assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")


def test_the_usual_bounds_are_those_of_the_documentation() -> None:
    limits = Limits()
    assert (limits.body_bytes, limits.depth) == (2**20, 16)
    assert (limits.header_seconds, limits.body_seconds, limits.model_seconds, limits.keep_alive_seconds) == (5, 10, 2, 5)
