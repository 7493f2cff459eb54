"""Contract of indexes: candidates of a large catalogue, proposed without scoring all of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from autorec_kernel.config import ComponentConfig

__all__ = ["Index", "OpenIndex"]


class OpenIndex(Protocol):
    """An index that can be asked, by several threads at a time.

    Args:
        efforts: How many settings it has, the weakest (and quickest) first.
    """

    efforts: int

    def candidates(self, queries: np.ndarray, count: int, effort: int) -> np.ndarray:
        """Return int64 [A, M], M >= count: rows that should hold the `count` largest inner products of queries float32 [A, D].

        Each row stands there once; -1 stands for none.
        """
        ...


@runtime_checkable
class Index(Protocol):
    """A way to find rows of a large table that probably have the largest inner products with a query.

    It proposes, and no more: scores, exclusions and the order of lists stay with serving, which also measures what an index misses before
    it is used. Laws: `build` leaves the vectors alone and gives plain arrays, the same for equal vectors and generators; what is opened
    answers the same in another process, with rows of the table or -1; arrays that `build` did not give are refused with `BundleError`;
    the strongest effort misses no more than the weakest.
    """

    Config: ClassVar[type[ComponentConfig]]

    def build(self, vectors: np.ndarray, rng: np.random.Generator) -> Mapping[str, np.ndarray]:
        """Return all that `open` needs, for vectors float32 [N, D], as arrays of numbers.

        They are stored in bundles, which others may change: `open` trusts nothing of them, and needs the config of no `build`.
        """
        ...

    def open(self, arrays: Mapping[str, np.ndarray]) -> OpenIndex:
        """Return the index of stored arrays; torch is not there.

        Raises:
            BundleError: They describe none.
        """
        ...
