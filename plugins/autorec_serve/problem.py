"""Refusals as RFC 9457 problems: a status, a code for machines, a sentence for people, and nothing of the server's inside."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from autorec_kernel.errors import AutoRecError, DataError, UsageError

__all__ = ["Refused", "of_error", "problem_body", "shown"]

MEDIA_TYPE = "application/problem+json"
_LONGEST = 200  # characters of a request that an answer may hold
_MOST_FIELDS = 20


class Refused(Exception):
    """A request that is not answered.

    Args:
        status: HTTP status.
        code: A word for machines, lower case with hyphens, or the code of a kernel error.
        detail: One sentence for people.
        fields: Parts of the body at fault: `field` and `problem` each.
        headers: Further headers of the answer.
    """

    def __init__(
        self, status: int, code: str, detail: str, *, fields: Sequence[Mapping[str, str]] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, shown(detail)
        self.fields = [{name: shown(text) for name, text in one.items()} for one in fields[:_MOST_FIELDS]]
        self.headers = dict(headers or {})


def of_error(error: AutoRecError) -> Refused:
    """Return the refusal of an error of the kernel: what was asked is at fault, or the server is (whose reason stays in its log)."""
    if isinstance(error, UsageError | DataError):
        return Refused(422, error.code, error.message)
    return Refused(500, error.code, "the bundle could not answer; the log of the server says why")


def problem_body(refused: Refused, request_id: str) -> bytes:
    """Return the JSON of a problem."""
    told: dict[str, Any] = {
        "type": f"urn:autorec:problem:{refused.code.lower()}",
        "title": HTTPStatus(refused.status).phrase,
        "status": refused.status,
        "code": refused.code,
        "detail": refused.detail,
        "fields": refused.fields,
        "request_id": request_id,
    }
    return json.dumps(told).encode("ascii")


def shown(text: str) -> str:
    """Return a text that may hold parts of a request: control characters escaped, cut at 200 characters."""
    plain = "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text[: _LONGEST + 1])
    return plain if len(plain) <= _LONGEST else plain[: _LONGEST - 1] + "…"
