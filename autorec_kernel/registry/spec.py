"""What a plugin declares: components, and extension points for kinds of its own."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from autorec_kernel.errors import ContractError

__all__ = ["ComponentSpec", "ExtensionPoint"]

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
TARGET = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
HOOK = re.compile(r"autorec_[a-z0-9_]+")
PACKAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class ComponentSpec:
    """The declaration of one component: enough to list it, nothing that must be imported.

    Args:
        name: Lower case with hyphens; the component's id is `plugin/name`.
        target: `package.module:Class`, imported when the component is first used.
        summary: One sentence ending in a full stop; `autorec plugins list` prints it.
        requires: Names of optional packages (as pip or import calls them); without them the component is listed as unavailable.
        extra: The pip extra of the declaring distribution that brings `requires`.
        tags: Free labels. The kernel reads `baseline` and `later` (blueprints: fitted first of all; not among the first candidates)
            and `default` and `fallback` (evaluators, strategies, executors).

    Raises:
        ContractError: A field does not have this form.
    """

    name: str
    target: str
    summary: str
    requires: tuple[str, ...] = ()
    extra: str = ""
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        where = f"component {self.name!r}"
        object.__setattr__(self, "requires", _texts(self.requires, "requires", where))
        object.__setattr__(self, "tags", _texts(self.tags, "tags", where))
        _match(NAME, self.name, "name", "lower-case letters, digits and hyphens", where)
        _match(TARGET, self.target, "target", "'package.module:Class'", where)
        _sentence(self.summary, where)
        for package in self.requires:
            _match(PACKAGE, package, "requires", "plain package names", where)


@dataclass(frozen=True, slots=True)
class ExtensionPoint:
    """One kind of component: a row of the table that listing, look-up, configs and checks are driven by.

    Args:
        kind: Lower case with hyphens, singular: `model-block`.
        hook: The declaration hook: no arguments, returns a tuple of `ComponentSpec`.
        contract: `package.module:Protocol` that the components implement; empty when they are plain functions.
        summary: One sentence ending in a full stop.
        check: `package.module:function` of the conformance check; empty when there is none.

    Raises:
        ContractError: A field does not have this form.
    """

    kind: str
    hook: str
    contract: str
    summary: str
    check: str = ""

    def __post_init__(self) -> None:
        where = f"extension point {self.kind!r}"
        _match(NAME, self.kind, "kind", "lower-case letters, digits and hyphens", where)
        _match(HOOK, self.hook, "hook", "'autorec_' and lower-case letters", where)
        _sentence(self.summary, where)
        for field, value in (("contract", self.contract), ("check", self.check)):
            if value:
                _match(TARGET, value, field, "'package.module:Name'", where)


def _match(pattern: re.Pattern[str], value: object, field: str, form: str, where: str) -> None:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ContractError(f"{field} is {value!r}; expected {form}", where=where)


def _sentence(summary: object, where: str) -> None:
    if not isinstance(summary, str) or not summary.strip().endswith(".") or "\n" in summary:
        raise ContractError(f"summary is {summary!r}; expected one sentence that ends in a full stop", where=where)


def _texts(values: Iterable[str], field: str, where: str) -> tuple[str, ...]:
    if isinstance(values, str) or not all(isinstance(value, str) for value in values):
        raise ContractError(f"{field} is {values!r}; expected a tuple of strings", where=where)
    return tuple(values)
