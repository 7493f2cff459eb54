from __future__ import annotations

from pathlib import Path
from typing import Any

KERNEL_LINES = 10_000
MACHINERY_LINES = 2_500
FILE_LINES = 300


def _lines(sources: list[Any]) -> int:
    return sum(source.text.count("\n") for source in sources)


def test_the_kernel_without_its_test_kit_stays_under_ten_thousand_lines(kernel_sources: list[Any]) -> None:
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
        if path.is_file() and path.suffix not in code and "__pycache__" not in path.parts
    }
    assert packaged == {f"autorec_kernel/data/movielens/{name}" for name in ("TERMS.md", "items.csv.gz", "ratings.csv.gz", "tags.csv.gz")}
