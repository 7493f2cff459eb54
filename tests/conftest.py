"""What the whole suite shares: single-threaded mathematics and the marker of tests that need a first-party plugin."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")

_HERE = Path(__file__).parent
_NEED_PLUGINS = ("contracts", "integration", "docs", "unit/plugins")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    folders = [_HERE / name for name in _NEED_PLUGINS]
    for item in items:
        if any(item.path.is_relative_to(folder) for folder in folders):
            item.add_marker(pytest.mark.plugins)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--distributions", default="dist", help="Folder of built distributions to check.")
