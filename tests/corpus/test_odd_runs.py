"""Odd frames through a whole run: what is odd about them reaches the model, the bundle and its answers, or is set aside with a reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from autorec_kernel.estimator import AutoRec
from tests.corpus.test_odd_frames import GOOD, frame

pytestmark = [pytest.mark.plugins, pytest.mark.slow]

ROLES = ("user_id", "item_id", "timestamp", "rating", "click")
ALONE = ("a-hundred-columns", "names-that-are-numbers", "names-of-two-levels", "names-that-are-reserved", "very-long-texts")
ENDS = (
    *("ids-with-blanks", "ids-of-64-bits", "ids-that-are-floats-with-gaps", "clock-with-gaps", "clock-of-one-moment"),
    *("names-that-are-paths", "names-with-spaces-and-quotes", "every-item-once"),
)


def all_side_by_side() -> pd.DataFrame:
    """Return one table with the odd columns of all frames, each named after its frame."""
    made = {name: make() for name, (make, *_) in GOOD.items() if name not in ALONE}
    odd = {
        f"{name}: {column}": list(table[column])
        for name, table in made.items()
        for column in table.columns
        if column not in ROLES and len(table) == len(frame())
    }
    return pd.concat(
        [
            frame(rating=np.random.default_rng(0).integers(1, 6, 240)),
            pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in odd.items()}),
        ],
        axis=1,
    )


@pytest.mark.parametrize("task", ["rate", "recommend"])
def test_all_odd_columns_together_end_in_a_bundle_that_answers(task: str, tmp_path: Path) -> None:
    table = all_side_by_side()
    assert table.shape[1] > 50
    model = AutoRec(task, trials=0, out=tmp_path / "run").fit(table)
    if task == "rate":
        assert np.isfinite(model.predict(table)).all()
    else:
        assert set(model.recommend(["u1", "nobody"], k=3)["user"]) == {"u1", "nobody"}


@pytest.mark.parametrize("name", ENDS)
def test_odd_ids_clocks_and_names_end_in_a_bundle_that_answers(name: str, tmp_path: Path) -> None:
    make, options, _ = GOOD[name]
    table = make()
    model = AutoRec("recommend", trials=0, out=tmp_path / "run", **options).fit(table)
    known = [str(user) for user in pd.unique(table["user_id"].dropna())[:2]]
    found = model.recommend([*known, "nobody"], k=3)
    assert {*found["user"]} >= {"nobody"}
    assert np.isfinite(found["score"]).all()
