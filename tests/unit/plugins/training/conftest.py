"""What tests of single commands share: a small table, and the command line as a function."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from autorec_kernel.cli.main import main


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """400 ratings of 30 items by 20 users, in order of time, with a price that says nothing."""
    rng = np.random.default_rng(0)
    rows = [f"{rng.integers(20)},{rng.integers(30)},{rng.integers(1, 6)},{n},{rng.normal():.3f}" for n in range(400)]
    path = tmp_path / "ratings.csv"
    path.write_text("user_id,item_id,rating,timestamp,price\n" + "\n".join(rows) + "\n")
    return path


@pytest.fixture
def autorec(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command line; return exit code, output and messages."""

    def run(*words: object) -> tuple[int, str, str]:
        code = main([*map(str, words)])
        return (code, *capfd.readouterr())

    return run
