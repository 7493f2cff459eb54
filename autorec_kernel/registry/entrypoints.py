"""Read the entry points of installed distributions from their metadata: sorted, guarded per distribution, nothing imported."""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from autorec_kernel.registry.points import API_VERSION, GROUP
from autorec_kernel.registry.spec import NAME

__all__ = ["Candidate", "api_refusal", "candidates", "normalized"]

_VALUE = re.compile(r"(?P<module>\w+(?:\.\w+)*)\s*(?::\s*(?P<attribute>\w+(?:\.\w+)*))?\s*(?:\[(?P<extras>[^\]]*)\])?")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One entry point of the group, as its metadata states it.

    Args:
        api: Versions of the plugin API listed as extras (`[api1]`, `[api1, api2]`); empty when none is stated.
        record: Digest of the distribution's RECORD, part of the probe cache's key.
        problem: Why the entry point cannot be used; empty when it can.
    """

    name: str
    value: str
    distribution: str
    version: str
    record: str = ""
    module: str = ""
    attribute: str = ""
    api: tuple[int, ...] = ()
    problem: str = ""

    @property
    def qualified(self) -> str:
        """`distribution:name`."""
        return f"{self.distribution}:{self.name}"


def candidates(path: Sequence[str] | None = None) -> tuple[Candidate, ...]:
    """Return every entry point of the group, sorted by name and distribution.

    Args:
        path: Folders to look in; None = `sys.path`.
    """
    found = [candidate for distribution in _distributions(path) for candidate in _of(distribution)]
    return tuple(sorted(found, key=lambda candidate: (candidate.name, candidate.distribution)))


def api_refusal(api: Sequence[int]) -> str:
    """Say why a plugin for these API versions cannot be used; empty when it can. No version stated means version 1."""
    if API_VERSION in (api or (1,)):
        return ""
    wanted = ", ".join(str(version) for version in api)
    older = max(api) < API_VERSION
    return f"it was written for plugin API {wanted}, this kernel has {API_VERSION}: upgrade {'the plugin' if older else 'autorec-kernel'}"


def normalized(distribution: str) -> str:
    """Return the name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _distributions(path: Sequence[str] | None) -> Iterator[tuple[importlib.metadata.Distribution, str]]:
    """Yield the distributions whose entry points mention the group, the first of each name on the path."""
    seen: set[str] = set()
    for distribution in importlib.metadata.distributions(path=list(sys.path if path is None else path)):
        text = _read(distribution, "entry_points.txt")
        if GROUP not in text:
            continue
        name = _name(distribution)
        if normalized(name) not in seen:
            seen.add(normalized(name))
            yield distribution, name


def _of(found: tuple[importlib.metadata.Distribution, str]) -> Iterator[Candidate]:
    distribution, name = found
    version = _field(distribution, "Version")
    record = hashlib.sha256(_read(distribution, "RECORD").encode("utf-8", "surrogateescape")).hexdigest()
    try:
        points = [point for point in distribution.entry_points if point.group == GROUP]
    except Exception as error:  # a damaged file of one package must not hide the others
        yield Candidate(name, "", name, version, record, problem=f"its entry_points.txt cannot be read: {error}")
        return
    for point in points:
        yield _candidate(point.name, point.value, name, version, record)


def _candidate(name: str, value: str, distribution: str, version: str, record: str) -> Candidate:
    match = _VALUE.fullmatch(value.strip())
    if match is None:
        problem = f"its entry point is {value!r}; expected 'package.plugin [api{API_VERSION}]'"
        return Candidate(name, value, distribution, version, record, problem=problem)
    api = tuple(sorted({int(number) for number in re.findall(r"\bapi(\d+)\b", match["extras"] or "")}))
    problem = "" if NAME.fullmatch(name) else f"its name is {name!r}; expected lower-case letters, digits and hyphens"
    return Candidate(name, value, distribution, version, record, match["module"], match["attribute"] or "", api, problem)


def _read(distribution: importlib.metadata.Distribution, name: str) -> str:
    try:
        return distribution.read_text(name) or ""
    except (OSError, UnicodeError):
        return ""


def _name(distribution: importlib.metadata.Distribution) -> str:
    return _field(distribution, "Name") or "unknown"


def _field(distribution: importlib.metadata.Distribution, field: str) -> str:
    try:
        return str(distribution.metadata[field] or "")
    except Exception:  # missing or damaged METADATA: an unnamed distribution is still listed
        return ""
