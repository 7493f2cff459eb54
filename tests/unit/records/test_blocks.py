"""Long columns block after block: the same bytes as at once, whatever kind of column is read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from autorec_kernel.records import blocks
from autorec_kernel.records.as_of import AsOfTable, Measure
from autorec_kernel.records.program import Program, Step
from autorec_kernel.records.table import Coded, Ragged, stretch
from autorec_kernel.records.vocabulary import Vocabulary


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK", 7)


def columns(rows: int = 40) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    words = Coded(rng.integers(-1, 12, rows).astype(np.int32), np.array([f"word {number}" for number in range(12)], dtype=object))
    offsets = np.concatenate([[0], np.cumsum(rng.integers(0, 4, rows))])
    tags = Coded(rng.integers(0, 30, offsets[-1]).astype(np.int32), np.array([f"t{number}" for number in range(30)], dtype=object))
    clock = np.sort(rng.integers(0, 20, rows))
    return {
        "text": words,
        "tags": Ragged(tags, offsets),
        "@user_key": rng.integers(0, 5, rows),
        "@clock": clock,
        "x": rng.normal(size=rows),
    }


def program() -> Program:
    vocabulary = Vocabulary.of([f"t{number}" for number in range(0, 30, 2)])
    nothing = {name: np.zeros(0, np.int64) for name in ("@user_key", "@clock", "x", "twice", "above")}
    steps = (
        Step("bag", ("tags",), "bag", {"vocabulary": "ids", "width": 2}),
        Step("affine", ("x",), "twice", {"shift": 0.0, "scale": 2.0}),
        Step("as_of", ("@user_key", "@clock"), "sum", {"table": "first", "column": 0}),
        Step("minus", ("twice", "sum"), "above"),
        Step("as_of", ("@user_key", "@clock"), "more", {"table": "second", "column": 0}),
        Step("words", ("text",), "words", {"most": 2}),
    )
    arrays = {f"ids.{name}": array for name, array in vocabulary.arrays().items()}
    tables = {
        "first": AsOfTable.sums(nothing, 5, key="@user_key", measures=(Measure("twice", count=False),)),
        "second": AsOfTable.sums(nothing, 5, key="@user_key", measures=(Measure("above", count=False),)),
    }
    return Program(("text", "tags", "@user_key", "@clock", "x"), steps, ("more",), arrays, tables)


def test_values_and_tables_are_those_of_all_rows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    given, names = columns(), ["bag", "twice", "above", "more"]
    parts = program().fold(given)
    found = parts.computed(names, given)
    monkeypatch.setattr(blocks, "BLOCK", 1000)
    whole = program().fold(given)
    assert all(array.tobytes() == parts.stored()[name].tobytes() for name, array in whole.stored().items())
    assert [found[name].tobytes() for name in names] == [whole.computed(names, given)[name].tobytes() for name in names]


def test_what_is_no_array_is_worked_out_at_once() -> None:
    found = program().computed(["words"], columns())["words"]
    assert isinstance(found, Ragged) and len(found) == 40


def test_only_what_is_asked_for_is_returned() -> None:
    assert set(program().fold(columns()).computed(["above"], columns())) == {"above"}


@pytest.mark.parametrize(("start", "stop"), [(0, 3), (5, 40), (8, 8)])
def test_a_stretch_holds_its_rows_and_no_other_text(start: int, stop: int) -> None:
    text, tags = columns()["text"], columns()["tags"]
    part = stretch(text, start, stop)
    assert isinstance(part, Coded)
    assert part.text().tolist() == text.text()[start:stop].tolist()
    assert len(part.values) <= max(stop - start, 0) or len(part.values) == len(text.values)
    lists = stretch(tags, start, stop)
    assert isinstance(lists, Ragged) and isinstance(lists.values, Coded)
    assert lists.values.text().tolist() == tags.values.text()[tags.offsets[start] : tags.offsets[stop]].tolist()
    assert np.diff(lists.offsets).tolist() == np.diff(tags.offsets)[start:stop].tolist()
