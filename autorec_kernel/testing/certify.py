"""Run the laws of a kind on a component, or of all kinds on a plugin, and tell each outcome."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import AutoRecError, UnknownNameError
from autorec_kernel.testing.configs import describe, variants
from autorec_kernel.testing.table import CHECKS, HOMES, ONCE
from autorec_kernel.testing.violation import Skipped

if TYPE_CHECKING:
    from autorec_kernel.kernel import Kernel
    from autorec_kernel.registry import ComponentRow

__all__ = ["CheckResult", "check_component", "check_plugin", "configs_for", "plugin_components", "run_check"]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The outcome of one check on one component.

    Args:
        component: Its id, or the name of its class.
        check: Name of the check without `check_`.
        ok: Whether the law holds.
        message: What was broken, with which config, or why it was skipped; empty when it holds.
        skipped: Whether the check could not be run; `ok` is then true and proves nothing.
    """

    component: str
    check: str
    ok: bool
    message: str = ""
    skipped: bool = False

    @property
    def outcome(self) -> str:
        """The verdict in one word: ok, skipped or FAILED."""
        return "skipped" if self.skipped else "ok" if self.ok else "FAILED"

    def __str__(self) -> str:
        return f"{self.outcome:<6} {self.component} {self.check}" + (f": {self.message}" if self.message else "")


def check_plugin(kernel: Kernel, name: str) -> list[CheckResult]:
    """Judge a plugin, or one component, by every law of its kinds.

    Args:
        kernel: Where it is installed; it also lends the blocks, ops and blueprints that a check needs.
        name: A plugin, or a component as `plugin/name` or name.

    Returns:
        One result per component and check, the ones that failed, the ones that hold and the ones that could not be run.

    Raises:
        UnknownNameError: No plugin and no component is called so.
    """
    results = [_plugin_result(row) for row in kernel.plugins() if name in (row.name, row.distribution)]
    rows = plugin_components(kernel, name)
    if not results and not rows:
        known = {row.name for row in kernel.plugins()} | {
            row.id for point in kernel.extension_points() for row in kernel.components(point.kind)
        }
        raise UnknownNameError("plugin or component", name, known)
    return results + [result for row in rows for result in _row_results(kernel, row)]


def check_component(
    kind: str, component: Any, configs: Sequence[ComponentConfig] = (), *, kernel: Kernel | None = None, name: str = ""
) -> list[CheckResult]:
    """Judge one class by every law of its kind.

    Args:
        kind: `model-block`, `feature-op`, …
        configs: What to judge it with; empty = its defaults, the corners of its domains, and what it proposes.
        kernel: Lends blocks, ops and blueprints; None = everything installed.
        name: How results call it; empty = the name of the class.
    """
    if kind not in CHECKS:
        raise UnknownNameError("kind with a contract", kind, CHECKS)
    called = name or getattr(component, "__name__", str(component))
    try:
        judged = tuple(configs) or configs_for(kind, component)
    except Exception as error:
        return [CheckResult(called, "configs", False, f"its configs cannot be made: {type(error).__name__}: {error}")]
    if not judged:
        reason = (
            "it proposes nothing on the example data" if kind == "feature-op" else "options without a default: name configs to judge it by"
        )
        idle = kind == "feature-op"
        return [CheckResult(called, "configs", idle, f"skipped: {reason}" if idle else reason, idle)]
    return [run_check(kind, check, component, judged, kernel, called) for check in ("check_implements", *CHECKS[kind])]


def run_check(kind: str, check: str, component: Any, configs: Sequence[Any], kernel: Kernel | None, name: str) -> CheckResult:
    """Run one check with every config; the first that fails is told."""
    function = getattr(importlib.import_module(f"autorec_kernel.testing.checks.{HOMES[check]}"), check)
    for config in configs[: 1 if check in ONCE else None]:
        third = _contract(kind) if check == "check_implements" else kernel
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                function(component, config, third)
        except Skipped as reason:
            return CheckResult(name, check.removeprefix("check_"), True, f"skipped: {reason}", skipped=True)
        except Exception as error:
            told = str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
            shown = describe(config)
            return CheckResult(name, check.removeprefix("check_"), False, f"{told} [with {shown}]" if shown else told)
    return CheckResult(name, check.removeprefix("check_"), True)


def configs_for(kind: str, component: Any) -> tuple[ComponentConfig, ...]:
    """Return the configs to judge a component by: what a feature op proposes, the defaults and corners of anything else."""
    if kind != "feature-op":
        return variants(component.Config)
    from autorec_kernel.testing.feature_cases import proposals_of

    proposed = {proposal.config.model_dump_json(): proposal.config for _, _, proposal in proposals_of(component)}
    return tuple(proposed.values()) or variants(component.Config)[:1]


def plugin_components(kernel: Kernel, name: str) -> tuple[ComponentRow, ...]:
    """Return the components of a plugin, or those called `name`."""
    rows = [row for point in kernel.extension_points() for row in kernel.components(point.kind)]
    return tuple(row for row in rows if name in (row.plugin, row.distribution)) or tuple(row for row in rows if name in (row.id, row.name))


def _plugin_result(row: Any) -> CheckResult:
    told = "; ".join([row.reason, *row.warnings]).strip("; ")
    return CheckResult(row.name, "plugin_loads", row.status == "ok" and not row.warnings, told)


def _row_results(kernel: Kernel, row: ComponentRow) -> Iterator[CheckResult]:
    if not row.usable:
        yield CheckResult(row.id, "component_loads", False, f"{row.reason}: {row.install}".strip(": "))
        return
    try:
        component = kernel.load(row.kind, row.id)
    except AutoRecError as error:
        yield CheckResult(row.id, "component_loads", False, str(error))
        return
    yield CheckResult(row.id, "component_loads", True)
    own = next((point.check for point in kernel.extension_points() if point.kind == row.kind and point.check), "")
    if row.kind in CHECKS:
        yield from check_component(row.kind, component, kernel=kernel, name=row.id)
    elif own:
        yield _own_check(own, component, row.id)


def _own_check(target: str, component: Any, name: str) -> CheckResult:
    """Run the check that an extension point of a plugin names: a function of the component."""
    module, _, function = target.partition(":")
    try:
        getattr(importlib.import_module(module), function)(component)
    except Skipped as reason:
        return CheckResult(name, function.removeprefix("check_"), True, f"skipped: {reason}", skipped=True)
    except Exception as error:
        return CheckResult(name, function.removeprefix("check_"), False, f"{type(error).__name__}: {error}")
    return CheckResult(name, function.removeprefix("check_"), True)


def _contract(kind: str) -> str:
    from autorec_kernel.registry.points import KERNEL_POINTS

    return next(point.contract for point in KERNEL_POINTS if point.kind == kind)
