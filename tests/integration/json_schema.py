"""The part of JSON Schema that `result.schema.json` uses; an unknown word is an error, so that no rule is passed over."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["faults"]

_TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
_SILENT = {"$schema", "$defs", "title", "description", "items", "properties", "type"}


def faults(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any] | None = None, where: str = "result") -> Iterator[str]:
    """Yield one sentence per rule that the value breaks."""
    root = root or schema
    kinds = [schema.get("type", "any")] if isinstance(schema.get("type", "any"), str) else schema["type"]
    if not any(_is(value, kind) for kind in kinds):
        yield f"{where}: {value!r} is no {' or '.join(kinds)}"
        return
    for word, rule in schema.items():
        if word not in _SILENT:
            yield from _RULES[word](value, rule, root, where, schema)
    for name, part in schema.get("properties", {}).items():
        if isinstance(value, dict) and name in value:
            yield from faults(value[name], part, root, f"{where}.{name}")
    if "items" in schema and isinstance(value, list):
        for place, part in enumerate(value):
            yield from faults(part, schema["items"], root, f"{where}[{place}]")


def _is(value: Any, kind: str) -> bool:
    if kind == "any":
        return True
    if kind in ("number", "integer"):
        return isinstance(value, int if kind == "integer" else (int, float)) and not isinstance(value, bool)
    return isinstance(value, _TYPES[kind])


def _say(broken: bool, text: str) -> Iterator[str]:
    if broken:
        yield text


def _extra(value: Any, rule: Any, root: Any, where: str, schema: Mapping[str, Any]) -> Iterator[str]:
    for name, part in value.items():
        if name not in schema.get("properties", {}):
            yield from faults(part, rule, root, f"{where}.{name}")


def _any(value: Any, rule: Any, root: Any, where: str) -> Iterator[str]:
    found = [list(faults(value, one, root, where)) for one in rule]
    yield from [] if [] in found else found[0]


_RULES: dict[str, Any] = {
    "$ref": lambda v, rule, root, where, _: faults(v, root["$defs"][rule.removeprefix("#/$defs/")], root, where),
    "const": lambda v, rule, _, where, __: _say(v != rule, f"{where}: {v!r} is not {rule!r}"),
    "enum": lambda v, rule, _, where, __: _say(v not in rule, f"{where}: {v!r} is none of {rule}"),
    "minimum": lambda v, rule, _, where, __: _say(v < rule, f"{where}: {v!r} is below {rule}"),
    "pattern": lambda v, rule, _, where, __: _say(not re.search(rule, v), f"{where}: {v!r} is not like {rule}"),
    "minItems": lambda v, rule, _, where, __: _say(v is not None and len(v) < rule, f"{where} is too short"),
    "maxItems": lambda v, rule, _, where, __: _say(v is not None and len(v) > rule, f"{where} is too long"),
    "required": lambda v, rule, _, where, __: _say(
        v is not None and bool(set(rule) - set(v)), f"{where} lacks {sorted(set(rule) - set(v or ()))}"
    ),
    "additionalProperties": _extra,
    "propertyNames": lambda v, rule, root, where, _: (fault for name in v for fault in faults(name, rule, root, f"{where} name")),
    "anyOf": lambda v, rule, root, where, _: _any(v, rule, root, where),
    "allOf": lambda v, rule, root, where, _: (fault for one in rule for fault in faults(v, one, root, where)),
}
