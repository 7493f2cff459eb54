"""Years in texts: titles name them, other features read them as a column, and texts without years are turned down."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from autorec_features.keys import keys_for
from autorec_features.taste import Taste
from autorec_features.years import Years
from autorec_kernel.contracts.features import RejectColumn
from autorec_kernel.records.program import Program, ReadContext, run_program
from autorec_kernel.records.table import Table
from autorec_kernel.testing.data import coded

FILMS = ["Toy Story (1995)", "2001: A Space Odyssey (1968)", "1984 (1956)", "Heat (1995)", "Blade Runner 2049 (2017)", "Untitled"]
READ = [1995.0, 1968.0, 1956.0, 1995.0, 2017.0, np.nan]


def fitted(texts: list[str | None]) -> Any:
    column = coded(texts)
    return Years(Years.Config()).fit(Table(), {"users": Table(), "items": Table({"title": column}, len(column))}, np.random.default_rng(0))


def test_the_last_year_of_a_text_is_its_year_and_a_text_without_one_is_flagged() -> None:
    program = fitted(FILMS).program()
    found = np.asarray(
        run_program(program, {"items.title": coded([*FILMS, None, "Novecento (1976)", "room 3000"])}, ReadContext(9))[".out"]
    )
    years = np.array([*READ, np.nan, 1976.0, np.nan])
    known = np.array(READ[:5])
    assert found[:, 0] == pytest.approx(np.nan_to_num((years - known.mean()) / known.std()), abs=1e-5)
    assert found[:, 1].tolist() == np.isnan(years).astype(float).tolist()


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (["Heat", "Alien", "Brazil (1985)"], "1 of 3 texts"),
        (["a (1999)", "b (1999)"], "all texts of 'items.title' name the year 1999"),
        ([None, None], "0 of 0 texts"),
        (["19955", "call 1-800-1700", "3.1415"], "0 of 3 texts"),
    ],
)
def test_texts_that_name_no_years_are_turned_down(texts: list[str | None], told: str) -> None:
    with pytest.raises(RejectColumn, match=told):
        fitted(texts)


def test_years_are_cut_into_bins_where_they_are_keys() -> None:
    items = Table({"title": coded(FILMS)}, len(FILMS))
    keys = keys_for(["items.title:year"], Table(), {"items": items})
    found = Program(keys.inputs, keys.steps, (), keys.arrays).computed([keys.name], {"items.title": coded(FILMS)})[keys.name]
    assert not keys.several
    assert found[5] == 0
    assert found[0] == found[3]
    assert found[2] < found[1] < found[0] < found[4] < keys.size


def test_taste_reads_the_year_of_a_title() -> None:
    rows = 6
    events = {name: np.arange(1, rows + 1) for name in ("@item", "@item_key", "@clock", "@order")}
    events |= {"@user": np.ones(rows, np.int64), "@user_key": np.ones(rows, np.int64), "@positive": np.ones(rows, np.int64)}
    items = Table({"title": coded(FILMS)}, rows)
    op = Taste(Taste.Config(column="title:year", strength=2.0)).fit(
        Table(events, rows), {"users": Table(), "items": items}, np.random.default_rng(0)
    )
    assert [one.name for one in op.outputs] == ["taste.items.title:year.mean", "taste.items.title:year.gap"]
    program = op.program()
    found = run_program(program, {**events, "items.title": items["title"]}, ReadContext(rows))
    value = np.nan_to_num((np.array(READ) - np.nanmean(READ)) / np.nanstd(READ))
    expected = [value[:row].sum() / (row + 2) for row in range(rows)]
    assert np.asarray(found[".mean"])[:, 0] == pytest.approx(expected, abs=1e-5)
