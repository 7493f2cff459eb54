"""The ASGI gate before the application: routes by allow-list, who may ask, bodies in bounds, deadlines, and one log line a request."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from autorec_serve.guards import Headers, check_body, check_host, check_origin, check_token, read_headers
from autorec_serve.metrics import Metrics
from autorec_serve.problem import MEDIA_TYPE, Refused, problem_body, shown
from autorec_serve.settings import Access, Limits

__all__ = ["Asgi", "Exchange", "Gate"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

OPEN = ("/healthz", "/readyz")  # what probes ask, without a token
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_ALWAYS = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Exchange:
    """One request, and how far its answer is; the application finds it as `scope["autorec"]`.

    Args:
        size: Bytes of its body that have come.
        whole: Whether nothing of it is still to come; else the connection ends with the answer.
    """

    method: str
    path: str
    send: Send
    request_id: str = field(default_factory=lambda: secrets.token_hex(8))
    route: str = "other"
    origin: str = ""
    size: int = 0
    whole: bool = True
    status: int = 0
    code: str = ""
    began: float = field(default_factory=time.perf_counter)

    async def pass_on(self, message: Message) -> None:
        """Send a part of the answer; the first gets the headers that every answer has."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            more = [(b"x-request-id", self.request_id.encode("ascii")), *_ALWAYS]
            if self.origin:
                more += [(b"access-control-allow-origin", self.origin.encode("latin-1")), (b"vary", b"Origin")]
            message = {**message, "headers": [*message.get("headers", ()), *more]}
        await self.send(message)

    async def answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        """Send a whole answer."""
        told = {"content-length": str(len(body)), **headers}
        pairs = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in told.items()]
        await self.pass_on({"type": "http.response.start", "status": status, "headers": pairs})
        await self.pass_on({"type": "http.response.body", "body": body})


class Gate:
    """An ASGI application that lets in what may come in, and answers everything else itself.

    Args:
        app: Answers what is let in; it gets a body of known size in one part.
        routes: Path → method, everything there is.
    """

    def __init__(self, app: Asgi, routes: Mapping[str, str], access: Access, limits: Limits, metrics: Metrics) -> None:
        self._app, self._routes = app, routes
        self._access, self._limits, self._metrics = access, limits, metrics
        self._under_way = 0

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request; connections of other kinds end at once."""
        if scope["type"] != "http":
            raise RuntimeError(f"only http is served, not {scope['type']}")
        scope["autorec"] = exchange = Exchange(scope["method"], scope["path"], send)
        try:
            await self._let_in(exchange, scope, receive)
        except Refused as refused:
            await _refuse(exchange, refused)
        except Exception:
            _log.exception("unexpected error", extra={"facts": {"id": exchange.request_id}})
            await _refuse(exchange, Refused(500, "internal", "the server failed; its log says why"))
        finally:
            self._tell(exchange, scope.get("client"))

    async def _let_in(self, exchange: Exchange, scope: MutableMapping[str, Any], receive: Receive) -> None:
        headers = read_headers(scope["headers"])
        if (given := headers.get(b"x-request-id")) and _REQUEST_ID.fullmatch(given):
            exchange.request_id = given.decode("ascii")
        exchange.whole = headers.get(b"content-length", b"0") == b"0" and b"transfer-encoding" not in headers
        check_host(headers, self._access)
        exchange.origin = check_origin(headers, self._access)
        method = self._route(exchange)
        if exchange.method == "OPTIONS" and exchange.origin:
            await _preflight(exchange, method)
            return
        if exchange.method != method:
            raise Refused(405, "wrong-method", f"this route is asked with {method}", headers={"Allow": method})
        if exchange.route not in OPEN:
            check_token(headers, self._access)
        if method == "GET":
            await self._app(scope, _replay(b""), exchange.pass_on)
        else:
            await self._with_body(exchange, headers, scope, receive)

    async def _with_body(self, exchange: Exchange, headers: Headers, scope: MutableMapping[str, Any], receive: Receive) -> None:
        body = await self._read(exchange, check_body(headers, self._limits.body_bytes), receive)
        if self._under_way >= self._limits.concurrency:
            raise Refused(503, "busy", "as many requests are under way as are served at a time", headers={"Retry-After": "1"})
        self._under_way += 1
        self._metrics.in_flight.set(self._under_way)
        try:
            await self._app(scope, _replay(body), exchange.pass_on)
        finally:
            self._under_way -= 1
            self._metrics.in_flight.set(self._under_way)

    def _route(self, exchange: Exchange) -> str:
        """Return the method of the route that is asked for.

        Raises:
            Refused: 404.
        """
        if exchange.path not in self._routes:
            raise Refused(404, "no-route", f"there is {', '.join(self._routes)}")
        exchange.route = exchange.path
        return self._routes[exchange.path]

    async def _read(self, exchange: Exchange, length: int, receive: Receive) -> bytes:
        """Return the body, counted while it comes.

        Raises:
            Refused: 408 when it comes too slowly, 413 when it is larger than it said, 400 when it ends early.
        """
        parts: list[bytes] = []
        more = True
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                while more:
                    message = await receive()
                    if message["type"] != "http.request":
                        raise Refused(400, "body-too-short", "the connection ended before the body did")
                    parts.append(message.get("body", b""))
                    exchange.size += len(parts[-1])
                    more = message.get("more_body", False)
                    exchange.whole = not more
                    if exchange.size > length:
                        raise Refused(413, "body-too-large", "the body is longer than its Content-Length says")
        except TimeoutError:
            late = f"the body did not come within {self._limits.body_seconds:g} s"
            raise Refused(408, "body-too-slow", late) from None
        return b"".join(parts)

    def _tell(self, exchange: Exchange, client: Any) -> None:
        """Count and log an exchange; bodies, tokens, queries and ids are in neither."""
        seconds = time.perf_counter() - exchange.began
        self._metrics.request(exchange.route, exchange.status, seconds, exchange.size)
        if not _log.isEnabledFor(logging.INFO):
            return
        facts = {
            "id": exchange.request_id,
            "method": shown(exchange.method),
            "path": shown(exchange.path),
            "status": exchange.status,
            "ms": round(seconds * 1000, 2),
            "bytes": exchange.size,
            "client": client[0] if client else "",
        }
        _log.info("request", extra={"facts": facts | ({"code": exchange.code} if exchange.code else {})})


async def _refuse(exchange: Exchange, refused: Refused) -> None:
    """Send a problem, unless an answer is under way already."""
    if not exchange.status:
        exchange.code = refused.code
        body = problem_body(refused, exchange.request_id)
        rest = {} if exchange.whole else {"connection": "close"}
        await exchange.answer(refused.status, body, {"content-type": MEDIA_TYPE, **refused.headers, **rest})


async def _preflight(exchange: Exchange, method: str) -> None:
    """Tell a browser what a page of an allowed origin may send."""
    allowed = {"access-control-allow-methods": method, "access-control-allow-headers": "authorization, content-type, x-request-id"}
    await exchange.answer(204, b"", {**allowed, "access-control-max-age": "600"})


def _replay(body: bytes) -> Receive:
    """Return a receive that hands out a body in one part, and then nothing until the answer is sent."""
    parts: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if parts:
            return parts.pop()
        return {"type": "http.disconnect"}

    return receive
