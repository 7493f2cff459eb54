"""AutoRec kernel: the road from a table of interactions to a small, fast, verified recommender; everything along it is a plugin."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autorec_kernel.config import ComponentConfig as ComponentConfig
    from autorec_kernel.errors import AutoRecError as AutoRecError
    from autorec_kernel.kernel import Kernel as Kernel
    from autorec_kernel.markers import hookimpl as hookimpl
    from autorec_kernel.registry import ComponentSpec as ComponentSpec

_HOMES = {
    "AutoRec": "autorec_kernel.estimator",
    "AutoRecError": "autorec_kernel.errors",
    "ComponentConfig": "autorec_kernel.config",
    "ComponentSpec": "autorec_kernel.registry",
    "Kernel": "autorec_kernel.kernel",
    "hookimpl": "autorec_kernel.markers",
}

__all__ = ["AutoRec", "AutoRecError", "ComponentConfig", "ComponentSpec", "Kernel", "__version__", "hookimpl"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562), so that `import autorec_kernel` costs nothing."""
    if name == "__version__":
        from importlib.metadata import version

        return version("autorec-kernel")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
