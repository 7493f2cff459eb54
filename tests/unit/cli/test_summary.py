"""What a run says when it has ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autorec_kernel.cli import summary


def result(*steps: tuple[str, bool, str]) -> dict[str, Any]:
    told = [{"component": name, "taken": taken, "reason": reason} for name, taken, reason in steps]
    return {
        "verdict": "better",
        "best": {"architecture": "[a]", "trial": 0},
        "compressed": {"bytes": {"before": 2048, "after": 1024}, "steps": told},
        "stages": {"total": 3.0},
        "trials": {"complete": 1},
        "certificate": {},
        "bundle": {"path": "bundle", "bytes": 4096},
    }


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ((("a/one", True, "it pays"), ("b/two", False, "no time is left")), "(a/one)"),
        ((("a/one", False, "it proposes nothing"),), "(no step paid off)"),
        ((("a/one", False, "it loses"), ("b/two", False, "no time is left")), "(no step: there was no time to try 1 of them)"),
    ],
)
def test_what_was_not_tried_is_not_told_as_what_did_not_pay(steps: Any, told: str) -> None:
    (line,) = (line for line in summary._outcome(result(*steps), Path("run")) if line.startswith("size:"))
    assert line.endswith(f"after {told}")
