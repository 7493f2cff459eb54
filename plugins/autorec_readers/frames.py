"""Frames of other libraries, converted to arrow by narwhals."""

from __future__ import annotations

from typing import Any

import narwhals as nw
import pyarrow as pa

from autorec_kernel.config import ComponentConfig

__all__ = ["FrameReader"]


class FrameReader:
    """Opens every frame that narwhals knows (polars, duckdb, modin, dask, …); lazy frames are collected."""

    class Config(ComponentConfig):
        """No options."""

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or self.Config()

    def accepts(self, source: Any) -> bool:
        """Return whether narwhals knows the type; pandas frames and arrow tables are left to the kernel."""
        if isinstance(source, pa.Table) or nw.dependencies.is_pandas_dataframe(source):
            return False
        return isinstance(nw.from_native(source, pass_through=True), nw.DataFrame | nw.LazyFrame)

    def read(self, source: Any) -> pa.Table:
        """Return the frame as an arrow table."""
        frame = nw.from_native(source)
        return (frame.collect() if isinstance(frame, nw.LazyFrame) else frame).to_arrow()
