from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def quick_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """Verify bundles in this process; `check.verified_digest`, in a process of its own, has tests that put it back."""
    monkeypatch.setattr("autorec_serve.loaded.verified_digest", _verified_here)


def _verified_here(path: Path, require_digest: str = "", *, kernel: object = None) -> str:
    from autorec_kernel.serving import verify_bundle

    return verify_bundle(path, require_digest=require_digest).digest


@pytest.fixture(scope="session")
def served_bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two retrievers that answer differently, and a ranker that reads columns of an event."""
    from serve_kit import write_ranker, write_retriever

    base = tmp_path_factory.mktemp("served")
    return {
        "first": write_retriever(base / "first", 0),
        "second": write_retriever(base / "second", 1),
        "ranker": write_ranker(base / "ranker"),
    }


@pytest.fixture(scope="session")
def served_apps(served_bundles: dict[str, Path]) -> Iterator[dict[str, Any]]:
    """One `Served` a bundle; tests that change one make their own."""
    from serve_kit import serving

    with mock.patch("autorec_serve.loaded.verified_digest", _verified_here):
        found = {name: serving(path) for name, path in served_bundles.items()}
    yield found
    for one in found.values():
        one.close()
