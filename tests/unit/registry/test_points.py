"""The table of kinds and the map of hooks agree with each other and with the contracts."""

from __future__ import annotations

import inspect

import pytest

from autorec_kernel import hookspecs
from autorec_kernel.registry import ExtensionPoint
from autorec_kernel.registry.loading import resolve
from autorec_kernel.registry.points import KERNEL_POINTS


@pytest.mark.parametrize("point", KERNEL_POINTS, ids=lambda point: point.kind)
def test_every_kind_has_its_hook_in_the_map(point: ExtensionPoint) -> None:
    assert inspect.signature(getattr(hookspecs, point.hook)).parameters == {}


@pytest.mark.parametrize("point", [point for point in KERNEL_POINTS if point.contract], ids=lambda point: point.kind)
def test_every_contract_can_be_imported(point: ExtensionPoint) -> None:
    assert getattr(resolve(point.contract, point.kind), "_is_protocol", False)


def test_every_hook_says_when_it_is_called_and_what_happens_to_the_result() -> None:
    hooks = {name: hook for name, hook in vars(hookspecs).items() if name.startswith("autorec_")}
    assert all((hook.__doc__ or "").count(".") >= 2 and "alled" in hook.__doc__ for hook in hooks.values())
