"""Running means of users and items: the table that keeps them and the steps that read them strictly before a row."""

from __future__ import annotations

import numpy as np

from autorec_kernel.records.as_of import AsOfTable, Measure
from autorec_kernel.records.program import Step

__all__ = ["blank_means", "mean_of"]


def blank_means(key: str, keys: int, value: str) -> AsOfTable:
    """Return an empty table of counts and sums of `value` by `key`, to be folded into."""
    nothing = {name: np.zeros(0, np.int64) for name in (key, "@clock", value)}
    return AsOfTable.sums(nothing, keys, key=key, measures=(Measure(value), Measure(value, count=False)))


def mean_of(name: str, table: str, key: str, strength: float, *, prior: str = "", newest: int = 0) -> tuple[Step, ...]:
    """Return the steps to the value `name`: the mean of a table before the row, shrunk to 0, or to the value `prior`.

    Args:
        strength: Events that the prior is worth.
        newest: Of how many events, the last ones; 0 = all.
    """
    read, some = (key, "@clock"), {"newest": newest} if newest else {}
    return (
        Step("as_of", read, f"{name} count", {"table": table, "column": 0, **some}),
        Step("as_of", read, f"{name} sum", {"table": table, "column": 1, **some}),
        Step("ratio", (f"{name} sum", f"{name} count", *([prior] if prior else [])), name, {"strength": strength}),
    )
