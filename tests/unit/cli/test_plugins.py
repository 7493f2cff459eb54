"""`autorec plugins`, `doctor` and the lazy command table: data on stdout, errors with hints, exit codes, nothing heavy imported."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from autorec_kernel.cli.main import main
from autorec_kernel.cli.plugins import _type_name
from autorec_kernel.kernel import Kernel
from autorec_kernel.testing.fixtures import FakeSite, declaring
from autorec_kernel.testing.fixtures import fake_distribution as fake_distribution

HEAVY = ("numpy", "torch", "pandas", "optuna", "deap", "scipy")
Autorec = Callable[..., tuple[int, str, str]]


@pytest.fixture
def autorec(fake_distribution: FakeSite, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Autorec:
    """Run a command line in a world where only fake distributions are installed."""
    everything = Kernel.discover

    def only_fake(**options: Any) -> Kernel:
        return everything(path=[str(fake_distribution.folder)], **options)

    monkeypatch.setattr(Kernel, "discover", only_fake)

    def run(*words: str) -> tuple[int, str, str]:
        code = main(words)
        return (code, *capsys.readouterr())

    return run


@pytest.fixture
def greeter(fake_distribution: FakeSite) -> None:
    """Install a distribution with a kind of its own, a component, and a command."""
    component = """
        from pydantic import Field
        from autorec_kernel.config import ComponentConfig
        class Polite:
            class Config(ComponentConfig):
                phrase: str = Field("Good day", description="What is said.")
            def __init__(self, config): self.config = config
            def greet(self, name): return name
    """
    contract = "from typing import Protocol\nclass Greeter(Protocol):\n    def greet(self, name): ...\n"
    command = "def hello(name: str = 'you') -> None:\n    '''Say hello.'''\n    print('hello', name)\n"
    declaration = declaring("polite", hook="autorec_greeters", target="greet_things:Polite") + declaring(
        "hello", hook="autorec_cli_commands", target="greet_command:hello"
    )
    declaration += (
        "from autorec_kernel.registry import ExtensionPoint\n@hookimpl\ndef autorec_extension_points():\n"
        "    return (ExtensionPoint('greeter', 'autorec_greeters', 'greet_contract:Greeter', 'Greets.'),)\n"
    )
    files = {"greet_plugin.py": declaration, "greet_things.py": component, "greet_contract.py": contract, "greet_command.py": command}
    fake_distribution("hello-world", files, {"greet": "greet_plugin [api1]"}, version="2.1")


@pytest.fixture
def broken(fake_distribution: FakeSite) -> None:
    """Install a distribution whose declaration module cannot be imported."""
    fake_distribution("broken-dist", {"broken_plugin.py": "raise ImportError('half installed')"}, {"broken": "broken_plugin [api1]"})


def test_without_plugins_the_list_is_empty_and_says_what_to_install(autorec: Autorec) -> None:
    code, out, err = autorec("plugins", "list")
    assert (code, out) == (0, "")
    assert "pip install" in err
    assert json.loads(autorec("plugins", "list", "--json")[1]) == {"plugins": [], "components": []}


@pytest.mark.usefixtures("greeter", "broken")
def test_the_list_shows_components_and_broken_plugins_with_their_reason(autorec: Autorec) -> None:
    code, out, _ = autorec("plugins", "list")
    lines = [line.split() for line in out.splitlines()]
    assert code == 0
    assert ["greeter", "greet/polite", "ok", "hello-world", "2.1", "A", "thing."] in lines
    assert next(line for line in lines if line[0] == "plugin")[1:4] == ["broken", "broken", "broken-dist"]
    assert "half installed" in out


@pytest.mark.usefixtures("greeter", "broken")
def test_the_json_list_has_everything_of_each_plugin(autorec: Autorec) -> None:
    listed = json.loads(autorec("plugins", "list", "--json")[1])
    plugins = {row["name"]: row for row in listed["plugins"]}
    assert plugins["greet"] | {"module": ""} == {
        "name": "greet", "distribution": "hello-world", "version": "2.1", "module": "", "api": [1], "status": "ok", "reason": "",
        "warnings": [], "components": 2,
    }  # fmt: skip
    assert plugins["broken"]["status"] == "broken"
    assert {row["kind"] for row in listed["components"]} == {"greeter", "cli-command"}


@pytest.mark.usefixtures("greeter")
def test_a_kind_of_a_third_party_can_be_listed_and_a_misspelt_kind_is_an_error(autorec: Autorec) -> None:
    assert "greet/polite" in autorec("plugins", "list", "--kind", "greeter")[1]
    assert "greet/polite" not in autorec("plugins", "list", "--kind", "cli-command")[1]
    code, out, err = autorec("plugins", "list", "--kind", "greter")
    assert (code, out) == (2, "")
    assert err == "error: no component kind is called 'greter'\nhint: did you mean 'greeter'?\n"


@pytest.mark.usefixtures("greeter")
@pytest.mark.parametrize("name", ["greet/polite", "polite"])
def test_show_prints_a_component_with_its_options(autorec: Autorec, name: str) -> None:
    code, out, _ = autorec("plugins", "show", name)
    assert code == 0
    for text in ("greet_things:Polite", "hello-world", "phrase", "'Good day'", "What is said."):
        assert text in out


@pytest.mark.usefixtures("greeter", "broken")
def test_show_prints_a_plugin_and_a_broken_ones_reason(autorec: Autorec) -> None:
    assert "greet/polite" in autorec("plugins", "show", "greet")[1]
    assert "ImportError: half installed" in autorec("plugins", "show", "broken")[1]
    assert autorec("plugins", "show", "gret")[0] == 2


@pytest.mark.usefixtures("greeter")
def test_a_subcommand_of_a_plugin_is_listed_and_runs(autorec: Autorec) -> None:
    assert "hello" in autorec("--help")[1]
    assert autorec("hello", "--name", "Ada") == (0, "hello Ada\n", "")
    assert "Say hello." in autorec("hello", "--help")[1]


@pytest.mark.usefixtures("greeter")
def test_plugins_can_be_left_out_for_one_command(autorec: Autorec) -> None:
    assert autorec("hello")[0] == 0
    for words in (("--no-plugins",), ("--block", "greet"), ("--block", "hello-world")):
        assert autorec(*words, "hello")[0] == 2
    code, _, err = autorec("--block", "nosuch", "--block", "Greet", "plugins", "list")
    assert code == 0 and "--block nosuch: no plugin of this name is installed" in err and "greet: no" not in err.lower()
    code, _, err = autorec("--plugins", "gret", "plugins", "list")
    assert (code, "did you mean 'greet'" in err) == (2, True)


def test_a_misspelt_command_offers_the_nearest(autorec: Autorec) -> None:
    code, _, err = autorec("plugin")
    assert code == 2
    assert err.startswith("error: No such command 'plugin'. Did you mean 'plugins'")


def test_a_wrong_option_is_a_usage_error_with_the_command_to_ask(autorec: Autorec) -> None:
    code, _, err = autorec("plugins", "list", "--jason")
    assert code == 2
    assert "hint: autorec plugins list --help" in err


def test_a_command_whose_module_is_missing_fails_politely(autorec: Autorec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autorec_kernel.cli.lazy.find_spec", lambda name: None)
    code, out, err = autorec("doctor")
    assert (code, out) == (7, "")
    assert err.startswith("error: the command 'doctor' is not part of this installation")


def test_an_unexpected_error_is_one_line_and_debug_shows_the_traceback(autorec: Autorec, monkeypatch: pytest.MonkeyPatch) -> None:
    def boom(name: str) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr("autorec_kernel.cli.lazy.find_spec", boom)
    code, out, err = autorec("doctor")
    assert (code, out, "Traceback" in err) == (1, "", False)
    assert err.startswith("error: unexpected RuntimeError: boom\nhint: ")
    assert "Traceback" in autorec("doctor", "--debug")[2]


@pytest.mark.usefixtures("broken")
def test_doctor_reports_the_installation_as_json(autorec: Autorec) -> None:
    code, out, _ = autorec("doctor", "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts["plugins"]["broken"].startswith("broken: ImportError: half installed")
    assert facts["cores"] >= 1
    assert facts["memory_bytes"]["total"] > facts["memory_bytes"]["available"] > 0
    assert facts["cache"].endswith("autorec")


@pytest.mark.parametrize("words", [["--help"], ["plugins", "list"], ["plugins", "list", "--json"], ["--version"]])
def test_the_command_line_imports_nothing_heavy_before_a_command_needs_it(words: list[str], fake_distribution: FakeSite) -> None:
    script = f"""
import sys
from autorec_kernel.cli.main import main
from autorec_kernel.cli.plugins import _type_name
code = main({words!r})
heavy = [name for name in {HEAVY!r} if name in sys.modules]
assert (code, heavy) == (0, []), (code, heavy)
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_a_reader_that_goes_away_leaves_no_traceback() -> None:
    command = f"{sys.executable} -m autorec_kernel.cli --help | head -1 >/dev/null; exit ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert ended.returncode in (0, 141)  # 0: the reader was slower than the writer
    assert ended.stderr == ""


def test_output_is_the_same_bytes_under_every_locale(fake_distribution: FakeSite) -> None:
    outputs = set()
    for settings in ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"LC_ALL": "C.UTF-8"}):
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(fake_distribution.folder), **settings}
        command = [sys.executable, "-m", "autorec_kernel.cli", "plugins", "list"]
        outputs.add(subprocess.run(command, capture_output=True, env=environment, check=True).stdout)
    assert len(outputs) == 1


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        (int, "int"),
        (tuple[str, ...] | None, "tuple[str, ...] | None"),
        (tuple[Annotated[int, Field(ge=1)], ...], "tuple[int, ...]"),
        (Annotated[float, Field(lt=1)], "float"),
        (Literal["a", "b"], "Literal['a', 'b']"),
    ],
)
def test_types_of_options_are_shown_as_their_author_wrote_them(kind: Any, shown: str) -> None:
    assert _type_name(kind) == shown
