from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")

import typer
import uvicorn
from serve_kit import application
from uvicorn.server import ServerState

from autorec_kernel.errors import InfrastructureError
from autorec_kernel.kernel import Kernel
from autorec_serve.command import serve
from autorec_serve.server import _protocol, listen
from autorec_serve.settings import Access, Limits

Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


@asynccontextmanager
async def listening(served: Any, **limits: Any) -> AsyncIterator[Connect]:
    """Run the protocol with these limits in this loop; yields what opens a connection to it."""
    bounds = Limits(**limits)
    config = uvicorn.Config(
        application(served, Access()), log_config=None, ws="none", lifespan="off", timeout_keep_alive=bounds.keep_alive_seconds
    )
    state, loop, kind = ServerState(), asyncio.get_running_loop(), _protocol(bounds)
    config.load()
    server = await loop.create_server(lambda: kind(config=config, server_state=state, app_state={}, _loop=loop), "127.0.0.1", 0)  # type: ignore[call-arg]
    port = server.sockets[0].getsockname()[1]
    try:
        yield lambda: asyncio.open_connection("127.0.0.1", port)
    finally:
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)


async def get(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    await reader.readexactly(int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]))
    return head.split(b"\r\n")[0]


def test_one_connection_too_many_is_told_to_come_again_and_closed(served_apps: Any) -> None:
    async def run() -> tuple[bytes, bytes, bytes]:
        async with listening(served_apps["first"], connections=2) as connect:
            first, second = await connect(), await connect()
            before = await get(*first)
            reader, writer = await connect()
            refused = await asyncio.wait_for(reader.read(), 5)
            after = await get(*second)
            for _, one in (first, second, (reader, writer)):
                one.close()
            return before, refused, after

    before, refused, after = asyncio.run(run())
    assert before == after == b"HTTP/1.1 200 OK"
    assert refused.startswith(b"HTTP/1.1 503")
    assert b"retry-after: 1" in refused.lower()


def test_a_connection_that_is_used_outlives_the_deadline_of_headers(served_apps: Any) -> None:
    async def run() -> list[bytes]:
        async with listening(served_apps["first"], header_seconds=0.3) as connect:
            stream = await connect()
            found = []
            for _ in range(4):
                found.append(await get(*stream))
                await asyncio.sleep(0.15)
            stream[1].close()
            return found

    assert asyncio.run(run()) == [b"HTTP/1.1 200 OK"] * 4


def test_a_taken_port_is_told_and_its_socket_is_closed() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InfrastructureError, match="cannot listen"):
            listen("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(InfrastructureError, match="cannot listen"):
        listen("no-such-host.invalid", 0)


@pytest.mark.skipif(os.name != "posix", reason="limits of memory are POSIX")
def test_the_check_of_a_bundle_has_bounded_memory() -> None:
    code = "from autorec_serve.check import _limit_memory; _limit_memory(1 << 30); bytearray(2 << 30)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert "MemoryError" in done.stderr


def test_every_option_is_in_the_reference() -> None:
    app = typer.Typer(add_completion=False)
    app.command()(serve)
    options = {option for one in typer.main.get_command(app).params for option in one.opts if option.startswith("--")} - {"--help"}
    text = (Path(__file__).parents[4] / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    section = text.split("## autorec serve\n", 1)[1].split("\n## ", 1)[0]
    assert options - set(re.findall(r"--[a-z][a-z-]*", section)) == set()


def test_without_fastapi_the_command_is_listed_as_unavailable_with_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastapi", None)
    (row,) = [row for row in Kernel.discover().components("cli-command") if row.id == "serve/serve"]
    assert (row.status, row.usable) == ("unavailable", False)
    assert row.install == 'pip install "autorec-kernel[serve]"'
