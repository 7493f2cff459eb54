"""uvicorn as it is run here: its own socket, deadlines that it lacks, and signals that reload and drain."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from autorec_kernel.errors import InfrastructureError
from autorec_serve.gate import Asgi
from autorec_serve.loaded import Served
from autorec_serve.problem import MEDIA_TYPE, Refused, problem_body
from autorec_serve.settings import Limits

__all__ = ["listen", "run"]

_BACKLOG = 128
_HEADER_BYTES = 16_384


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes a free one.

    Raises:
        InfrastructureError: The address cannot be had.
    """
    hint = "choose another --port, or 0 for a free one"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        found = socket.socket(family, kind, protocol)
    except OSError as error:
        raise InfrastructureError(f"cannot listen: {error.strerror or error}", where=f"{host}:{port}", hint=hint) from None
    try:
        if os.name == "posix":  # elsewhere it would let two servers have one port
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
    except OSError as error:
        found.close()
        raise InfrastructureError(f"cannot listen: {error.strerror or error}", where=f"{host}:{port}", hint=hint) from None
    return found


def run(app: Asgi, served: Served, listening: socket.socket) -> None:
    """Serve until SIGTERM or Ctrl-C; requests under way are answered first.

    SIGHUP reads the bundle again and SIGUSR1 goes back to the one before, where there are such signals.
    Ctrl-C ends in `KeyboardInterrupt`, SIGTERM in a return.
    """
    limits = served.limits
    config = uvicorn.Config(
        app,
        http=_protocol(limits),
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=limits.keep_alive_seconds,
        timeout_graceful_shutdown=limits.drain_seconds,
        h11_max_incomplete_event_size=_HEADER_BYTES,
    )
    before = signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn raises it again when it is done
    try:
        asyncio.run(_serve(uvicorn.Server(config), served, listening))
    finally:
        served.close()
        signal.signal(signal.SIGTERM, before)


async def _serve(server: uvicorn.Server, served: Served, listening: socket.socket) -> None:
    loop, tasks = asyncio.get_running_loop(), set[asyncio.Task[None]]()

    def reload() -> None:
        task = loop.create_task(served.reload())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    with contextlib.suppress(AttributeError, NotImplementedError):  # Windows has no such signal
        loop.add_signal_handler(signal.SIGHUP, reload)
        loop.add_signal_handler(signal.SIGUSR1, served.back)
    await server.serve(sockets=[listening])


def _protocol(limits: Limits) -> type[asyncio.Protocol]:
    """Return uvicorn's protocol with the deadlines and the bound on connections that it lacks."""

    class Bounded(H11Protocol):
        """HTTP/1.1 whose headers must come, and whose answers must be read, in time."""

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self._timers: dict[str, asyncio.TimerHandle] = {}

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > limits.connections:
                self._end(Refused(503, "busy", "as many connections are open as are served at a time", headers={"Retry-After": "1"}))
            else:
                self._start("header", limits.header_seconds, self._late)

        def connection_lost(self, exc: Exception | None) -> None:
            for name in list(self._timers):
                self._stop(name)
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self._between():
                self._start("header", limits.header_seconds, self._late)
            super().data_received(data)
            if not self._between():
                self._stop("header")

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self._between() and self.conn.trailing_data[0]:  # a part of the next request came with this one
                self._start("header", limits.header_seconds, self._late)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._start("write", limits.write_seconds, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            self._stop("write")

        def send_400_response(self, msg: str) -> None:
            self._end(Refused(400, "not-http", "the request is not HTTP/1.1 as it is served here"))

        def _between(self) -> bool:
            """Return whether the headers of a request are still to come."""
            return self.cycle is None or self.cycle.response_complete

        def _late(self) -> None:
            self._end(Refused(408, "headers-too-slow", f"the headers did not come within {limits.header_seconds:g} s"))

        def _start(self, name: str, seconds: float, then: Any) -> None:
            if name not in self._timers:
                self._timers[name] = self.loop.call_later(seconds, then)

        def _stop(self, name: str) -> None:
            if (timer := self._timers.pop(name, None)) is not None:
                timer.cancel()

        def _end(self, refused: Refused) -> None:
            """Answer without any application, and close."""
            if self.transport.is_closing():
                return
            body = problem_body(refused, "")
            headers = {"content-type": MEDIA_TYPE, "content-length": str(len(body)), "connection": "close", **refused.headers}
            with contextlib.suppress(h11.LocalProtocolError):  # an answer is under way
                events = (h11.Response(status_code=refused.status, headers=list(headers.items())), h11.Data(data=body), h11.EndOfMessage())
                self.transport.write(b"".join(self.conn.send(event) or b"" for event in events))
            self.transport.close()

    return Bounded
