"""JSON as strictly as it is served: nesting is bounded before anything is parsed, keys are unique, numbers are finite."""

from __future__ import annotations

import json
import re
from collections import Counter
from math import isinf
from typing import Any

from autorec_serve.problem import Refused

__all__ = ["parse"]

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\Z)', re.DOTALL)  # an unfinished string ends with the text: it is scanned once
_BRACKET = re.compile(rb"[\[\]{}]")


def parse(body: bytes, depth: int) -> Any:
    """Return the value of a JSON text in UTF-8.

    Raises:
        Refused: 400, with what is wrong and never with the text itself.
    """
    check_depth(body, depth)
    try:
        return _DECODER.decode(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise Refused(400, "not-utf-8", f"byte {error.start} of the body is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise Refused(400, "not-json", f"{error.msg}: line {error.lineno} column {error.colno} of the body") from None
    except (ValueError, RecursionError):  # a whole number of thousands of digits
        raise Refused(400, "not-json", "the body holds a number that is too long") from None


def check_depth(body: bytes, depth: int) -> None:
    """Refuse a text nested deeper than `depth`; what stands in strings does not count.

    Raises:
        Refused: 400.
    """
    if body.count(b"[") + body.count(b"{") <= depth:
        return
    level = 0
    for found in _BRACKET.finditer(_STRING.sub(b"", body)):
        level += 1 if found[0] in b"[{" else -1
        if level > depth:
            raise Refused(400, "too-deep", f"the body nests deeper than {depth} levels")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise Refused(400, "duplicate-key", f"the key {twice[:60]!r} stands twice in one object")
    return found


def _no_constant(name: str) -> Any:
    raise Refused(400, "not-finite", f"{name} is no JSON number; null stands for a value that is not known")


def _finite(text: str) -> float:
    value = float(text)
    if isinf(value):
        raise Refused(400, "not-finite", "the body holds a number beyond the range of float64")
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
