from __future__ import annotations

import ast
import io
import tokenize
from pathlib import Path
from typing import Any

KERNEL_LINES = 19_700  # the measured size rounded up; docs/explanation/architecture.md, section 8, says why and how it falls
MACHINERY_LINES = 2_500
FILE_LINES = 300


LAYOUT = {tokenize.COMMENT, tokenize.DEDENT, tokenize.ENDMARKER, tokenize.INDENT, tokenize.NEWLINE, tokenize.NL}


def _docstrings(tree: ast.Module) -> set[int]:
    owners = [node for node in ast.walk(tree) if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))]
    found = [node.body[0] for node in owners if ast.get_docstring(node, clean=False) is not None]
    return {line for node in found for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)}


def _lines(sources: list[Any]) -> int:
    """Count lines of code: what is left without blank lines, comments and docstrings."""
    total = 0
    for source in sources:
        tokens = [token for token in tokenize.generate_tokens(io.StringIO(source.text).readline) if token.type not in LAYOUT]
        total += len({line for token in tokens for line in range(token.start[0], token.end[0] + 1)} - _docstrings(source.tree))
    return total


def test_lines_of_code_leave_out_blanks_comments_and_docstrings() -> None:
    text = '"""Doc\nstring."""\n\n# why\nx = (\n    1\n)\n\n\ndef f():\n    """Doc."""\n    return """a\nb"""\n'
    assert _lines([type("Source", (), {"text": text, "tree": ast.parse(text)})]) == 6


def test_the_kernel_without_its_test_kit_stays_under_its_budget(kernel_sources: list[Any]) -> None:
    kernel = [source for source in kernel_sources if not source.name.startswith("autorec_kernel/testing/")]
    assert 0 < _lines(kernel) < KERNEL_LINES


def test_registry_hookspecs_contracts_and_space_stay_under_their_budget(kernel_sources: list[Any]) -> None:
    homes = tuple(f"autorec_kernel/{name}" for name in ("registry/", "contracts/", "space/", "hookspecs.py"))
    assert 0 < _lines([source for source in kernel_sources if source.name.startswith(homes)]) < MACHINERY_LINES


def test_no_file_is_longer_than_three_hundred_lines(kernel_sources: list[Any], plugin_sources: list[Any]) -> None:
    long = {source.name: count for source in kernel_sources + plugin_sources if (count := source.text.count("\n")) > FILE_LINES}
    assert long == {}


def test_only_the_one_public_data_set_is_packaged(root: Path) -> None:
    code = {".py", ".typed", ".pyc"}
    packaged = {
        path.relative_to(root).as_posix()
        for folder in ("autorec_kernel", "plugins")
        for path in (root / folder).rglob("*")
        if path.is_file() and path.suffix not in code and not {"__pycache__", ".mypy_cache"} & set(path.parts)
    }
    tables = {f"plugins/autorec_search/tables/{name}.csv.gz" for name in ("ml-100k", "ml-latest-small")}  # figures of trainings, no data
    names = ("TERMS.md", "items.csv.gz", "ratings.csv.gz", "tags.csv.gz")
    assert packaged - tables == {f"autorec_kernel/data/movielens/{name}" for name in names}
    assert all((root / table).stat().st_size < 100_000 for table in tables)
