from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from autorec_kernel.kernel import Kernel
from autorec_kernel.testing.network_cases import suited


@pytest.fixture(scope="session")
def suits(kernel: Kernel) -> Callable[[Any], Any]:
    """Return the tiny feature set that suits a blueprint."""

    def find(blueprint: Any) -> Any:
        found = suited(blueprint, kernel)
        assert found is not None, "no example data suits this blueprint"
        return found[1]

    return find
