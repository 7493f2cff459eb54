from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
AREAS = {"road", "features", "zoo", "search", "deployment", "later"}


def _rows() -> dict[int, list[str]]:
    text = (ROOT / "docs" / "reference" / "promises.md").read_text(encoding="utf-8")
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if re.match(r"\| \d+ \|", line)]
    return {int(cells[0]): [cell.strip() for cell in cells[1:]] for cells in rows}


def test_every_promise_has_one_row() -> None:
    assert sorted(_rows()) == list(range(1, 125))


def test_every_row_names_the_area_that_owes_it() -> None:
    unknown = {number: cells[3] for number, cells in _rows().items() if not set(cells[3].split(", ")) <= AREAS}
    assert unknown == {}


def _tests() -> list[tuple[int, str]]:
    return [(number, test) for number, cells in _rows().items() for test in re.findall(r"`(tests/[^`]+)`", cells[-1])]


@pytest.mark.parametrize(("number", "test"), _tests())
def test_the_test_that_a_row_names_exists(number: int, test: str) -> None:
    path, _, name = test.partition("::")
    assert (ROOT / path).exists(), f"row {number}"
    if name:
        assert re.search(rf"\b(def|class) {re.escape(name.split('::')[-1])}\b", (ROOT / path).read_text(encoding="utf-8")), f"row {number}"


def test_every_promise_of_the_road_is_shown_by_a_test() -> None:
    assert [number for number, cells in _rows().items() if cells[3].startswith("road") and "`tests/" not in cells[-1]] == []
