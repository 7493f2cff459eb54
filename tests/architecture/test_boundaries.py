from __future__ import annotations

import ast
import re
from typing import Any

from autorec_kernel import hookspecs

BANNED_IMPORTS = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve", "yaml"}
BANNED_CALLS = {"eval", "exec", "torch.load", "os.fork"}
FORKS = {("autorec_kernel/testing/fresh.py", "os.fork")}  # a process of one thread that does nothing else
SEEDING = {"torch.manual_seed", "random.seed", "np.random.seed"}
HOOK_TABLES = {"autorec_kernel/hookspecs.py", "autorec_kernel/registry/points.py"}  # `autorec_readers` is a hook and a package
CHILD_PROCESSES = {"autorec_kernel/testing/fresh.py"}  # standard output is how it answers its parent
EXAMPLES = {f"plugins/autorec_export/example_{kind}.py" for kind in ("ranker", "retriever")}  # programs that an export hands out
OLD_RANDOM = re.compile(r"\b(np|numpy)\.random\.(seed|rand|randn|randint|random|shuffle|choice|permutation|normal|uniform)\b")
LEFT_UNDONE = re.compile(r"\b(TODO|FIXME|XXX)\b|raise NotImplementedError")


def test_the_kernel_names_no_plugin(kernel_sources: list[Any], root: Any) -> None:
    packages = {path.name for path in (root / "plugins").glob("autorec_*")}
    hooks = {name for name in vars(hookspecs) if name.startswith("autorec_")}
    named = {}
    for source in kernel_sources:
        words = set(re.findall(r"\bautorec_\w+", source.text)) - (hooks if source.name in HOOK_TABLES else set())
        if words & packages:
            named[source.name] = words & packages
    assert named == {}


def test_the_kernel_imports_no_plugin(kernel_sources: list[Any]) -> None:
    taken = {name for source in kernel_sources for name in source.imports() if name.startswith("autorec_")}
    assert {name for name in taken if name.split(".")[0] != "autorec_kernel"} == set()


def test_plugins_do_not_import_each_other(plugin_sources: list[Any]) -> None:
    crossings = {
        (source.name, name)
        for source in plugin_sources
        for name in source.imports()
        if name.startswith("autorec_") and name.split(".")[0] not in {"autorec_kernel", source.name.split("/")[1]}
    }
    assert crossings == set()


def test_plugins_use_public_kernel_names(plugin_sources: list[Any]) -> None:
    private = {
        (source.name, alias.name)
        for source in plugin_sources
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("autorec_kernel")
        for alias in node.names
        if alias.name.startswith("_") or "._" in (node.module or "")
    }
    assert private == set()


def test_nothing_is_pickled_evaluated_or_seeded_globally(kernel_sources: list[Any], plugin_sources: list[Any]) -> None:
    found = []
    for source in kernel_sources + plugin_sources:
        found += [(source.name, name) for name in source.imports() if name.split(".")[0] in BANNED_IMPORTS]
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in BANNED_CALLS:
                found.append((source.name, ast.unparse(node.func)))
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False":
                found.append((source.name, "allow_pickle"))
        if not source.name.startswith("autorec_kernel/testing/"):
            found += [(source.name, match.group()) for match in OLD_RANDOM.finditer(source.text)]
    assert set(found) == FORKS


def test_nothing_is_left_undone(kernel_sources: list[Any], plugin_sources: list[Any]) -> None:
    marks = [(source.name, match.group()) for source in kernel_sources + plugin_sources for match in LEFT_UNDONE.finditer(source.text)]
    assert marks == []


def test_no_error_is_swallowed_without_a_word(kernel_sources: list[Any], plugin_sources: list[Any]) -> None:
    swallowed = [
        (source.name, node.lineno)
        for source in kernel_sources + plugin_sources
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in {"Exception", "BaseException"})
        and all(isinstance(step, ast.Pass) for step in node.body)
    ]
    assert swallowed == []


def test_printing_belongs_to_the_command_line(kernel_sources: list[Any], plugin_sources: list[Any]) -> None:
    printing = {
        source.name
        for source in kernel_sources + plugin_sources
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print" and not source.name.startswith("autorec_kernel/cli/")
    }
    assert printing - CHILD_PROCESSES - EXAMPLES == set()


def test_global_states_are_seeded_only_where_they_are_put_back(kernel_sources: list[Any], plugin_sources: list[Any]) -> None:
    for source in kernel_sources + plugin_sources:
        if source.name.startswith("autorec_kernel/testing/"):
            continue  # the kit moves global states on purpose, to show that components do not read them
        tree = source.tree
        calls = {node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) in SEEDING}
        safe = [node for node in ast.walk(tree) if isinstance(node, ast.With) and "fork_rng" in ast.unparse(node.items[0])]
        safe += [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and "random.setstate" in ast.unparse(node)]
        assert calls <= {node for block in safe for node in ast.walk(block)}, source.name
