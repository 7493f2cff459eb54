"""Pytest contract classes: subclass one, name the component and its configs, and every law of the kind is a test (`kernel` is optional).

class TestGate(ModelBlockContract):
component = Gate
configs = (Gate.Config(), Gate.Config(width=5))
exceptions = {"check_rows_are_independent": "normalises over the batch on purpose"}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from autorec_kernel.testing.certify import configs_for, run_check
from autorec_kernel.testing.table import CHECKS
from autorec_kernel.testing.violation import Violation

__all__ = [
    "BlueprintContract",
    "CompressorContract",
    "Contract",
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
]


class Contract:
    """Base of the contract classes.

    Attributes:
        component: The class under test.
        configs: What to judge it with; empty = its defaults, the corners of its domains, and what it proposes.
        kernel: Lends blocks, ops and blueprints to the checks; None = everything installed.
        exceptions: Name of a check → the reason why this component is exempt from it.
    """

    kind: ClassVar[str] = ""
    component: ClassVar[Any] = None
    configs: ClassVar[Sequence[Any]] = ()
    kernel: ClassVar[Any] = None
    exceptions: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if cls.kind and "component" not in vars(cls):
            for check in ("check_implements", *CHECKS[cls.kind]):
                setattr(cls, f"test_{check.removeprefix('check_')}", _test(check))
        cls.__test__ = cls.component is not None  # type: ignore[attr-defined]


def _test(check: str) -> Any:
    def test(self: Contract) -> None:
        kind = type(self)
        if check in kind.exceptions:
            return
        configs = tuple(kind.configs) or configs_for(kind.kind, kind.component)
        result = run_check(kind.kind, check, kind.component, configs, kind.kernel, kind.component.__name__)
        if result.skipped:
            import pytest

            pytest.skip(result.message.removeprefix("skipped: "))
        if not result.ok:
            raise Violation(f"{result.component}: {result.message}")

    test.__name__ = f"test_{check.removeprefix('check_')}"
    test.__doc__ = f"Law `{check}`."
    return test


class BlueprintContract(Contract):
    """Laws of blueprints."""

    kind = "blueprint"


class CompressorContract(Contract):
    """Laws of compressors."""

    kind = "compressor"


class EvaluatorContract(Contract):
    """Laws of evaluators."""

    kind = "evaluator"


class ExecutorContract(Contract):
    """Laws of executors."""

    kind = "executor"


class FeatureOpContract(Contract):
    """Laws of feature ops."""

    kind = "feature-op"


class FeatureSelectorContract(Contract):
    """Laws of feature selectors."""

    kind = "feature-selector"


class IndexContract(Contract):
    """Laws of indexes."""

    kind = "index"


class MetricContract(Contract):
    """Laws of metrics."""

    kind = "metric"


class ModelBlockContract(Contract):
    """Laws of model blocks."""

    kind = "model-block"


class PlannerContract(Contract):
    """Laws of planners."""

    kind = "planner"


class ReaderContract(Contract):
    """Laws of readers."""

    kind = "reader"


class SearchStrategyContract(Contract):
    """Laws of search strategies."""

    kind = "search-strategy"
