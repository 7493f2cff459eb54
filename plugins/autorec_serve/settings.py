"""What a server may do and for whom: limits, who is let in, and where it listens."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from autorec_kernel.errors import UsageError

__all__ = ["MAX_ROWS", "Access", "Limits", "is_loopback", "read_token"]

MAX_ROWS = 1000  # users, histories, items and rows of one call; also the items of one history and the length of a list
_SHORTEST_TOKEN = 16
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one server.

    Args:
        body_bytes: Largest body.
        depth: Deepest nesting of JSON.
        header_seconds: From the first byte of a connection or request to the end of its headers.
        body_seconds: From the end of the headers to the end of the body.
        model_seconds: From a whole request to its answer, waiting for the model included.
        write_seconds: How long a client may leave a full send buffer unread.
        keep_alive_seconds: How long an idle connection stays open.
        drain_seconds: How long requests under way may take after SIGTERM.
        concurrency: Requests for the model under way at a time; one more is answered with 503.
        connections: Open connections; one more is answered with 503.
    """

    body_bytes: int = 1 << 20
    depth: int = 16
    header_seconds: float = 5.0
    body_seconds: float = 10.0
    model_seconds: float = 2.0
    write_seconds: float = 10.0
    keep_alive_seconds: int = 5
    drain_seconds: int = 10
    concurrency: int = 64
    connections: int = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who is let in.

    Args:
        hosts: Names that the Host header may hold, lower case, without port.
        addresses: Whether it may hold any IP address: a page of a stranger can point a name at this machine, never an address.
        origins: Origins (`https://shop.example`) whose pages may ask; every other request with an Origin header is refused.
        token: What `Authorization: Bearer` must hold; None = nothing is asked for.
    """

    hosts: frozenset[str] = frozenset(_LOOPBACK)
    addresses: bool = False
    origins: frozenset[str] = frozenset()
    token: bytes | None = field(default=None, repr=False)


def is_loopback(host: str) -> bool:
    """Return whether a listening host is reached from this machine alone."""
    return host in _LOOPBACK or (host.startswith("127.") and host.replace(".", "").isdigit())


def read_token(file: Path | None, variable: str) -> bytes | None:
    """Return the token of a file, else of the environment variable's value; None without one.

    Raises:
        UsageError: The file cannot be read, or the token is no line of at least 16 printable ASCII characters.
    """
    if file is None and not variable:
        return None
    try:
        text = variable if file is None else file.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not ASCII text"
        raise UsageError(f"the token file cannot be read: {reason}", where=str(file)) from None
    token = text.strip()
    if len(token) < _SHORTEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError(
            f"a token is one word of at least {_SHORTEST_TOKEN} printable ASCII characters",
            where=str(file) if file is not None else "AUTOREC_TOKEN",
            hint="python -c 'import secrets; print(secrets.token_urlsafe(32))' > token",
        )
    return token.encode("ascii")
