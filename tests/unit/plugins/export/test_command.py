"""`autorec export`: any installed exporter, the verified bundle handed over, and a target that is whole or not there."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from autorec_export.command import export, write
from autorec_kernel.cli.main import main
from autorec_kernel.errors import BundleError, ContractError, InfrastructureError, PluginError
from autorec_kernel.kernel import Kernel
from autorec_kernel.serving import open_bundle
from autorec_kernel.testing.exporters import check_exporter
from autorec_kernel.testing.fixtures import FakeSite, declaring
from autorec_kernel.testing.fixtures import fake_distribution as fake_distribution

Autorec = Callable[..., tuple[int, str, str]]


class Forms:
    """A plugin whose exporters behave as a test says."""

    def __init__(self) -> None:
        self.calls: list[tuple[Path, Path]] = []

    def find(self, kind: str, name: str) -> Any:
        raise AssertionError

    def load(self, kind: str, name: str) -> Any:
        def call(source: Path, out: Path) -> None:
            self.calls.append((source, out))
            getattr(self, name)(source, out)

        return call

    def good(self, source: Path, out: Path) -> None:
        out.mkdir()
        (out / "digest").write_text(open_bundle(source).digest)

    def one_file(self, source: Path, out: Path) -> None:
        out.write_text("whole")

    def raises(self, source: Path, out: Path) -> None:
        self.good(source, out)
        raise ZeroDivisionError("oops")

    def interrupted(self, source: Path, out: Path) -> None:
        self.good(source, out)
        raise KeyboardInterrupt

    def full(self, source: Path, out: Path) -> None:
        self.good(source, out)
        raise OSError(28, "No space left on device")

    def nothing(self, source: Path, out: Path) -> None:
        pass


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("form", ["onnx", "triton", "docker"])
def test_our_exporters_keep_the_law_of_exporters(form: str) -> None:
    check_exporter(Kernel.discover(allowed=["export"]).load("exporter", f"export/{form}"))


def test_the_formats_of_all_plugins_are_listed(autorec: Autorec) -> None:
    code, out, _ = autorec("export", "--list", "--json")
    assert code == 0
    assert {"export/onnx", "export/triton", "export/docker", "studies/optuna-study"} <= {row["format"] for row in json.loads(out)}
    assert autorec("export", "--list")[1].splitlines()[0].split() == ["FORMAT", "COMPONENT", "STATUS", "SUMMARY"]


def test_an_exporter_of_a_stranger_takes_part(
    fake_distribution: FakeSite, monkeypatch: pytest.MonkeyPatch, cases: dict[str, Path], tmp_path: Path, capsys: Any
) -> None:
    code = (
        "from autorec_kernel.serving import open_bundle\n"
        "def write(source, out):\n    out.write_text(open_bundle(source).digest + ' ' + source.name)\n"
    )
    declared = declaring("digest-card", hook="autorec_exporters", target="form_code:write") + declaring(
        "export", hook="autorec_cli_commands", target="autorec_export.command:export"
    )
    fake_distribution("form-dist", {"form_plugin.py": declared, "form_code.py": code}, {"form": "form_plugin [api1]"})
    everything = Kernel.discover
    monkeypatch.setattr(Kernel, "discover", lambda **options: everything(path=[str(fake_distribution.folder)], **options))
    assert main(["export", str(cases["factors"]), "--format", "digest-card", "--to", str(tmp_path / "card")]) == 0
    assert (tmp_path / "card").read_text() == f"{open_bundle(cases['factors']).digest} factors"
    assert main(["export", str(cases["factors"]), "--format", "digest-cart", "--to", str(tmp_path / "no")]) == 2
    assert "did you mean 'digest-card'?" in capsys.readouterr().err


def test_an_exporter_that_lacks_a_package_says_what_to_install(
    fake_distribution: FakeSite, monkeypatch: pytest.MonkeyPatch, cases: dict[str, Path], tmp_path: Path, capsys: Any
) -> None:
    declared = declaring("lacking", hook="autorec_exporters", requires=("not_there",)) + declaring(
        "export", hook="autorec_cli_commands", target="autorec_export.command:export"
    )
    fake_distribution("form-dist", {"form_plugin.py": declared}, {"form": "form_plugin [api1]"})
    everything = Kernel.discover
    monkeypatch.setattr(Kernel, "discover", lambda **options: everything(path=[str(fake_distribution.folder)], **options))
    assert main(["export", str(cases["factors"]), "--format", "lacking", "--to", str(tmp_path / "x")]) == 6
    assert "pip install not_there" in capsys.readouterr().err
    assert main(["export", "--list"]) == 0
    assert "pip install not_there" in capsys.readouterr().out


def test_the_exporter_gets_a_copy_that_was_verified_of_folder_and_zip(cases: dict[str, Path], tmp_path: Path) -> None:
    from autorec_kernel.deploy.bundle import pack

    packed = pack(cases["factors"], tmp_path / "b.zip")
    forms = Forms()
    for number, source in enumerate((cases["factors"], packed)):
        write(forms, "good", source, tmp_path / f"out{number}")  # type: ignore[arg-type]
        given, _ = forms.calls[-1]
        assert given != source and not given.exists()
        assert (tmp_path / f"out{number}" / "digest").read_text() == open_bundle(source).digest
    assert names(tmp_path) == ["b.zip", "out0", "out1"]


def test_a_damaged_or_other_bundle_reaches_no_exporter(cases: dict[str, Path], tmp_path: Path) -> None:
    bad = Path(shutil.copytree(cases["factors"], tmp_path / "bad"))
    (bad / "schema.json").write_bytes(b"{}")
    forms = Forms()
    with pytest.raises(BundleError, match=r"schema\.json"):
        write(forms, "good", bad, tmp_path / "out")  # type: ignore[arg-type]
    with pytest.raises(BundleError, match="is required"):
        write(forms, "good", cases["factors"], tmp_path / "out", "0" * 64)  # type: ignore[arg-type]
    with pytest.raises(BundleError, match="no bundle here"):
        write(forms, "good", tmp_path / "nothing", tmp_path / "out")  # type: ignore[arg-type]
    assert (forms.calls, names(tmp_path)) == ([], ["bad"])


@pytest.mark.parametrize("form", ["raises", "interrupted", "full", "nothing"])
def test_what_fails_leaves_nothing_half_written(cases: dict[str, Path], tmp_path: Path, form: str) -> None:
    expected = {"raises": PluginError, "interrupted": KeyboardInterrupt, "full": InfrastructureError, "nothing": ContractError}
    with pytest.raises(expected[form]):
        write(Forms(), form, cases["factors"], tmp_path / "out")  # type: ignore[arg-type]
    with pytest.raises(expected[form]):
        write(Forms(), form, cases["factors"], tmp_path / "new" / "folder" / "out")  # type: ignore[arg-type]
    assert names(tmp_path) == []


def test_a_target_that_holds_something_is_refused_before_anything_is_done(cases: dict[str, Path], tmp_path: Path) -> None:
    forms = Forms()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name, told in (("full", "the folder is not empty"), ("file", "a file already"), ("link", "a file already")):
        with pytest.raises(InfrastructureError, match=told) as caught:
            write(forms, "good", cases["factors"], tmp_path / name)  # type: ignore[arg-type]
        assert (caught.value.where, "--to" in caught.value.hint) == (str(tmp_path / name), True)
    assert (forms.calls, names(tmp_path)) == ([], ["file", "full", "link"])


def test_an_empty_folder_is_filled_and_folders_on_the_way_are_made(cases: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for target in (tmp_path / "empty", tmp_path / "a" / "b"):
        write(Forms(), "good", cases["factors"], target)  # type: ignore[arg-type]
        assert names(target) == ["digest"]
    write(Forms(), "one_file", cases["factors"], tmp_path / "c")  # type: ignore[arg-type]
    assert (tmp_path / "c").read_text() == "whole"


def test_a_run_is_handed_over_as_it_is_and_has_no_digest(autorec: Autorec, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "journal.jsonl").write_text("")
    forms = Forms()
    write(forms, "one_file", tmp_path / "run", tmp_path / "out")  # type: ignore[arg-type]
    assert forms.calls[0][0] == tmp_path / "run"
    code, _, err = autorec("export", tmp_path / "run", "--format", "onnx", "--to", tmp_path / "x", "--require-digest", "0" * 64)
    assert code == 2 and "a run has no digest" in err
    code, _, err = autorec("export", tmp_path / "run", "--format", "onnx", "--to", tmp_path / "x")
    assert code == 5 and "this folder is no bundle" in err and "OUT/bundle" in err


def test_the_run_of_a_bundle_gets_a_hint(autorec: Autorec, cases: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(cases["factors"], tmp_path / "run" / "bundle")
    code, _, err = autorec("export", tmp_path / "run", "--format", "onnx", "--to", tmp_path / "x")
    assert code == 5 and f"name the run's bundle: {tmp_path / 'run' / 'bundle'}" in err


def test_a_key_and_a_digest_are_heeded(autorec: Autorec, cases: dict[str, Path], tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    bundle = Path(shutil.copytree(cases["factors"], tmp_path / "bundle"))
    assert autorec("keys", "new", tmp_path / "k.pem")[0] == 0
    words = ("export", bundle, "--format", "onnx", "--to", tmp_path / "out", "--trust-key", tmp_path / "k.pub.pem")
    code, _, err = autorec(*words)
    assert code == 5 and "is not signed" in err and not (tmp_path / "out").exists()
    assert autorec("sign", bundle, "--key", tmp_path / "k.pem")[0] == 0
    assert autorec(*words, "--require-digest", "0" * 64)[0] == 5
    code, out, err = autorec(*words, "--require-digest", open_bundle(bundle).digest, "--json")
    assert code == 0, err
    told = json.loads(out)
    assert told["files"] == sum(path.is_file() for path in (tmp_path / "out").rglob("*"))


def test_what_is_missing_from_the_command_line_is_said(autorec: Autorec) -> None:
    code, _, err = autorec("export")
    assert code == 2 and "autorec export run/bundle --format onnx --to exported" in err


def test_every_option_is_in_the_reference() -> None:
    app = typer.Typer(add_completion=False)
    app.command()(export)
    options = {option for one in typer.main.get_command(app).params for option in one.opts if option.startswith("--")} - {"--help"}
    text = (Path(__file__).parents[4] / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    section = text.split("## autorec export\n", 1)[1].split("\n## ", 1)[0]
    assert options - set(re.findall(r"--[a-z][a-z-]*", section)) == set()


def test_an_exporter_that_fails_is_named(cases: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="it raised ZeroDivisionError: oops") as caught:
        write(Forms(), "raises", cases["factors"], tmp_path / "out")  # type: ignore[arg-type]
    assert caught.value.where == "exporter 'raises'"


def test_what_is_missing_of_a_command_is_named(autorec: Autorec, cases: dict[str, Path], tmp_path: Path) -> None:
    for words, told in (((), "SOURCE and --format and --to"), ((cases["factors"], "--format", "onnx"), "needs --to too")):
        code, _, err = autorec("export", *words)
        assert code == 2 and told in err and "autorec export run/bundle --format onnx --to exported" in err


def test_a_file_that_is_no_zip_is_named(autorec: Autorec, tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_text("user,item\n1,2\n")
    code, _, err = autorec("export", tmp_path / "old.csv", "--format", "onnx", "--to", tmp_path / "x")
    assert code == 5 and "this file is no bundle: it is no zip" in err and str(tmp_path / "old.csv") in err
