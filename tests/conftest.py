"""What the whole suite shares: single-threaded mathematics, the marker of tests that need a first-party plugin, one file to one worker."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")

for _name in ("SIGINT", "SIGHUP"):  # a suite started in the background inherits them ignored, and so would the processes under test
    _signal = getattr(signal, _name, None)
    if _signal is not None and signal.getsignal(_signal) == signal.SIG_IGN:
        signal.signal(_signal, signal.default_int_handler if _name == "SIGINT" else signal.SIG_DFL)

_HERE = Path(__file__).parent
_NEED_PLUGINS = ("contracts", "integration", "docs", "unit/plugins")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    folders = [_HERE / name for name in _NEED_PLUGINS]
    for item in items:
        if any(item.path.is_relative_to(folder) for folder in folders):
            item.add_marker(pytest.mark.plugins)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each worker whole files, so that what a module prepares is prepared once; `--dist` names another way."""
    from xdist.scheduler import LoadFileScheduling

    return LoadFileScheduling(config, log) if config.getoption("dist") == "load" else None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--distributions", default="dist", help="Folder of built distributions to check.")
