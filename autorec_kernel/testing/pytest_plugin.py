"""`pytest --autorec-certify PLUGIN`: one test per component and law of an installed plugin. Light until the option is used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

__all__ = ["pytest_addoption", "pytest_collection", "pytest_collection_modifyitems"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.getgroup("autorec").addoption(
        "--autorec-certify",
        action="append",
        default=[],
        metavar="PLUGIN",
        help="judge the components of an installed AutoRec plugin (or one component, plugin/name) by their contracts, and nothing else",
    )


def pytest_collection(session: pytest.Session) -> None:
    """Leave out the suite's own tests when certifying."""
    if session.config.getoption("--autorec-certify"):
        session.config.args[:] = []


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the certification's tests in place of the collected ones."""
    names = config.getoption("--autorec-certify")
    if names:
        items[:] = [item for name in names for item in _Plugin.from_parent(session, name=name, nodeid=name).collect()]


class _Plugin(pytest.Collector):
    """The components of one plugin."""

    def collect(self) -> Iterator[pytest.Item]:
        from autorec_kernel.errors import AutoRecError
        from autorec_kernel.testing.certify import plugin_components
        from autorec_kernel.testing.host import host
        from autorec_kernel.testing.table import CHECKS

        kernel = host(None)
        rows = plugin_components(kernel, self.name)
        if not rows:
            raise pytest.UsageError(f"no installed plugin or component is called {self.name!r}; `autorec plugins list` names them")
        for row in rows:
            yield _Law.of(self, row, "component_loads", None)
            try:
                kernel.load(row.kind, row.id)
            except AutoRecError:
                continue  # the item above tells why
            for check in ("check_implements", *CHECKS[row.kind]) if row.kind in CHECKS else ():
                yield _Law.of(self, row, check.removeprefix("check_"), check)


class _Law(pytest.Item):
    """One law on one component."""

    row: Any
    check: str | None

    @classmethod
    def of(cls, parent: pytest.Collector, row: Any, name: str, check: str | None) -> _Law:
        """Return the test of a law."""
        item: _Law = cls.from_parent(parent, name=f"{row.id}::{name}")
        item.row, item.check = row, check
        return item

    def runtest(self) -> None:
        """Judge."""
        from autorec_kernel.testing.certify import configs_for, run_check
        from autorec_kernel.testing.host import host
        from autorec_kernel.testing.violation import Violation

        component = host(None).load(self.row.kind, self.row.id)
        if self.check is None:
            return
        configs = configs_for(self.row.kind, component)
        if not configs:
            raise Violation("its options have no defaults: name configs in a contract class to judge it by")
        result = run_check(self.row.kind, self.check, component, configs, host(None), self.row.id)
        if result.skipped:
            pytest.skip(result.message.removeprefix("skipped: "))
        if not result.ok:
            raise Violation(result.message)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> str:
        """Return the message alone: a stack of the kit tells an author nothing."""
        return f"{self.row.id}: {excinfo.value}"

    def reportinfo(self) -> tuple[str, int | None, str]:
        """Return where the test lives."""
        return self.row.id, None, self.name
