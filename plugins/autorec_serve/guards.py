"""Who is let in, decided by the headers alone: Host, Origin, token, and the form and length of a body."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from ipaddress import ip_address

from autorec_serve.problem import Refused
from autorec_serve.settings import Access

__all__ = ["Headers", "check_body", "check_host", "check_origin", "check_token", "read_headers"]

Headers = dict[bytes, bytes]
_SINGLE = frozenset({b"host", b"origin", b"authorization", b"content-type", b"content-length", b"content-encoding"})


def read_headers(pairs: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Return headers by name in lower case.

    Raises:
        Refused: 400; one that decides something stands twice.
    """
    found: Headers = {}
    for name, value in pairs:
        if name in _SINGLE and name in found:
            raise Refused(400, "repeated-header", f"the header {name.decode('latin-1')} stands twice")
        found[name] = value
    return found


def check_host(headers: Headers, access: Access) -> None:
    """Refuse a name that this server does not go by (a page that had its own name pointed here: DNS rebinding).

    Raises:
        Refused: 421.
    """
    text = headers.get(b"host", b"").decode("latin-1").strip().lower()
    name = text[1 : text.find("]")] if text.startswith("[") else text.partition(":")[0]
    if name in access.hosts or (access.addresses and _is_address(name)):
        return
    raise Refused(421, "wrong-host", "the Host header names a host that this server does not go by; --allow-host adds one")


def check_origin(headers: Headers, access: Access) -> str:
    """Return the origin of a page that may ask, "" where none asks.

    Raises:
        Refused: 403.
    """
    origin = headers.get(b"origin")
    if origin is None:
        return ""
    text = origin.decode("latin-1")
    if text not in access.origins:
        raise Refused(403, "wrong-origin", "pages of this origin may not ask; --allow-origin adds one")
    return text


def check_token(headers: Headers, access: Access) -> None:
    """Compare the token in constant time.

    Raises:
        Refused: 401.
    """
    if access.token is None:
        return
    scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
    if not hmac.compare_digest(given.strip(), access.token) or scheme.lower() != b"bearer":
        needed = {"WWW-Authenticate": "Bearer"}
        raise Refused(401, "no-token", "this route asks for the header Authorization: Bearer TOKEN", headers=needed)


def check_body(headers: Headers, most: int) -> int:
    """Return the length of a JSON body.

    Raises:
        Refused: 411 without a length, 413 over `most`, 415 for anything but plain JSON.
    """
    kind, _, parameter = headers.get(b"content-type", b"").decode("latin-1").lower().partition(";")
    if kind.strip() != "application/json" or parameter.strip() not in ("", "charset=utf-8", 'charset="utf-8"'):
        raise Refused(415, "not-json", "the body must have the Content-Type application/json (UTF-8)")
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise Refused(415, "encoded", "the body must not be compressed")
    length = headers.get(b"content-length", b"")
    if b"transfer-encoding" in headers or not length.isdigit():
        raise Refused(411, "no-length", "the body must come with a Content-Length")
    if len(length) > 15 or int(length) > most:
        raise Refused(413, "body-too-large", f"the body may have {most:,} bytes")
    return int(length)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
