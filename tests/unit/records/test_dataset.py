from __future__ import annotations

import numpy as np
import pytest

from autorec_kernel.errors import UsageError
from autorec_kernel.records.dataset import CLOCK, ORDER, Dataset, Protocol, SealedView
from autorec_kernel.records.schema import Schema
from autorec_kernel.records.table import Table


def _table(order: list[int]) -> Table:
    return Table({ORDER: np.array(order), CLOCK: np.array(order)}, len(order))


def test_the_protocol_id_is_the_written_form_of_every_choice() -> None:
    protocol = Protocol("given", "position", "cut", "last", 3.5, "last", 7)
    assert protocol.id == "given/clock=position/state=cut/dedup=last/positive=3.5/target=last/seed=7"
    assert Protocol("random", "none", "rolling").id.endswith("/dedup=none/positive=all/target=all/seed=0")


def test_a_sealed_view_loads_nothing_before_the_plan_is_fixed() -> None:
    loaded: list[int] = []

    def load() -> Table:
        loaded.append(1)
        return _table([5])

    view = SealedView(load, 1)
    with pytest.raises(UsageError, match="sealed"):
        view.open("early")
    assert (loaded, view.openings, view.rows) == ([], (), 1)
    view.fix_plan("digest")
    assert view.open("float model").rows == 1
    assert view.open("compressed model").rows == 1
    assert view.openings == ("float model", "compressed model")


def test_the_refit_data_set_is_sorted_by_order() -> None:
    dataset = Dataset(Schema(), _table([0, 3, 4]), _table([1, 2]), SealedView(lambda: _table([]), 0), Protocol("random", "none", "cut"))
    assert dataset.final().train[ORDER].tolist() == [0, 1, 2, 3, 4]  # type: ignore[union-attr]
    assert dataset.final().valid.rows == 0
    assert dataset.train.rows == 3
