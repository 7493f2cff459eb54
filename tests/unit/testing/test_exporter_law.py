"""The law of exporters finds each planted defect, and lets a good one pass."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from autorec_kernel.errors import UsageError
from autorec_kernel.kernel import Kernel
from autorec_kernel.serving import open_bundle
from autorec_kernel.testing import check_plugin
from autorec_kernel.testing.exporters import check_exporter
from autorec_kernel.testing.fixtures import FakeSite, declaring
from autorec_kernel.testing.fixtures import fake_distribution as fake_distribution
from autorec_kernel.testing.violation import Skipped, Violation


def good(source: Path, out: Path) -> None:
    found = open_bundle(source)
    out.mkdir()
    (out / "digest").write_text(found.digest)


def file(source: Path, out: Path) -> None:
    out.write_text(open_bundle(source).digest)


def retrievers_only(source: Path, out: Path) -> None:
    if "retriever.onnx" not in open_bundle(source).members:
        raise UsageError("rankers are not exported")
    file(source, out)


@pytest.mark.parametrize("export", [good, file, retrievers_only])
def test_a_good_exporter_passes(export: object) -> None:
    check_exporter(export)  # type: ignore[arg-type]


def test_an_exporter_of_runs_is_skipped() -> None:
    def runs(source: Path, out: Path) -> None:
        if not (source / "journal.jsonl").exists():
            raise UsageError("no run")

    with pytest.raises(Skipped):
        check_exporter(runs)


def beside(source: Path, out: Path) -> None:
    good(source, out)
    (out.parent / "log.txt").write_text("done")


def into(source: Path, out: Path) -> None:
    good(source, out)
    (source / "exported").write_text("yes")


def takes(source: Path, out: Path) -> None:
    open_bundle(source)
    source.rename(out)


def stamps(source: Path, out: Path) -> None:
    good(source, out)
    (out / "when").write_text(str(int(time.time())))


def draws(source: Path, out: Path) -> None:
    good(source, out)
    (out / "seed").write_text(str(random.random()))


def nothing(source: Path, out: Path) -> None:
    open_bundle(source)


def crashes(source: Path, out: Path) -> None:
    (source / "manifest.json").read_bytes()


def half(source: Path, out: Path) -> None:
    out.mkdir()
    open_bundle(source)


def anything(source: Path, out: Path) -> None:
    out.mkdir()


DEFECTS = {
    beside: "not its own",
    into: "not its own",
    takes: "not its own",
    stamps: "differ in",
    draws: "random state",
    nothing: "is not there",
    crashes: "an empty folder raised FileNotFoundError",
    half: "left something behind",
    anything: "exported an empty folder",
}


@pytest.mark.parametrize("export", DEFECTS, ids=lambda export: export.__name__)
def test_a_planted_defect_is_found(export: object) -> None:
    with pytest.raises(Violation, match=DEFECTS[export]):  # type: ignore[index]
        check_exporter(export)  # type: ignore[arg-type]


def test_plugins_check_holds_an_exporter_of_a_stranger_against_the_law(fake_distribution: FakeSite) -> None:
    code = "def bad(source, out): out.mkdir()\n"
    declared = declaring("bad", hook="autorec_exporters", target="form_code:bad")
    fake_distribution("form-dist", {"form_plugin.py": declared, "form_code.py": code}, {"form": "form_plugin [api1]"})
    kernel = Kernel.discover(path=[str(fake_distribution.folder)])
    (bad,) = [one for one in check_plugin(kernel, "form") if one.check == "exporter"]
    assert not bad.ok and "exported an empty folder" in bad.message


def test_plugins_check_says_that_an_exporter_of_runs_was_not_judged(fake_distribution: FakeSite) -> None:
    code = "def runs(source, out):\n    from autorec_kernel.errors import UsageError\n    raise UsageError('no run')\n"
    declared = declaring("runs", hook="autorec_exporters", target="form_code:runs")
    fake_distribution("form-dist", {"form_plugin.py": declared, "form_code.py": code}, {"form": "form_plugin [api1]"})
    (one,) = [one for one in check_plugin(Kernel.discover(path=[str(fake_distribution.folder)]), "form") if one.check == "exporter"]
    assert (one.ok, one.skipped) == (True, True)
