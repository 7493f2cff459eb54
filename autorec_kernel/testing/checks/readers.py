"""Laws of readers: they know at once what is theirs, decline everything else, and read the same table twice."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from autorec_kernel.testing.surroundings import globals_kept
from autorec_kernel.testing.violation import demand, violated

__all__ = ["check_reader_declines_politely", "check_reader_is_quick_to_answer"]


def check_reader_declines_politely(component: Any, config: Any, kernel: Any = None) -> None:
    """`accepts` answers True or False for anything at all, without raising and without changing it; strangers are declined."""
    with tempfile.TemporaryDirectory() as folder:
        nowhere, empty = Path(folder) / "nowhere.xyzzy", Path(folder) / "empty.xyzzy"
        empty.write_bytes(b"")
        strangers: tuple[Any, ...] = (None, 7, object(), "", str(nowhere), nowhere, empty, b"bytes", [], {}, ("a", 1))
        for source in strangers:
            try:
                with globals_kept("accepts"):
                    answer = component(config).accepts(source)
            except Exception as error:
                violated(f"accepts({source!r}) raised {type(error).__name__}: {error}; what is not its own, a reader declines")
            demand(isinstance(answer, bool), f"accepts({source!r}) returned {answer!r}, expected True or False")
            demand(not answer, f"accepts({source!r}) is True: this source belongs to nobody")
        demand(empty.read_bytes() == b"" and not nowhere.exists(), "accepts changed a source it only had to look at")


def check_reader_is_quick_to_answer(component: Any, config: Any, kernel: Any = None) -> None:
    """`accepts` opens nothing large: a 64 MiB file of an unknown kind is declined in an instant."""
    with tempfile.TemporaryDirectory() as folder:
        large = Path(folder) / "large.xyzzy"
        with large.open("wb") as file:
            file.truncate(2**26)
        reader = component(config)
        reader.accepts(large)
        start = time.perf_counter()
        reader.accepts(large)
        demand(time.perf_counter() - start < 0.2, f"accepts took {time.perf_counter() - start:.2f} s for a large file")
