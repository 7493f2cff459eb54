"""The kit's own parts: fingerprints, surroundings, configs, certification."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Annotated

import numpy as np
import pytest
import torch
from pydantic import Field
from typer.testing import CliRunner

from autorec_kernel.cli import plugins
from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import UnknownNameError
from autorec_kernel.features.compare import affine, monotone
from autorec_kernel.kernel import Kernel
from autorec_kernel.markers import hookimpl
from autorec_kernel.registry import ComponentSpec, ExtensionPoint
from autorec_kernel.space import Bool, Choice, Float, Int, Ints
from autorec_kernel.testing import CheckResult, ModelBlockContract, Violation, check_component, check_plugin
from autorec_kernel.testing.certify import run_check
from autorec_kernel.testing.configs import variants
from autorec_kernel.testing.snapshots import first_difference, leaves
from autorec_kernel.testing.surroundings import another_world, globals_kept
from autorec_kernel.testing.table import CHECKS, HOMES, ONCE
from autorec_search.random_search import RandomSearch


@pytest.mark.parametrize(
    "change",
    [
        lambda world: world["array"].__setitem__(0, 9),
        lambda world: world["list"].append(1),
        lambda world: world["map"].update(b=2),
        lambda world: world["map"].update(a=1.0),
        lambda world: world["module"].weight.data.mul_(2),
        lambda world: world["module"].train(),
        lambda world: world["module"].register_forward_hook(print),
        lambda world: world["module"].weight.requires_grad_(False),
        lambda world: world["objects"].__setitem__(0, "b"),
    ],
)
def test_every_change_of_a_value_shows_in_its_fingerprint(change: object) -> None:
    module = torch.nn.Linear(2, 2).eval()
    world = {"array": np.zeros(3), "list": [], "map": {"a": 1}, "module": module, "objects": np.array(["a"], dtype=object)}
    before = list(leaves(world))
    assert first_difference(before, list(leaves(world))) is None
    change(world)  # type: ignore[operator]
    assert first_difference(before, list(leaves(world))) is not None


def test_another_world_moves_seeds_and_clocks_and_puts_them_back() -> None:
    states, now = (random.getstate(), torch.get_rng_state()), time.time
    with another_world(3):
        assert time.time() - now() > 3600
        random.random(), np.random.random(), torch.rand(1)
    assert time.time is now
    assert random.getstate() == states[0]
    assert torch.equal(torch.get_rng_state(), states[1])


@pytest.mark.parametrize("draw", [random.random, np.random.random, lambda: torch.rand(1)])
def test_a_draw_from_a_global_generator_is_a_violation(draw: object) -> None:
    with another_world(1), pytest.raises(Violation, match="fit used or seeded"), globals_kept("fit"):
        draw()  # type: ignore[operator]


def test_variants_are_the_defaults_the_corners_and_a_draw() -> None:
    class Config(ComponentConfig):
        rank: Annotated[int, Int(2, 64, log=True)] = Field(8, description="x")
        rate: Annotated[float, Float(0.0, 1.0)] = Field(0.5, description="x")
        dims: Annotated[tuple[int, ...], Ints(Int(1, 8), length=Int(1, 3))] = Field((4,), description="x")
        mode: Annotated[str, Choice("a", "b")] = Field("a", description="x")
        flag: Annotated[bool, Bool()] = Field(True, description="x")

    default, low, high, drawn = variants(Config)
    assert default == Config()
    assert low == Config(rank=2, rate=0.0, dims=(1,), mode="a", flag=False)
    assert high == Config(rank=64, rate=1.0, dims=(8, 8, 8), mode="b", flag=True)
    assert drawn not in (default, low, high)


def test_a_scale_may_move_but_an_order_may_not() -> None:
    old = np.array([0.0, 1.0, 2.0, 5.0])
    assert affine(old, 3 * old - 1)
    assert not affine(old, old + np.array([0.0, 0.0, 1e-2, 0.0]))
    assert not affine(old, -old)
    assert monotone(old, np.log1p(old))
    assert not monotone(old, np.array([0.0, 2.0, 1.0, 5.0]))


def test_every_law_has_a_home_and_every_kind_its_laws() -> None:
    kinds = {point.kind for point in Kernel().extension_points() if point.contract}
    assert kinds == set(CHECKS)
    assert {check for checks in CHECKS.values() for check in checks} <= set(HOMES)
    assert set(HOMES) >= ONCE


def test_every_law_is_a_plain_function() -> None:
    from autorec_kernel.testing import checks

    assert {name for name in checks.__all__ if not callable(getattr(checks, name))} == set()
    with pytest.raises(AttributeError):
        checks.check_nothing  # noqa: B018


def test_an_unknown_name_gets_the_nearest_one() -> None:
    kernel = Kernel(plugins={"steady": SimpleNamespace()})
    with pytest.raises(UnknownNameError, match="did you mean 'steady'"):
        check_plugin(kernel, "stedy")


def test_a_component_that_cannot_be_judged_says_why() -> None:
    class Needy:
        class Config(ComponentConfig):
            column: str = Field(description="A column.")

    (result,) = check_component("metric", Needy)
    assert (result.ok, result.component) == (False, "Needy")
    assert "without a default" in result.message


def test_a_result_reads_as_one_line() -> None:
    assert str(CheckResult("a/b", "law", False, "broken")) == "FAILED a/b law: broken"
    assert str(CheckResult("a/b", "law", True)) == "ok     a/b law"
    assert str(CheckResult("a/b", "law", True, "skipped: no", skipped=True)) == "skipped a/b law: skipped: no"


class _Slots:
    @hookimpl
    def autorec_extension_points(self) -> tuple[ExtensionPoint, ...]:
        return (ExtensionPoint("slot", "autorec_slots", "", "A slot.", f"{__name__}:refuse"),)

    @hookimpl
    def autorec_slots(self) -> tuple[ComponentSpec, ...]:
        return (ComponentSpec("one", "collections:OrderedDict", "A slot."),)


def test_the_check_of_a_plugins_own_kind_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, __name__, SimpleNamespace(refuse=_refuse))
    results = {result.check: result for result in check_plugin(Kernel(plugins={"slots": _Slots()}), "slots/one")}
    assert results["component_loads"].ok
    assert "too round" in results["refuse"].message


def _refuse(component: object) -> None:
    raise ValueError("too round")


@pytest.mark.parametrize(("module", "name"), [("__main__", "Mine"), (__name__, "f.<locals>.Mine"), ("a_module_of_nobody", "Mine")])
def test_a_component_that_no_other_process_can_import_is_skipped_and_not_passed(module: str, name: str) -> None:
    mine = type("Mine", (RandomSearch,), {"__module__": module, "__qualname__": name})
    config = mine.Config()
    result = run_check("search-strategy", "check_proposals_repeat_in_another_process", mine, (config,), None, "mine")
    assert (result.ok, result.skipped, result.outcome) == (True, True, "skipped")
    assert "cannot be imported by another process" in result.message


def test_a_skipped_law_is_a_skipped_test(monkeypatch: pytest.MonkeyPatch) -> None:
    skipped = CheckResult("a", "law", True, "skipped: it lives here only", skipped=True)
    monkeypatch.setattr("autorec_kernel.testing.contracts.run_check", lambda *given: skipped)

    class Reduced(ModelBlockContract):
        component = dict
        configs = (None,)

    with pytest.raises(pytest.skip.Exception, match="it lives here only"):
        Reduced().test_implements()


def test_the_command_prints_and_counts_what_was_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    results = [CheckResult("a/b", "one", True), CheckResult("a/b", "two", True, "skipped: no", skipped=True)]
    monkeypatch.setattr("autorec_kernel.testing.certify.check_plugin", lambda *given: results)
    ended = CliRunner().invoke(plugins.app, ["check", "a"], obj=Kernel())
    shown = CliRunner().invoke(plugins.app, ["check", "a", "--json"], obj=Kernel())
    assert (ended.exit_code, shown.exit_code) == (0, 0)
    assert "skipped" in ended.stdout
    assert "1 of 2 checks passed, 1 skipped" in ended.output
    assert [one["skipped"] for one in json.loads(shown.stdout)] == [False, True]


def test_a_known_exception_is_not_run_and_the_rest_is() -> None:
    class Reduced(ModelBlockContract):
        component = dict
        exceptions = {"check_implements": "it is a dict"}  # noqa: RUF012

    Reduced().test_implements()
    with pytest.raises(AttributeError):
        Reduced().test_output_allocates_nothing()


def test_a_base_class_of_contracts_is_no_test_itself() -> None:
    assert not ModelBlockContract.__test__
    assert ModelBlockContract.component is None


def test_importing_the_kit_loads_nothing_heavy() -> None:
    script = (
        "import sys, autorec_kernel.testing, autorec_kernel.testing.table; "
        "heavy = {'torch', 'pandas', 'optuna', 'onnx', 'scipy', 'numpy', 'pytest'} & set(sys.modules); "
        "import autorec_kernel.testing.pytest_plugin; "
        "sys.exit(repr(heavy | ({'torch', 'numpy', 'pandas'} & set(sys.modules))) if heavy or 'torch' in sys.modules else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
