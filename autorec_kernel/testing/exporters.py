"""The law of exporters: what is written is `out` and nothing else, the same every time; what cannot be exported is refused politely."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from autorec_kernel.errors import AutoRecError
from autorec_kernel.testing.surroundings import another_world, globals_kept
from autorec_kernel.testing.violation import Skipped, demand, violated

__all__ = ["check_exporter"]

Export = Callable[[Path, Path], Any]


def check_exporter(component: Export) -> None:
    """Hold an exporter against its contract, `write(source: Path, out: Path)`, with a retriever's and a ranker's bundle.

    `out` is there afterwards and was not before; the source and everything around both are as they were; two exports have equal bytes
    under other clocks and seeds; a source that it cannot export, such as an empty folder, is refused with an `AutoRecError`, and
    nothing is left.

    Raises:
        Violation: The law is broken.
        Skipped: It refuses bundles: it exports runs, of which the kit has none.
    """
    from autorec_kernel.testing.bundle_cases import write_ranker, write_retriever

    with tempfile.TemporaryDirectory() as base:
        _refuses(component, Path(base))
        cases = [write_retriever(Path(base) / "retriever" / "bundle"), write_ranker(Path(base) / "ranker" / "bundle")]
        written = [_exports(component, source) for source in cases]
    if not any(written):
        raise Skipped("it refuses bundles; the kit has no run to export")


def _exports(component: Export, source: Path) -> bool:
    """Return whether it wrote the bundle, after judging what it wrote."""
    base = source.parent
    before = _tree(base)
    try:
        with globals_kept("the exporter"):
            component(source, base / "first")
    except AutoRecError:
        demand(_tree(base) == before, "it refused the bundle and left something behind")
        return False
    except Exception as error:
        violated(f"it raised {type(error).__name__}: {error}; what it cannot export, an exporter refuses with an AutoRecError")
    demand((base / "first").exists(), "it returned and `out` is not there")
    after = _tree(base)
    strange = sorted(name for name in after if name.split("/")[0] != "first" and after[name] != before.get(name))
    demand(
        not strange and before.keys() <= after.keys(), f"it changed what is not its own: {strange or sorted(before.keys() - after.keys())}"
    )
    with another_world(3):
        component(source, base / "second")
    first, second = (_tree(base / name) for name in ("first", "second"))
    differs = sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name))
    demand(not differs, f"two exports of one bundle differ in {differs[:3]}")
    return True


def _refuses(component: Export, base: Path) -> None:
    (base / "empty").mkdir()
    try:
        component(base / "empty", base / "nothing")
    except AutoRecError:
        demand(not (base / "nothing").exists(), "it refused an empty folder and left something behind")
        return
    except Exception as error:
        violated(f"an empty folder raised {type(error).__name__}: {error}, expected an AutoRecError that says what is missing")
    violated("it exported an empty folder, which is neither a bundle nor a run")


def _tree(path: Path) -> dict[str, bytes | None]:
    """Return name → content of everything below a folder (None for folders), or of a file."""
    if path.is_file():
        return {"": path.read_bytes()}
    return {one.relative_to(path).as_posix(): one.read_bytes() if one.is_file() else None for one in sorted(path.rglob("*"))}
