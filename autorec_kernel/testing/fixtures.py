"""Pytest fixtures for plugin authors and for our own tests: `fake_distribution` installs a pip package that exists for one test only."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent

import pytest

__all__ = ["FakeSite", "declaring", "fake_distribution"]


@dataclass
class FakeSite:
    """A folder on `sys.path` that looks like site-packages. Call it to install a distribution.

    `Kernel.discover(path=[str(site.folder)])` sees these distributions and no others.
    """

    folder: Path
    modules: set[str] = field(default_factory=set)

    def __call__(
        self,
        name: str,
        files: Mapping[str, str],
        entry_points: Mapping[str, str],
        *,
        version: str = "1.0",
        record: str = "",
    ) -> Path:
        """Install a distribution.

        Args:
            name: Name of the distribution.
            files: Path below the folder to source text (dedented).
            entry_points: Plugin name to value, for example `{"greet": "greet_plugin [api1]"}`.
            version: Its version.
            record: Text of RECORD; empty = one line a file.

        Returns:
            The dist-info folder.
        """
        for path, text in files.items():
            self._write(self.folder / path, dedent(text))
            self.modules.add(path.removesuffix(".py").split("/")[0])
        info = self.folder / f"{name.replace('-', '_')}-{version}.dist-info"
        lines = "".join(f"{plugin} = {value}\n" for plugin, value in entry_points.items())
        self._write(info / "METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        self._write(info / "entry_points.txt", f"[autorec.plugins]\n{lines}")
        self._write(info / "RECORD", record or "".join(f"{path},,\n" for path in files))
        importlib.invalidate_caches()
        return info

    def _write(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")


def declaring(*names: str, hook: str = "autorec_model_blocks", before: str = "", target: str = "nowhere:Thing", **fields: object) -> str:
    """Return the source of a declaration module.

    Args:
        *names: Names of the components.
        hook: The declaration hook.
        before: Source that runs when the module is imported.
        target: Target of every component.
        **fields: More fields of `ComponentSpec`.
    """
    more = "".join(f", {field}={value!r}" for field, value in fields.items())
    specs = "".join(f"ComponentSpec({name!r}, {target!r}, 'A thing.'{more}), " for name in names)
    return (
        "from autorec_kernel.markers import hookimpl\nfrom autorec_kernel.registry import ComponentSpec\n"
        f"{dedent(before)}\n@hookimpl\ndef {hook}():\n    return ({specs})\n"
    )


@pytest.fixture
def fake_distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSite]:
    """Yield a `FakeSite`; its modules, its place on `sys.path` and a private cache folder last for one test."""
    site = FakeSite(tmp_path / "site")
    site.folder.mkdir()
    monkeypatch.syspath_prepend(str(site.folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield site
    for module in [module for module in sys.modules if module.split(".")[0] in site.modules]:
        del sys.modules[module]
