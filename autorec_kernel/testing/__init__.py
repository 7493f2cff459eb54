"""Conformance kit: laws every component keeps, as plain functions, as pytest contract classes and for the command line (no torch here)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autorec_kernel.testing.certify import CheckResult, check_component, check_plugin
    from autorec_kernel.testing.contracts import (
        BlueprintContract,
        CompressorContract,
        EvaluatorContract,
        ExecutorContract,
        FeatureOpContract,
        FeatureSelectorContract,
        IndexContract,
        MetricContract,
        ModelBlockContract,
        PlannerContract,
        ReaderContract,
        SearchStrategyContract,
    )
    from autorec_kernel.testing.violation import Violation

__all__ = [
    "BlueprintContract",
    "CheckResult",
    "CompressorContract",
    "EvaluatorContract",
    "ExecutorContract",
    "FeatureOpContract",
    "FeatureSelectorContract",
    "IndexContract",
    "MetricContract",
    "ModelBlockContract",
    "PlannerContract",
    "ReaderContract",
    "SearchStrategyContract",
    "Violation",
    "check_component",
    "check_plugin",
]

_HOMES = {"CheckResult": "certify", "check_component": "certify", "check_plugin": "certify", "Violation": "violation"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES.get(name, 'contracts')}"), name)
