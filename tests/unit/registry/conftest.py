"""Fixtures of the registry tests: distributions that exist for one test, and the kernel that sees only them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from autorec_kernel.kernel import Kernel
from autorec_kernel.registry import PluginRow
from autorec_kernel.testing.fixtures import FakeSite
from autorec_kernel.testing.fixtures import fake_distribution as fake_distribution


@pytest.fixture
def discover(fake_distribution: FakeSite) -> Callable[..., Kernel]:
    """Discover the fake distributions only."""
    return lambda **options: Kernel.discover(path=[str(fake_distribution.folder)], **options)


@pytest.fixture
def row(discover: Callable[..., Kernel]) -> Callable[..., PluginRow]:
    """Discover and return the row of one plugin."""
    return lambda name, **options: {row.name: row for row in discover(**options).plugins()}[name]
