"""Discovery: a broken plugin is a row with its reason, and everything else works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from autorec_kernel.kernel import Kernel
from autorec_kernel.registry import PluginRow
from autorec_kernel.testing.fixtures import FakeSite, declaring

Rows = Callable[..., PluginRow]
Discover = Callable[..., Kernel]


@pytest.mark.parametrize(
    ("source", "phrase"),
    [
        ("import a_package_that_is_not_there", "ModuleNotFoundError: No module named 'a_package_that_is_not_there'"),
        ("raise ImportError('half installed')", "ImportError: half installed"),
        ("def broken(:\n", "SyntaxError"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("class Odd(BaseException): pass\nraise Odd('very')", "Odd: very (bad_plugin.py, line 2)"),
    ],
)
def test_a_plugin_that_fails_at_import_is_a_row_with_its_reason_and_stops_no_other(
    fake_distribution: FakeSite, discover: Discover, source: str, phrase: str
) -> None:
    fake_distribution("bad", {"bad_plugin.py": source}, {"bad": "bad_plugin [api1]"})
    fake_distribution("good", {"good_plugin.py": declaring("thing")}, {"good": "good_plugin [api1]"})
    kernel = discover()
    bad, good = kernel.plugins()
    assert (bad.name, bad.status) == ("bad", "broken")
    assert phrase in bad.reason
    assert good.status == "ok"
    assert [component.id for component in kernel.components("model-block")] == ["good/thing"]


def test_an_import_that_hangs_is_broken_after_the_limit_and_the_rest_is_probed(fake_distribution: FakeSite, discover: Discover) -> None:
    fake_distribution("slow", {"a_slow_plugin.py": "import time\ntime.sleep(600)"}, {"a-slow": "a_slow_plugin [api1]"})
    fake_distribution("good", {"good_plugin.py": declaring("thing")}, {"good": "good_plugin [api1]"})
    slow, good = discover(import_seconds=0.7).plugins()
    assert (slow.status, slow.reason) == ("broken", "import took longer than 0.7 s")
    assert good.status == "ok"


def test_a_hanging_import_is_remembered_so_that_the_next_listing_is_quick(fake_distribution: FakeSite, discover: Discover) -> None:
    fake_distribution("slow", {"a_slow_plugin.py": "import time\ntime.sleep(600)"}, {"a-slow": "a_slow_plugin [api1]"})
    discover(import_seconds=0.7)
    began = time.monotonic()
    assert discover(import_seconds=30).plugins()[0].status == "broken"
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(("source", "phrase"), [("os._exit(0)", "exit code 0"), ("os.kill(os.getpid(), 9)", "SIGKILL")])
def test_an_import_that_ends_the_process_is_named_and_never_tried_in_ours(
    fake_distribution: FakeSite, row: Rows, source: str, phrase: str
) -> None:
    fake_distribution("deadly", {"deadly_plugin.py": f"import os\n{source}"}, {"deadly": "deadly_plugin [api1]"})
    for _ in ("probed", "remembered"):
        found = row("deadly")
        assert found.status == "broken"
        assert phrase in found.reason


def test_what_an_import_disturbs_becomes_a_warning(fake_distribution: FakeSite, row: Rows) -> None:
    lines = (
        "import os, random, signal, sys, tempfile, warnings",
        "if 'autorec_kernel.registry.probe_child' in sys.modules:",
        "    print('hello')",
        "    os.chdir(tempfile.gettempdir())",
        "    os.environ['SOME_SWITCH'] = '1'",
        "    random.seed(0)",
        "    warnings.simplefilter('ignore', category=BytesWarning)",
        "    signal.signal(signal.SIGTERM, signal.SIG_IGN)",
    )
    guard = "\n".join(lines)
    fake_distribution("noisy", {"noisy_plugin.py": declaring("thing", before=guard)}, {"noisy": "noisy_plugin [api1]"})
    found = row("noisy")
    assert found.status == "ok"
    for phrase in ("the working directory", "environment variables", "the random state", "the warning filters", "signal handlers"):
        assert f"changes {phrase} while it is imported" in found.warnings
    assert "prints while it is imported" in found.warnings


def test_a_printing_import_leaves_our_stdout_clean(fake_distribution: FakeSite, row: Rows, capsys: pytest.CaptureFixture[str]) -> None:
    fake_distribution("loud", {"loud_plugin.py": declaring("thing", before="print('hello')")}, {"loud": "loud_plugin [api1]"})
    assert row("loud").status == "ok"
    assert capsys.readouterr().out == ""


def test_an_import_that_writes_to_stderr_is_reported_and_kept_off_ours(
    fake_distribution: FakeSite, row: Rows, capsys: pytest.CaptureFixture[str]
) -> None:
    source = declaring("thing", before="import sys\nsys.stderr.write('psst')")
    fake_distribution("loud", {"loud_plugin.py": source}, {"loud": "loud_plugin [api1]"})
    found = row("loud")
    assert (found.status, found.warnings) == ("ok", ("writes to stderr while it is imported",))
    assert capsys.readouterr().err == ""


def test_an_import_that_moves_the_working_directory_does_not_move_ours(fake_distribution: FakeSite, row: Rows) -> None:
    here = Path.cwd()
    source = declaring("thing", before="import os, tempfile\nos.chdir(tempfile.gettempdir())")
    fake_distribution("mover", {"mover_plugin.py": source}, {"mover": "mover_plugin [api1]"})
    assert row("mover").status == "ok"
    assert Path.cwd() == here


def test_a_heavy_import_in_a_declaration_is_a_warning(fake_distribution: FakeSite, row: Rows) -> None:
    fake_distribution("heavy", {"heavy_plugin.py": declaring("thing", before="import numpy")}, {"heavy": "heavy_plugin [api1]"})
    assert "imports numpy while it is imported" in row("heavy").warnings


@pytest.mark.parametrize("value", ["api_plugin [api2]", "api_plugin [api2, api3]", "api_plugin[api0]"])
def test_a_plugin_for_another_api_is_disabled_without_being_imported(fake_distribution: FakeSite, row: Rows, value: str) -> None:
    fake_distribution("other", {"api_plugin.py": "raise SystemExit"}, {"other": value})
    found = row("other")
    assert found.status == "disabled"
    assert "this kernel has 1" in found.reason
    assert "api_plugin" not in sys.modules


@pytest.mark.parametrize("value", ["api_plugin [api1]", "api_plugin [api1, api2]"])
def test_a_plugin_whose_range_holds_our_api_is_loaded(fake_distribution: FakeSite, row: Rows, value: str) -> None:
    fake_distribution("both", {"api_plugin.py": declaring("thing")}, {"both": value})
    assert (row("both").status, row("both").warnings) == ("ok", ())


def test_a_plugin_without_an_api_range_is_read_as_version_one_with_a_note(fake_distribution: FakeSite, row: Rows) -> None:
    fake_distribution("plain", {"plain_plugin.py": declaring("thing")}, {"plain": "plain_plugin"})
    found = row("plain")
    assert (found.status, found.api) == ("ok", (1,))
    assert found.warnings == ("its entry point states no API version; read as [api1]",)


@pytest.mark.parametrize("name", ["first", "First-Dist", "first-dist:first"])
def test_a_blocked_plugin_is_listed_and_not_imported(fake_distribution: FakeSite, row: Rows, name: str) -> None:
    fake_distribution("first_dist", {"blocked_plugin.py": "raise SystemExit"}, {"first": "blocked_plugin [api1]"})
    assert row("first", blocked=(name,)).status == "blocked"


def test_with_an_allow_list_everything_else_is_blocked(fake_distribution: FakeSite, discover: Discover) -> None:
    for name in ("alpha", "beta"):
        fake_distribution(name, {f"{name}_plugin.py": declaring(name)}, {name: f"{name}_plugin [api1]"})
    assert [plugin.status for plugin in discover(allowed=("beta",)).plugins()] == ["blocked", "ok"]


def test_two_distributions_that_claim_one_plugin_name_are_both_refused_by_name(fake_distribution: FakeSite, discover: Discover) -> None:
    for name in ("alpha", "beta"):
        fake_distribution(name, {f"{name}_plugin.py": declaring(name)}, {"zoo": f"{name}_plugin [api1]"})
    rows = discover().plugins()
    assert [(row.name, row.status) for row in rows] == [("alpha:zoo", "broken"), ("beta:zoo", "broken")]
    assert all("'alpha' and 'beta'" in row.reason for row in rows)


def test_blocking_one_of_two_claimants_frees_the_name_for_the_other(fake_distribution: FakeSite, discover: Discover) -> None:
    for name in ("alpha", "beta"):
        fake_distribution(name, {f"{name}_plugin.py": declaring(name)}, {"zoo": f"{name}_plugin [api1]"})
    rows = discover(blocked=("alpha",)).plugins()
    assert [(row.name, row.status) for row in rows] == [("alpha:zoo", "blocked"), ("zoo", "ok")]


def test_a_stranger_cannot_take_a_name_from_the_kernels_own_distribution(fake_distribution: FakeSite, discover: Discover) -> None:
    fake_distribution("autorec-kernel", {"own_plugin.py": declaring("own")}, {"zoo": "own_plugin [api1]"})
    fake_distribution("stranger", {"their_plugin.py": declaring("own")}, {"zoo": "their_plugin [api1]"})
    own, theirs = discover().plugins()
    assert (own.name, own.status, theirs.name, theirs.status) == ("zoo", "ok", "stranger:zoo", "broken")
    assert any("'stranger'" in warning for warning in own.warnings)


def test_a_discovered_kernel_can_be_rebuilt_from_json(fake_distribution: FakeSite, discover: Discover) -> None:
    for name in ("alpha", "beta"):
        fake_distribution(name, {f"{name}_plugin.py": declaring(name)}, {name: f"{name}_plugin [api1]"})
    first = discover(blocked=("alpha",))
    again = Kernel.rebuild(json.loads(json.dumps(first.origin())))
    assert again.plugins() == first.plugins()


def test_damaged_metadata_of_one_distribution_hides_no_other(fake_distribution: FakeSite, discover: Discover) -> None:
    info = fake_distribution("damaged", {}, {})
    (info / "entry_points.txt").write_text("[autorec.plugins]\nno equals sign\n")
    fake_distribution("odd", {}, {"odd": "not a module!"})
    fake_distribution("good", {"good_plugin.py": declaring("thing")}, {"good": "good_plugin [api1]"})
    statuses = {row.name: row.status for row in discover().plugins()}
    assert statuses == {"damaged": "broken", "odd": "broken", "good": "ok"}


def test_a_probe_happens_once_and_again_after_an_edit_or_an_upgrade(
    fake_distribution: FakeSite, discover: Discover, tmp_path: Path
) -> None:
    log = tmp_path / "imports"
    source = declaring("thing", before=f"import os\nwith open({str(log)!r}, 'a') as log:\n    log.write(f'{{os.getpid()}} ')")

    def probes() -> int:
        log.unlink(missing_ok=True)
        sys.modules.pop("seen_plugin", None)
        discover()
        return sum(pid != str(os.getpid()) for pid in log.read_text().split())

    fake_distribution("seen", {"seen_plugin.py": source}, {"seen": "seen_plugin [api1]"})
    assert [probes(), probes()] == [1, 0]
    (fake_distribution.folder / "seen_plugin.py").write_text(source + "# edited\n")
    assert [probes(), probes()] == [1, 0]
    fake_distribution("seen", {"seen_plugin.py": source + "# edited\n"}, {"seen": "seen_plugin [api1]"}, record="upgraded,,\n")
    assert [probes(), probes()] == [1, 0]


@pytest.mark.parametrize("variables", [{"XDG_CACHE_HOME": "", "HOME": "/nonexistent"}, {"XDG_CACHE_HOME": "/dev/null/cache"}])
def test_discovery_works_without_a_home(
    fake_distribution: FakeSite, row: Rows, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variables: dict[str, str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    fake_distribution("good", {"good_plugin.py": declaring("thing")}, {"good": "good_plugin [api1]"})
    assert row("good").status == "ok"
    assert not Path("/nonexistent").exists()


def test_a_damaged_cache_is_ignored(fake_distribution: FakeSite, row: Rows, tmp_path: Path) -> None:
    store = tmp_path / "cache" / "autorec" / "probes.json"
    store.parent.mkdir(parents=True, mode=0o700)
    store.write_text('{"v": 1, "verdicts": [')
    fake_distribution("good", {"good_plugin.py": declaring("thing")}, {"good": "good_plugin [api1]"})
    assert row("good").status == "ok"


def test_discovery_changes_nothing_in_the_process(fake_distribution: FakeSite) -> None:
    fake_distribution("good", {"good_plugin.py": declaring("thing")}, {"good": "good_plugin [api1]"})
    script = f"""
import logging, os, random, signal, sys, threading, warnings
sys.path.insert(0, {str(fake_distribution.folder)!r})
def state():
    return (os.getcwd(), dict(os.environ), random.getstate(), list(sys.path), sys.argv[:], logging.root.handlers[:], sys.stdout,
            list(warnings.filters), [signal.getsignal(n) for n in signal.valid_signals()])
from autorec_kernel.kernel import Kernel
before = state()
kernel = Kernel.discover(path=[sys.path[0]])
assert [row.status for row in kernel.plugins()] == ["ok"], kernel.plugins()
assert state() == before
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
