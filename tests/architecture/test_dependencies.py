from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

# Distributions whose import name is not their own with underscores.
IMPORT_NAMES = {"faiss-cpu": "faiss", "onnx-ir": "onnx_ir", "torch-pruning": "torch_pruning"}
# Needed at run time by another package that does not ask for it itself: the reason stands beside each.
INDIRECT = {
    "onnxscript": "torch.onnx.export(dynamo=True) imports it",
    "onnx-ir": "onnxscript and torch.onnx build the exported graph with it",
    "cmaes": "optuna's CMA-ES sampler imports it",
}
TOOLS = {"all", "dev", "docs", "test"}


def _names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\s\[<>=!~;]", text, maxsplit=1)[0] for text in requirements}


def _imported(sources: list[Any]) -> set[str]:
    return {name.split(".", 1)[0] for source in sources for name in source.imports()}


def _module(distribution: str) -> str:
    return IMPORT_NAMES.get(distribution, distribution.replace("-", "_"))


def test_every_core_dependency_is_imported_somewhere(project: dict[str, Any], kernel_sources: list[Any], plugin_sources: list[Any]) -> None:
    used = _imported(kernel_sources + plugin_sources)
    unused = {name for name in _names(project["project"]["dependencies"]) if name not in INDIRECT and _module(name) not in used}
    assert unused == set()


def test_every_optional_dependency_is_imported_by_a_plugin(project: dict[str, Any], plugin_sources: list[Any]) -> None:
    used = _imported(plugin_sources)
    extras = {name: needs for name, needs in project["project"]["optional-dependencies"].items() if name not in TOOLS}
    unused = {need for needs in extras.values() for need in _names(needs) if need not in INDIRECT and _module(need) not in used}
    assert unused == set()


def test_the_kernel_imports_no_optional_dependency(project: dict[str, Any], kernel_sources: list[Any]) -> None:
    extras = {name: needs for name, needs in project["project"]["optional-dependencies"].items() if name not in TOOLS}
    optional = {_module(need) for needs in extras.values() for need in _names(needs)}
    assert _imported(kernel_sources) & optional == set()


def test_every_imported_package_is_declared(project: dict[str, Any], kernel_sources: list[Any], plugin_sources: list[Any]) -> None:
    described = project["project"]
    needs = [*described["dependencies"], *(need for needs in described["optional-dependencies"].values() for need in needs)]
    declared = {_module(name) for name in _names(needs)}
    own = {name for name in _imported(kernel_sources + plugin_sources) if name.startswith("autorec_")}
    assert _imported(kernel_sources + plugin_sources) - declared - own - set(sys.stdlib_module_names) - {"__future__"} == set()


def test_only_the_conformance_kit_imports_pytest(kernel_sources: list[Any], plugin_sources: list[Any]) -> None:
    users = {source.name for source in kernel_sources + plugin_sources if {"pytest", "hypothesis"} & _imported([source])}
    assert {name for name in users if not name.startswith("autorec_kernel/testing/")} == set()


def test_all_brings_every_optional_extra(project: dict[str, Any]) -> None:
    extras = project["project"]["optional-dependencies"]
    (everything,) = extras["all"]
    assert set(re.findall(r"[\w-]+", everything.split("[", 1)[1])) == set(extras) - TOOLS


def test_constraints_pin_every_declared_dependency(project: dict[str, Any], root: Path) -> None:
    pinned = {line.split("==")[0] for line in (root / "constraints.txt").read_text(encoding="utf-8").splitlines() if "==" in line}
    described = project["project"]
    needs = [*described["dependencies"], *(need for needs in described["optional-dependencies"].values() for need in needs)]
    assert _names(needs) - pinned - {"autorec-kernel"} == set()
