"""Bodies made to be slow: a MiB of anything is read in one pass, where a second pass a byte would take hours."""

from __future__ import annotations

import json

import pytest

from autorec_serve.problem import Refused
from autorec_serve.strict_json import check_depth, parse

_MIB = 1 << 20


@pytest.mark.parametrize("piece", [b'\\"', b"\\\\", b'"\\"', b"a"])
def test_an_unfinished_string_of_a_mib_is_scanned_once(piece: bytes) -> None:
    body = b"[" * 17 + b'"' + piece * (_MIB // len(piece) - 20)
    with pytest.raises(Refused, match="nests deeper than 16"):
        parse(body, 16)


def test_brackets_in_strings_do_not_count_escaped_quotes_and_all() -> None:
    text = json.dumps({"a": '[[[\\"[[[' * 50, "b": [["\\", "]"]]}).encode()
    check_depth(text, 3)
    assert parse(text, 3) == json.loads(text)


def test_one_key_twice_among_eighty_thousand_is_named() -> None:
    names = [*(f"k{number}" for number in range(80_000)), "k7"]
    body = ("{" + ",".join(f'"{name}":1' for name in names) + "}").encode()
    with pytest.raises(Refused, match="'k7' stands twice"):
        parse(body, 16)
