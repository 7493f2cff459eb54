"""From registered plugins to rows: what a plugin gets wrong stays on its own row and never ends the kernel."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from autorec_kernel.kernel import Kernel
from autorec_kernel.markers import hookimpl
from autorec_kernel.registry import ComponentSpec, ExtensionPoint

SPEC = ComponentSpec("one", "collections:OrderedDict", "A thing.")


def _points(kind: str, hook: str) -> SimpleNamespace:
    return SimpleNamespace(autorec_extension_points=hookimpl(lambda: (ExtensionPoint(kind, hook, "", "A slot."),)))


@pytest.mark.parametrize("hook", ["autorec_stage_started", "autorec_open_dataset", "autorec_extension_points", "autorec_metrics"])
def test_a_new_kind_cannot_take_over_a_hook_of_the_kernel(hook: str) -> None:
    observer = SimpleNamespace(autorec_stage_started=hookimpl(lambda stage: None))
    kernel = Kernel({"observer": observer, "slots": _points("slot", hook)})
    rows = {row.name: row for row in kernel.plugins()}
    assert rows["slots"].status == "broken"
    assert f"takes over {hook!r}" in rows["slots"].reason
    assert rows["observer"].status == "ok"
    assert "slot" not in {point.kind for point in kernel.extension_points()}


def test_a_new_kind_with_a_hook_of_its_own_is_taken() -> None:
    kernel = Kernel({"slots": _points("slot", "autorec_slots")})
    assert (kernel.plugins()[0].status, kernel.extension_points()[-1].kind) == ("ok", "slot")


def test_a_marked_function_of_another_name_is_not_said_to_lack_its_mark() -> None:
    kernel = Kernel({"lambdas": SimpleNamespace(autorec_model_blocks=hookimpl(lambda: (SPEC,)))})
    assert kernel.plugins()[0].warnings == ()
    assert [row.id for row in kernel.components("model-block")] == ["lambdas/one"]


def test_a_marked_thing_that_is_no_function_is_said_to_be_none() -> None:
    row = Kernel({"partial": SimpleNamespace(autorec_model_blocks=hookimpl(partial(tuple, [SPEC])))}).plugins()[0]
    assert "no function but a partial" in row.warnings[0]


class _Hostile:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("go away")


class _Locked:
    def __getattribute__(self, name: str) -> Any:
        raise SystemExit("locked")


class _Lying:
    def __dir__(self) -> list[str]:
        raise RuntimeError("no list")


class _Moody:
    """Answers pluggy and refuses afterwards."""

    asked = 0

    def __dir__(self) -> list[str]:
        _Moody.asked += 1
        if _Moody.asked > 1:
            raise RuntimeError("not twice")
        return []


@pytest.mark.parametrize("hostile", [_Hostile, _Locked, _Lying, _Moody])
def test_a_hostile_object_is_a_broken_row_and_stops_no_other(hostile: type) -> None:
    good = SimpleNamespace(autorec_model_blocks=hookimpl(lambda: (SPEC,)))
    kernel = Kernel({"bad": hostile(), "good": good})
    bad, fine = kernel.plugins()
    assert bad.status == "broken"
    assert bad.reason
    assert (fine.status, fine.components) == ("ok", 1)
