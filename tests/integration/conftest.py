from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def reference(tmp_path_factory: Any) -> tuple[Path, Path, float]:
    """Return a small table, the folder of an undisturbed run on it with one worker, and its seconds."""
    from resume_kit import run_once, write_table

    root = tmp_path_factory.mktemp("undisturbed")
    table, began = write_table(root / "table.csv"), time.monotonic()
    assert run_once(root / "run", table) == 0, Path(f"{root / 'run'}.stderr").read_text()
    return table, root / "run", time.monotonic() - began
