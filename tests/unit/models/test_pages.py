"""Kept pages: a step that repeats asks the system for no fresh memory, and a machine without glibc trains all the same."""

from __future__ import annotations

import ctypes
import resource
import sys

import pytest
import torch

from autorec_kernel.models import pages
from autorec_kernel.models.pages import kept_pages


@pytest.mark.skipif(not sys.platform.startswith("linux") or not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="glibc only")
def test_a_repeated_step_touches_no_fresh_pages() -> None:
    def step() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        held = [torch.ones(1_500_000) for _ in range(6)]  # 36 MB in all, more than glibc keeps of its own accord
        del held
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    with kept_pages():
        step()
        assert min(step() for _ in range(3)) < 3_000  # of 8,800 pages


def test_training_goes_on_where_the_c_library_has_no_such_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "_library", lambda: None)
    with kept_pages():
        assert torch.ones(3).sum() == 3
