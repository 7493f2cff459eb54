"""Every first-party component keeps every law of its kind: the kit raises no false alarm on what comes in through our entry points."""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points

import pytest

from autorec_kernel.kernel import Kernel
from autorec_kernel.testing import check_plugin
from autorec_kernel.testing.table import CHECKS

PLUGINS = sorted(point.name for point in entry_points(group="autorec.plugins") if point.dist and point.dist.name == "autorec-kernel")

LONG = {  # four seconds and more each; quicker ones meet their kinds and packages, but for `executor`, `reinforce` and `workers`
    "blueprint:baselines/ials",
    "blueprint:zoo/ple",
    "compressor:prune/history",
    "compressor:prune/magnitude",
    "compressor:prune/width",
    "executor:workers/local",
    "feature-op:features/groups",
    "feature-op:features/leanings",
    "model-block:blocks/als-items",
    "model-block:blocks/attention-gru",
    "model-block:blocks/capsules",
    "model-block:blocks/continued-gru",
    "model-block:blocks/dilated-convolution",
    "model-block:blocks/encoder",
    "model-block:blocks/experts",
    "model-block:blocks/fold-in",
    "model-block:blocks/gru",
    "model-block:blocks/lstm",
    "model-block:cascade/rerank",
    "search-strategy:reinforce/controller",
    "search-strategy:search/auto",
}


@cache
def kernel() -> Kernel:
    return Kernel.discover(allowed=PLUGINS)


def components() -> list[str]:
    rows = [row for kind in CHECKS for row in kernel().components(kind)]
    return sorted(f"{row.kind}:{row.id}" for row in rows if row.usable)


def test_every_first_party_plugin_loads() -> None:
    assert {row.name: row.reason for row in kernel().plugins() if row.status != "ok"} == {}
    assert {row.name: row.warnings for row in kernel().plugins() if row.warnings} == {}


@pytest.mark.parametrize("component", [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in components()])
def test_a_first_party_component_keeps_the_laws_of_its_kind(component: str) -> None:
    results = check_plugin(kernel(), component.partition(":")[2])
    assert [str(result) for result in results if not result.ok] == []
