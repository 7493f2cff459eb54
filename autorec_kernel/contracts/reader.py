"""Contract of dataset readers: open a source that the kernel's own CSV and Parquet reader does not know."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol, runtime_checkable

from autorec_kernel.config import ComponentConfig

__all__ = ["Reader"]


@runtime_checkable
class Reader(Protocol):
    """Opens one family of sources (RecBole atomic files, polars frames, …)."""

    Config: ClassVar[type[ComponentConfig]]

    def accepts(self, source: Any) -> bool:
        """Return whether this reader understands the source; cheap, opens nothing large."""
        ...

    def read(self, source: Any) -> Any:
        """Return a pandas frame or pyarrow table of the source's columns; of a folder, such tables as `events`, `users` and `items`.

        A column whose field carries the metadata `left out` is shown with that reason and is not read.

        Raises:
            DataError: The source is damaged.
        """
        ...
