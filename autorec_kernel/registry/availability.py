"""Whether the optional packages of a component are there, found out without importing them."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterable

__all__ = ["install_command", "missing"]


def missing(requires: Iterable[str]) -> tuple[str, ...]:
    """Return those of `requires` (names as pip or import calls them) that are not installed."""
    return tuple(package for package in requires if not _present(package))


def install_command(distribution: str, extra: str, packages: Iterable[str]) -> str:
    """Return the pip command that brings `packages`: through the extra of the declaring distribution where there is one."""
    if extra and distribution:
        return f'pip install "{distribution}[{extra}]"'
    return f"pip install {' '.join(packages)}"


def _present(package: str) -> bool:
    module = package.replace("-", "_").partition(".")[0]
    if module in sys.modules:
        return sys.modules[module] is not None  # None is how an import is forbidden
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        spec = None
    return (spec is not None and spec.origin is not None) or _distributed(package)


def _distributed(package: str) -> bool:
    try:
        importlib.metadata.distribution(package)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return False
    return True
