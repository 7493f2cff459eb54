"""Vocabularies: row 0 for everything unknown, and texts kept to the letter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autorec_kernel.errors import BundleError
from autorec_kernel.records.table import Coded
from autorec_kernel.records.vocabulary import Vocabulary, as_text

TEXTS = st.lists(st.text(max_size=8), unique=True, max_size=30)


@settings(max_examples=150, deadline=None)
@given(TEXTS, st.text(max_size=8))
def test_known_ids_come_back_and_others_are_row_zero(texts: list[str], other: str) -> None:
    vocabulary = Vocabulary.of(sorted(texts))
    rows = vocabulary.row_of(texts)
    assert vocabulary.ids_of(rows) == texts
    assert sorted(rows.tolist()) == list(range(1, len(texts) + 1))
    assert (vocabulary.row_of([other])[0] == 0) == (other not in texts)
    assert vocabulary.row_of([None]).tolist() == [0]


@settings(max_examples=60, deadline=None)
@given(TEXTS)
def test_a_vocabulary_survives_storage_byte_for_byte(texts: list[str]) -> None:
    vocabulary = Vocabulary.of(texts)
    back = Vocabulary.load({f"v.{name}": array for name, array in vocabulary.arrays().items()}, "v.")
    assert back.ids_of(np.arange(back.size)) == ["", *texts]


def test_rows_that_do_not_exist_have_no_text() -> None:
    assert Vocabulary.of(["a"]).ids_of([-1, 0, 1, 2]) == ["", "", "a", ""]


def test_a_column_is_looked_up_the_same_with_few_and_with_many_spare_values() -> None:
    vocabulary = Vocabulary.of(["a", "b"])
    codes = np.array([1, -1, 0], dtype=np.int32)
    few = Coded(codes, np.array(["b", "x"], dtype=object))
    many = Coded(codes, np.array(["b", "x", *map(str, range(50))], dtype=object))
    assert vocabulary.rows_of_column(few).tolist() == vocabulary.rows_of_column(many).tolist() == [0, 0, 2]


def test_numbers_read_as_their_shortest_text() -> None:
    column = as_text(np.array([1.0, 2.5, np.nan, 1e3, np.inf]))
    assert column.text().tolist() == ["1", "2.5", None, "1000", None]
    assert as_text(np.array([7, np.iinfo(np.int64).min])).text().tolist() == ["7", None]


def test_an_empty_column_has_no_rows() -> None:
    empty = Coded(np.zeros(0, np.int32), np.array([], dtype=object))
    assert len(Vocabulary.of(["a"]).rows_of_column(empty)) == 0


def test_damaged_offsets_are_refused() -> None:
    with pytest.raises(BundleError, match="damaged"):
        Vocabulary(np.zeros(3, np.uint8), np.array([0, 2, 1, 3]))
