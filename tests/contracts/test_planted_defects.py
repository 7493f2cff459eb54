"""The kit catches every planted defect by the law it breaks, and raises no alarm on the twin that keeps it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from autorec_kernel.kernel import Kernel
from autorec_kernel.testing import check_plugin

# component: (defect, law that must catch it)
CAUGHT_BY = {
    "mutates-events": ("mutated inputs", "fit_leaves_inputs_alone"),
    "mutates-steps": ("mutated inputs", "module_leaves_inputs_alone"),
    "mutates-trials": ("mutated inputs", "trials_stay_as_they_were"),
    "leaks-item-mean": ("leaking the future", "future_changes_no_past"),
    "leaks-history": ("leaking the future", "future_changes_no_past"),
    "leaks-vocabulary": ("leaking the future", "future_changes_no_past"),
    "shape-of-one": ("wrong shapes", "module_gives_what_output_says"),
    "shape-of-width": ("wrong shapes", "module_gives_what_output_says"),
    "shape-of-feature": ("wrong shapes", "features_are_as_declared"),
    "dead-unused": ("dead parameters", "gradient_reaches_every_parameter"),
    "dead-detached": ("dead parameters", "gradient_reaches_every_parameter"),
    "dead-under-dropout": ("dead parameters", "gradient_reaches_every_parameter"),
    "invalid-leftovers": ("invalid genotypes", "proposals_are_legal"),
    "invalid-after-failure": ("invalid genotypes", "proposals_are_legal"),
    "invalid-outside": ("invalid genotypes", "proposals_are_legal"),
    "random-global": ("non-deterministic proposals", "sessions_are_pure"),
    "random-set-order": ("non-deterministic proposals", "proposals_repeat_in_another_process"),
    "random-memory": ("non-deterministic proposals", "sessions_are_pure"),
    "changes-weights": ("changed input model", "compressor_leaves_the_model_alone"),
    "changes-by-sharing": ("changed input model", "compressor_leaves_the_model_alone"),
    "changes-mode": ("changed input model", "compressor_leaves_the_model_alone"),
    "unserialisable-program": ("unserialisable state", "program_is_data"),
    "unserialisable-tensor": ("unserialisable state", "state_survives_safetensors"),
    "unserialisable-reason": ("unserialisable state", "proposals_are_explained"),
}


@pytest.fixture(scope="module")
def kernel(defects_site: Path, tmp_path_factory: pytest.TempPathFactory) -> Kernel:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        return Kernel.discover()


def test_there_are_eight_defects_in_three_variants() -> None:
    defects = [defect for defect, _ in CAUGHT_BY.values()]
    assert {defects.count(defect) for defect in defects} == {3}
    assert len(set(defects)) == 8


def test_the_wheel_is_found_through_its_entry_points(kernel: Kernel) -> None:
    found = {row.name: (row.status, row.distribution, row.components) for row in kernel.plugins() if row.name in ("defects", "sound")}
    assert found == {name: ("ok", "autorec-defects", 24) for name in ("defects", "sound")}


@pytest.mark.parametrize("name", CAUGHT_BY)
def test_a_planted_defect_is_caught_by_the_law_it_breaks(kernel: Kernel, name: str) -> None:
    failed = {result.check: result.message for result in check_plugin(kernel, f"defects/{name}") if not result.ok}
    assert CAUGHT_BY[name][1] in failed, failed
    assert all(failed.values())


@pytest.mark.parametrize("name", CAUGHT_BY)
def test_the_sound_twin_raises_no_alarm(kernel: Kernel, name: str) -> None:
    results = check_plugin(kernel, f"sound/{name}")
    assert [str(result) for result in results if not result.ok] == []
    assert len(results) > 5


@pytest.mark.parametrize(("name", "code"), [pytest.param("sound/dead-detached", 0, marks=pytest.mark.slow), ("defects/dead-detached", 1)])
def test_the_pytest_option_certifies_and_refuses(defects_site: Path, tmp_path: Path, name: str, code: int) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(defects_site), *filter(None, sys.path)]),
        "XDG_CACHE_HOME": str(tmp_path),
    }
    command = [sys.executable, "-m", "pytest", "-p", "autorec_kernel.testing.pytest_plugin", "-q", "-p", "no:cacheprovider"]
    if _is_installed():
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run([*command, "--autorec-certify", name], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert (f"{name}::gradient_reaches_every_parameter" in done.stdout) == (code == 1)


def _is_installed() -> bool:
    from importlib.metadata import entry_points

    return any(point.value == "autorec_kernel.testing.pytest_plugin" for point in entry_points(group="pytest11"))
