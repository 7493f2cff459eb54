from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

pytest.importorskip("fastapi")

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "plugins" / "serve"))

from serve_child import Child, until_closed
from serve_kit import write_retriever

from autorec_kernel.cli.main import main
from autorec_kernel.serving import Recommender
from autorec_serve import command

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="the tests speak to the server by POSIX signals")
TOKEN = "0123456789abcdef"
USERS = ["u1", "u5", "nobody"]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    base = tmp_path_factory.mktemp("serve")
    return [write_retriever(base / str(seed), seed) for seed in (0, 1)]


@pytest.fixture(scope="module")
def child(bundles: list[Path]) -> Iterator[Child]:
    """One server for the tests that leave it as it is; its deadlines are short."""
    limits = {"header_seconds": 0.6, "body_seconds": 1.2, "write_seconds": 0.6}
    with Child(bundles[0], "--limit-concurrency", "2", limits=limits) as found:
        yield found


def request(body: bytes, *headers: str, path: str = "/v1/recommend") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def expected(bundle: Path) -> list[dict[str, Any]]:
    return [answer.to_json() for answer in Recommender.load(bundle).recommend(USERS, k=7)]


def test_answers_over_a_socket_are_those_of_the_recommender(child: Child, bundles: list[Path]) -> None:
    status, headers, told = child.ask("POST", "/v1/recommend", {"users": USERS, "k": 7})
    assert (status, told["answers"]) == (200, expected(bundles[0]))
    assert "server" not in {name.lower() for name in headers}


def test_a_reload_serves_the_new_bundle_and_keeps_it_when_the_next_one_is_bad(tmp_path: Path, bundles: list[Path]) -> None:
    link = tmp_path / "current"
    link.symlink_to(bundles[0])
    with Child(link) as child:
        (tmp_path / "fresh").symlink_to(bundles[1])
        os.replace(tmp_path / "fresh", link)
        assert child.hang_up()["ok"] is True
        assert child.ask("POST", "/v1/recommend", {"users": USERS, "k": 7})[2]["answers"] == expected(bundles[1])
        bad = shutil.copytree(bundles[0], tmp_path / "bad")
        (bad / "schema.json").write_bytes(b"{}")
        (tmp_path / "fresh").symlink_to(bad)
        os.replace(tmp_path / "fresh", link)
        ended = child.hang_up()
        assert (ended["ok"], ended["code"]) == (False, "AR5000")
        assert "schema.json" in ended["detail"]
        assert child.ask("POST", "/v1/recommend", {"users": USERS, "k": 7})[2]["answers"] == expected(bundles[1])
        assert "autorec_reload_ok 0.0" in child.ask("GET", "/metrics")[2]
        assert "schema.json" in child.wait_for("not reloaded").string
        os.kill(child.process.pid, signal.SIGUSR1)
        child.wait_for("gone back")
        assert child.ask("POST", "/v1/recommend", {"users": USERS, "k": 7})[2]["answers"] == expected(bundles[0])
        assert child.stop() == 0


def test_requests_under_way_are_answered_before_the_server_ends(bundles: list[Path]) -> None:
    with Child(bundles[0]) as child, child.connect() as slow, child.connect() as idle:
        body = json.dumps({"users": USERS, "k": 7}).encode()
        slow.sendall(request(b"", f"Content-Length: {len(body)}", "Expect: 100-continue"))
        assert slow.recv(65536).startswith(b"HTTP/1.1 100"), "the body is waited for"
        child.process.terminate()
        assert until_closed(idle) == b""
        with pytest.raises(OSError):
            child.connect()
        slow.sendall(body)
        head, _, told = until_closed(slow).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert json.loads(told)["answers"] == expected(bundles[0])
        assert child.process.wait(20) == 0


def test_headers_and_bodies_must_come_in_time(child: Child) -> None:
    began = time.monotonic()
    with child.connect() as silent, child.connect() as dripping, child.connect() as body:
        body.sendall(request(b"{", "Content-Length: 100"))
        for byte in b"GET /healthz HTTP/1.1\r\nHo":
            dripping.sendall(bytes([byte]))
            time.sleep(0.02)
        assert b"headers-too-slow" in until_closed(silent)
        assert b"408" in until_closed(dripping).split(b"\r\n")[0]
        assert 0.6 < time.monotonic() - began < 3
        assert b"body-too-slow" in until_closed(body)
        assert 1.2 < time.monotonic() - began < 4


def test_a_second_request_on_a_connection_has_its_own_deadline(child: Child) -> None:
    with child.connect() as one:
        one.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /hea")
        began = time.monotonic()
        told = until_closed(one)
        assert told.startswith(b"HTTP/1.1 200")
        assert b"headers-too-slow" in told
        assert 0.5 < time.monotonic() - began < 3


def test_a_body_beyond_the_limit_ends_the_connection(child: Child) -> None:
    with child.connect() as one:
        one.sendall(request(b" " * 1000, f"Content-Length: {2**20 + 1}"))
        told = until_closed(one)
    assert told.startswith(b"HTTP/1.1 413")
    with child.connect() as one:
        one.sendall(request(b"5\r\n     \r\n0\r\n\r\n", "Transfer-Encoding: chunked"))
        assert one.recv(65536).startswith(b"HTTP/1.1 411")


def test_what_is_no_http_is_refused_as_a_problem(child: Child) -> None:
    for text in (
        b"\x16\x03\x01\x02\x00\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 20_000,
    ):
        with child.connect() as one:
            one.sendall(text)
            assert b'"code": "not-http"' in until_closed(one)


def test_more_requests_than_the_limit_are_told_to_come_again(child: Child) -> None:
    body = {"users": ["u1"] * 1000, "k": 40}
    statuses: list[int] = []
    threads = [threading.Thread(target=lambda: statuses.append(child.ask("POST", "/v1/recommend", body)[0])) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(statuses) == {200, 503}
    assert child.ask("POST", "/v1/recommend", {})[0] == 200


def test_a_reader_that_stops_reading_is_cut_off(child: Child) -> None:
    body = json.dumps({"users": ["u1"] * 1000, "k": 38}).encode()
    count = 12
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.connect(("127.0.0.1", child.port))
        one.sendall(request(body, f"Content-Length: {len(body)}") * count)
        time.sleep(3)
        received = 0
        with contextlib.suppress(ConnectionResetError):
            while part := one.recv(1 << 20):
                received += len(part)
    whole = len(json.dumps(child.ask("POST", "/v1/recommend", json.loads(body))[2], separators=(",", ":")))
    assert received < count * whole


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (("--host", "0.0.0.0"), 2, "no token is asked for"),
        (("--token-file", "nothing"), 2, "token file cannot be read"),
        (("--allow-host", "https://x"), 2, "no host name"),
        (("--allow-origin", "shop.example"), 2, "no origin"),
        (("--require-digest", "sha256:00"), 5, "is required"),
        (("--port", "70000"), 2, "65535"),
    ],
)
def test_what_cannot_be_served_ends_the_command(
    bundles: list[Path], options: tuple[str, ...], code: int, text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))  # the command fixes the threads of its process
    assert main(["serve", str(bundles[0]), "--port", "0", *options]) == code
    assert text in capsys.readouterr().err


def test_a_port_that_is_taken_ends_the_command(
    bundles: list[Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main(["serve", str(bundles[0]), "--port", str(taken.getsockname()[1])]) == 7
    assert "cannot listen" in capsys.readouterr().err


def test_without_its_packages_the_command_names_the_pip_line(
    bundles: list[Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    assert main(["serve", str(bundles[0])]) == 6
    assert 'pip install "autorec-kernel[serve]"' in capsys.readouterr().err


@dataclass
class Life:
    """What was seen of a server with a token, from its start to Ctrl-C."""

    statuses: list[int]
    reloaded: bool
    code: int
    log: str
    modules: set[str]


@pytest.fixture(scope="module")
def life(bundles: list[Path]) -> Life:
    held = "import json; print(json.dumps(sorted(name for name in sys.modules if '.' not in name)))"
    with mock.patch.dict(os.environ, AUTOREC_TOKEN=TOKEN), Child(bundles[0], "--host", "0.0.0.0", after=held) as child:
        body = {"users": USERS}
        statuses = [
            child.ask("POST", "/v1/recommend", body, Authorization=f"Bearer {TOKEN}")[0],
            child.ask("POST", "/v1/predict", {"users": ["u1"], "items": ["i01"]}, Authorization=f"Bearer {TOKEN}")[0],
            child.ask("POST", "/v1/recommend", body)[0],
            child.ask("GET", "/healthz")[0],
            child.ask("GET", "/healthz", Host="evil.example")[0],
        ]
        reloaded = child.hang_up()["ok"]
        child.process.send_signal(signal.SIGINT)
        code = child.process.wait(20)
        assert child.process.stdout is not None
        modules = set(json.loads(child.process.stdout.read()))
    return Life(statuses, reloaded, code, "".join(child.lines), modules)


def test_the_process_holds_neither_torch_nor_pandas(life: Life) -> None:
    assert life.reloaded
    assert {"onnxruntime", "numpy", "fastapi"} <= life.modules
    assert life.modules & {"torch", "pandas", "pyarrow", "scipy", "sklearn", "onnx"} == set()


def test_a_token_of_the_environment_is_asked_for_and_never_told(life: Life) -> None:
    assert life.statuses == [200, 200, 401, 200, 421]
    assert TOKEN not in life.log


def test_ctrl_c_ends_with_130(life: Life) -> None:
    assert life.code == 130
    assert "Traceback" not in life.log


def test_without_a_token_everybody_beyond_loopback_is_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    found = command._access("0.0.0.0", 8000, None, None, None, True)
    assert (found.token, found.addresses) == (None, True)
    assert "warning: everybody who reaches 0.0.0.0:8000" in capsys.readouterr().err
