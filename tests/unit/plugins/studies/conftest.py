from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from studies_kit import KERNEL, searched, write_table

from autorec_kernel.kernel import Kernel


@pytest.fixture(scope="session")
def here() -> Kernel:
    """Return a kernel that trains in this process."""
    return KERNEL


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(tmp_path_factory.mktemp("table") / "table.csv")


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory, table: Path) -> Iterator[Path]:
    """Return a folder with nothing but the journal of a search with a promotion; all its artefacts are gone."""
    folder = searched(tmp_path_factory.mktemp("run") / "whole", table)
    bare = folder.with_name("bare")
    bare.mkdir()
    (folder / "journal.jsonl").rename(bare / "journal.jsonl")
    yield bare
