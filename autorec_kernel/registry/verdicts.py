"""What is known of the import of each plugin: remembered by fingerprint, else found out by a probe."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.machinery import ModuleSpec
from typing import Any

from autorec_kernel.registry.cache import load_verdicts, store_verdicts
from autorec_kernel.registry.entrypoints import Candidate
from autorec_kernel.registry.faults import guarded
from autorec_kernel.registry.probe import Verdict, probe

__all__ = ["verdicts_of"]

_RETRY_SECONDS = 3600.0  # a verdict slow or dies is tried again after this long; a busy machine is not held against a plugin


def verdicts_of(loadable: Sequence[Candidate], seconds: float) -> dict[Candidate, Verdict]:
    """Return what is known of the import of each candidate: remembered, or probed now.

    Args:
        loadable: Plugins that are about to be imported.
        seconds: Wall-clock limit of one import.
    """
    stored = load_verdicts() if loadable else {}
    keys = {candidate: _fingerprint(candidate) for candidate in loadable}
    verdicts = {candidate: _remembered(stored.get(keys[candidate])) for candidate in loadable}
    unseen = [candidate for candidate in loadable if verdicts[candidate] is None and candidate.module not in sys.modules]
    fresh = probe([candidate.module for candidate in unseen], seconds) if unseen else {}
    lasting = {
        keys[candidate]: {"outcome": verdict.outcome, "reason": verdict.reason, "effects": list(verdict.effects)}
        for candidate in unseen
        if (verdict := fresh[candidate.module]).outcome in ("imports", "slow", "dies")
    }
    store_verdicts(lasting)
    return {candidate: verdicts[candidate] or fresh.get(candidate.module, Verdict("unprobed")) for candidate in loadable}


def _remembered(stored: Mapping[str, Any] | None) -> Verdict | None:
    if not stored or stored.get("outcome") not in ("imports", "slow", "dies"):
        return None
    age = time.time() - float(stored.get("at", 0))
    if stored["outcome"] != "imports" and not 0 <= age < _RETRY_SECONDS:
        return None
    return Verdict(stored["outcome"], str(stored.get("reason", "")), tuple(map(str, stored.get("effects", ()))))


def _fingerprint(candidate: Candidate) -> str:
    """Digest what decides how the import goes: an upgrade changes the RECORD, an edit the file times."""
    files = [(spec.origin, *_stamp(spec.origin)) for spec in _locate(candidate.module)]
    facts = [candidate.distribution, candidate.version, candidate.record, candidate.value, files, sys.version]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _stamp(origin: str | None) -> tuple[int, int]:
    try:
        facts = os.stat(origin or "")
    except OSError:
        return (0, 0)
    return (facts.st_mtime_ns, facts.st_size)


def _locate(module: str) -> tuple[ModuleSpec, ...]:
    """Return the specs of a module and its parent packages, outermost first, without importing any; shorter if one is not found."""
    found: list[ModuleSpec] = []
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        path = list(found[-1].submodule_search_locations or []) if found else None
        spec = _find(".".join(parts[:depth]), path)
        if spec is None:
            break
        found.append(spec)
    return tuple(found)


def _find(name: str, path: list[str] | None) -> ModuleSpec | None:
    for finder in sys.meta_path:
        find: Callable[..., ModuleSpec | None] | None = getattr(finder, "find_spec", None)
        spec = guarded(partial(find, name, path))[0] if find else None
        if isinstance(spec, ModuleSpec):
            return spec
    return None
