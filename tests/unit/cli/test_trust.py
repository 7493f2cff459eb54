"""`--trust-key` asks whatever plugin checks signatures, and opens the very manifest that this one saw."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autorec_kernel.cli.main import main
from autorec_kernel.kernel import Kernel
from autorec_kernel.testing.fixtures import FakeSite, declaring
from autorec_kernel.testing.fixtures import fake_distribution as fake_distribution

sys.path.insert(0, str(Path(__file__).parents[1] / "serving"))

from serving_toys import write_toy

Autorec = Callable[..., tuple[int, str, str]]
NEVER = "from autorec_kernel.errors import BundleError\ndef check(bundle, keys): raise BundleError('not by {name}')\n"
HONEST = "import hashlib\ndef check(bundle, keys): return hashlib.sha256((bundle / 'manifest.json').read_bytes()).hexdigest()\n"
LYING = "def check(bundle, keys): return ''\n"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    write_toy(tmp_path / "bundle", "factors")
    return tmp_path / "bundle"


@pytest.fixture
def autorec(fake_distribution: FakeSite, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Autorec:
    everything = Kernel.discover

    def only_fake(**options: Any) -> Kernel:
        return everything(path=[str(fake_distribution.folder)], **options)

    monkeypatch.setattr(Kernel, "discover", only_fake)
    return lambda *words: (main([*map(str, words)]), *capsys.readouterr())


def install(site: FakeSite, name: str, code: str) -> None:
    declared = declaring("kind", hook="autorec_signatures", target=f"{name}_code:check")
    site(f"dist-{name}", {f"{name}_plugin.py": declared, f"{name}_code.py": code}, {name: f"{name}_plugin [api1]"})


def test_one_kind_of_signature_that_holds_is_enough(autorec: Autorec, fake_distribution: FakeSite, bundle: Path) -> None:
    install(fake_distribution, "first", NEVER.format(name="first"))
    code, _, err = autorec("bundle", "verify", bundle, "--trust-key", "any")
    assert code == 5 and "not by first" in err
    install(fake_distribution, "second", HONEST)
    assert autorec("bundle", "verify", bundle, "--trust-key", "any")[0] == 0


def test_a_kind_that_names_no_manifest_accepts_none(autorec: Autorec, fake_distribution: FakeSite, bundle: Path) -> None:
    install(fake_distribution, "lying", LYING)
    code, _, err = autorec("bundle", "verify", bundle, "--trust-key", "any")
    assert code == 5 and "the manifest is not the one that is required" in err


def test_a_kind_that_cannot_be_used_accepts_none(autorec: Autorec, fake_distribution: FakeSite, bundle: Path) -> None:
    declared = declaring("kind", hook="autorec_signatures", target="lacking_code:check", requires=("not_there",))
    fake_distribution("dist-lacking", {"lacking_plugin.py": declared, "lacking_code.py": HONEST}, {"lacking": "lacking_plugin [api1]"})
    code, _, err = autorec("bundle", "verify", bundle, "--trust-key", "any")
    assert code == 6 and "pip install not_there" in err
