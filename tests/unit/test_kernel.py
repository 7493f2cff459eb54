"""`Kernel`: an object that lists, finds, loads and creates components and calls hooks, and that nothing else can see."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar, Protocol

import pytest
from pydantic import Field

from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError, DataError, PluginError, UnknownNameError, UsageError
from autorec_kernel.kernel import Kernel
from autorec_kernel.markers import hookimpl
from autorec_kernel.registry import ComponentSpec, ExtensionPoint

HERE = "kernel_test_components"


class GreeterContract(Protocol):
    Config: ClassVar[type[ComponentConfig]]
    language: ClassVar[str]

    def greet(self, name: str) -> str: ...


class Polite:
    language = "en"

    class Config(ComponentConfig):
        phrase: str = Field("Good day", description="What is said.")

    def __init__(self, config: Config) -> None:
        self.config = config

    def greet(self, name: str) -> str:
        return f"{self.config.phrase}, {name}"


class Mute:
    Config = Polite.Config
    language = "en"


class Unconfigured(Polite):
    Config = dict  # type: ignore[assignment]


class Explosive(Polite):
    def __init__(self, config: Any) -> None:
        raise RuntimeError("boom")


class CsvReader:
    class Config(ComponentConfig):
        pass

    def __init__(self, config: Config) -> None:
        self.config = config

    def accepts(self, source: Any) -> bool:
        return str(source).endswith(".odd")

    def read(self, source: Any) -> Any:
        return {"rows": str(source)}


def section(result: Mapping[str, Any]) -> str:
    return f"# {result['title']}"


@pytest.fixture(autouse=True)
def components(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make the classes above importable under a name of their own."""
    module = ModuleType(HERE)
    vars(module).update({name: value for name, value in globals().items() if isinstance(value, type) or name == "section"})
    monkeypatch.setitem(sys.modules, HERE, module)
    yield


def plugin(**hooks: Any) -> SimpleNamespace:
    """Return a plugin whose hooks are these functions, or return these values."""
    return SimpleNamespace(**{name: _hook(name, value) for name, value in hooks.items()})


def _hook(name: str, value: Any) -> Any:
    function = value if callable(value) else lambda: value
    function.__name__ = name
    return hookimpl(function)


def spec(name: str = "polite", target: str = "Polite", **fields: Any) -> ComponentSpec:
    return ComponentSpec(name, f"{HERE}:{target}", "A thing.", **fields)


POINT = ExtensionPoint("greeter", "autorec_greeters", f"{HERE}:GreeterContract", "Greets people.")


def greeters(*specs: ComponentSpec, **more: Any) -> SimpleNamespace:
    return plugin(autorec_extension_points=(POINT,), autorec_greeters=specs, **more)


def test_a_kernel_without_plugins_lists_nothing_and_says_what_to_install() -> None:
    kernel = Kernel()
    assert kernel.plugins() == ()
    assert {point.kind for point in kernel.extension_points()} >= {"model-block", "reader"}
    assert kernel.components("model-block") == ()
    assert kernel.open_dataset("ratings.csv") is None
    with pytest.raises(PluginError, match="no installed plugin provides a model block") as raised:
        kernel.find("model-block", "fm")
    assert "pip install" in raised.value.hint
    with pytest.raises(PluginError, match="needs a search strategy") as raised:
        kernel.require("search-strategy")
    assert "pip install" in raised.value.hint


def test_two_kernels_with_different_plugins_live_in_one_process() -> None:
    first = Kernel({"a": plugin(autorec_model_blocks=(spec("one"),))})
    second = Kernel({"b": plugin(autorec_model_blocks=(spec("two"),))})
    assert [row.id for row in first.components("model-block")] == ["a/one"]
    assert [row.id for row in second.components("model-block")] == ["b/two"]


def test_one_plugin_object_serves_two_kernels() -> None:
    shared = greeters(spec())
    assert Kernel({"a": shared}).find("greeter", "polite").id == "a/polite"
    assert Kernel({"b": shared}).find("greeter", "polite").id == "b/polite"


def test_a_kind_of_a_third_party_is_listed_loaded_and_configured_like_the_kernels_own() -> None:
    kernel = Kernel({"hello": greeters(spec()), "more": plugin(autorec_greeters=(spec("second"),))})
    assert [row.status for row in kernel.plugins()] == ["ok", "ok"]
    assert [row.id for row in kernel.components("greeter")] == ["hello/polite", "more/second"]
    assert kernel.create("greeter", "hello/polite", phrase="Ahoy").greet("Ada") == "Ahoy, Ada"


def test_a_third_party_cannot_replace_a_kind_of_the_kernel() -> None:
    theirs = ExtensionPoint("model-block", "autorec_greeters", f"{HERE}:GreeterContract", "Greets people.")
    kernel = Kernel({"hello": plugin(autorec_extension_points=(theirs,))})
    assert next(point for point in kernel.extension_points() if point.kind == "model-block").hook == "autorec_model_blocks"
    assert "already there" in kernel.plugins()[0].warnings[0]


def test_a_misspelt_hook_is_named_with_the_nearest_one_and_the_rest_is_kept() -> None:
    kernel = Kernel({"typo": plugin(autorec_model_bloks=(spec(),), autorec_metrics=(spec("m"),))})
    row = kernel.plugins()[0]
    assert (row.status, row.reason) == ("broken", "no hook is called 'autorec_model_bloks'; did you mean 'autorec_model_blocks'?")
    assert [component.id for component in kernel.components("metric")] == ["typo/m"]


def test_a_hook_of_a_third_partys_kind_is_known_and_a_misspelt_one_is_not() -> None:
    kernel = Kernel({"hello": greeters(spec()), "typo": plugin(autorec_greters=(spec(),))})
    assert "did you mean 'autorec_greeters'?" in kernel.plugins()[1].reason


def test_an_optional_hook_of_a_newer_kernel_is_accepted() -> None:
    future = SimpleNamespace(autorec_from_the_future=hookimpl(optionalhook=True)(lambda: ()))
    assert Kernel({"future": future}).plugins()[0].status == "ok"


def test_a_forgotten_decorator_is_a_warning() -> None:
    row = Kernel({"bare": SimpleNamespace(autorec_model_blocks=lambda: (spec(),))}).plugins()[0]
    assert row.warnings == ("function 'autorec_model_blocks' lacks @hookimpl and is ignored",)


def test_a_wrong_signature_breaks_its_plugin_only() -> None:
    kernel = Kernel({
        "a-wrong": plugin(autorec_trial_finished=lambda trail: None, autorec_model_blocks=(spec(),)),
        "b-wrong": greeters(),
        "c-wrong": SimpleNamespace(autorec_greeters=hookimpl(lambda language: (spec(),))),
        "good": plugin(autorec_model_blocks=(spec(),)),
    })  # fmt: skip
    statuses = {row.name: row.status for row in kernel.plugins()}
    assert statuses == {"a-wrong": "broken", "b-wrong": "ok", "c-wrong": "broken", "good": "ok"}
    assert [row.id for row in kernel.components("model-block")] == ["good/polite"]
    assert "trail" in kernel.plugins()[0].reason


def _raises() -> Any:
    raise ValueError("not today")


async def _coroutine() -> Any:
    return ()


@pytest.mark.parametrize(
    ("declared", "phrase"),
    [
        (_raises, "ValueError: not today"),
        (lambda: sys.exit(3), "SystemExit: 3"),
        (_coroutine, "coroutine"),
        (lambda: "fm", "it returned a str; expected a tuple"),
        (lambda: 3, "it returned a int; expected a tuple"),
        (lambda: spec(), "it returned a ComponentSpec; expected a tuple"),
        (lambda: ("fm",), "returned a str; expected ComponentSpec"),
        (lambda: (spec("Bad Name"),), "name is 'Bad Name'"),
        (lambda: (spec(), spec()), "declares 'polite' twice"),
    ],
)
def test_a_declaration_hook_that_misbehaves_breaks_its_plugin_and_loses_nothing_else(declared: Any, phrase: str) -> None:
    kernel = Kernel({
        "bad": plugin(autorec_model_blocks=declared, autorec_metrics=(spec("m"),)),
        "good": plugin(autorec_model_blocks=(spec(),)),
    })  # fmt: skip
    bad, good = kernel.plugins()
    assert (bad.status, good.status) == ("broken", "ok")
    assert phrase in bad.reason
    assert "good/polite" in {row.id for row in kernel.components("model-block")}
    assert [row.id for row in kernel.components("metric")] == ["bad/m"]


def test_a_declaration_may_be_a_generator() -> None:
    def blocks() -> Iterator[ComponentSpec]:
        yield spec("one")
        yield spec("two")

    kernel = Kernel({"gen": SimpleNamespace(autorec_model_blocks=hookimpl(_named(blocks)))})
    assert [row.name for row in kernel.components("model-block")] == ["one", "two"]


def _named(function: Any) -> Any:
    function.__name__ = "autorec_model_blocks"
    return function


def test_a_missing_package_makes_a_component_unavailable_with_the_command_that_brings_it() -> None:
    kernel = Kernel({"evo": greeters(spec("nsga2", requires=("no-such-package",), extra="evolution"), spec("ga", requires=("pytest",)))})
    ready, absent = kernel.components("greeter")
    assert (ready.status, absent.status) == ("ok", "unavailable")
    with pytest.raises(PluginError) as raised:
        kernel.load("greeter", "nsga2")
    assert raised.value.message == "greeter 'evo/nsga2' is unavailable: it needs 'no-such-package', which is not installed"
    assert raised.value.hint == "pip install no-such-package"


def test_a_bare_name_works_while_it_is_unambiguous() -> None:
    kernel = Kernel({"a": greeters(spec()), "b": plugin(autorec_greeters=(spec(), spec("rude")))})
    assert kernel.find("greeter", "rude").id == "b/rude"
    assert kernel.find("greeter", "a/polite").plugin == "a"
    with pytest.raises(PluginError, match="claimed by a/polite and b/polite") as raised:
        kernel.find("greeter", "polite")
    assert raised.value.hint == "write 'a/polite' or 'b/polite'"


def test_an_unknown_name_or_kind_offers_the_nearest() -> None:
    kernel = Kernel({"a": greeters(spec())})
    with pytest.raises(UnknownNameError, match="did you mean 'polite'"):
        kernel.find("greeter", "polit")
    with pytest.raises(UnknownNameError, match="did you mean 'greeter'"):
        kernel.components("greter")


def test_a_component_of_a_broken_plugin_is_explained_by_the_plugins_reason() -> None:
    kernel = Kernel({"bad": greeters(), "zoo": plugin(autorec_greeters=_raises)})
    with pytest.raises(PluginError, match="plugin 'zoo' is broken: autorec_greeters failed: ValueError: not today"):
        kernel.find("greeter", "zoo/polite")


@pytest.mark.parametrize(
    ("target", "phrase"),
    [
        ("Mute", "lacks 'greet'"),
        ("Unconfigured", "lacks 'Config', a subclass of ComponentConfig"),
        ("Missing", "does not exist"),
        ("Polit", "did you mean 'Polite'"),
    ],
)
def test_loading_holds_a_component_against_its_contract(target: str, phrase: str) -> None:
    kernel = Kernel({"a": greeters(spec(target=target))})
    with pytest.raises(PluginError, match=phrase):
        kernel.load("greeter", "polite")


def test_a_component_whose_module_fails_is_an_error_that_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "failing_component.py").write_text("raise SystemExit(1)")
    monkeypatch.syspath_prepend(str(tmp_path))
    kernel = Kernel({"a": greeters(ComponentSpec("x", "failing_component:X", "A thing."))})
    with pytest.raises(PluginError, match="SystemExit") as raised:
        kernel.load("greeter", "x")
    assert raised.value.where == "greeter 'a/x'"


def test_a_constructor_that_raises_is_an_error_that_names_the_component() -> None:
    with pytest.raises(PluginError, match="RuntimeError: boom"):
        Kernel({"a": greeters(spec(target="Explosive"))}).create("greeter", "polite")


def test_an_unknown_option_offers_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"unknown option 'phrse' \(did you mean 'phrase'\?\)"):
        Kernel({"a": greeters(spec())}).create("greeter", "polite", phrse="Hi")


def test_tagged_gives_usable_components_only() -> None:
    missing = spec("b", tags=("baseline",), requires=("no-such-package",))
    kernel = Kernel({"a": greeters(spec("c", tags=("baseline",)), missing, spec("d"))})
    assert [row.name for row in kernel.tagged("greeter", "baseline")] == ["c"]


def test_a_blocked_plugin_is_listed_and_gives_nothing() -> None:
    kernel = Kernel({"a": plugin(autorec_model_blocks=(spec(),))}, blocked=("a",))
    assert kernel.plugins()[0].status == "blocked"
    assert kernel.components("model-block") == ()


def test_observers_get_the_arguments_they_want_in_order_of_plugin_name() -> None:
    seen: list[Any] = []
    kernel = Kernel({
        "b": plugin(autorec_stage_started=lambda stage: seen.append(("b", stage))),
        "a": plugin(autorec_stage_started=lambda context, stage: seen.append(("a", stage, context["rows"]))),
    })  # fmt: skip
    kernel.observe("stage_started", stage="data", context={"rows": 3})
    assert seen == [("a", "data", 3), ("b", "data")]


def test_an_observer_that_raises_is_logged_and_silenced_after_three_times_in_a_row(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[Any] = []

    def failing(stage: str) -> None:
        calls.append(stage)
        raise RuntimeError("observer trouble")

    good = plugin(autorec_stage_finished=lambda stage: calls.append("ok"))
    kernel = Kernel({"bad": plugin(autorec_stage_finished=failing), "good": good})
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            kernel.observe("stage_finished", stage="data", context={})
    assert calls.count("data") == 3
    assert calls.count("ok") == 5
    assert "plugin 'bad': autorec_stage_finished raised RuntimeError: observer trouble" in caplog.text


def test_an_unknown_event_is_refused() -> None:
    with pytest.raises(UsageError, match="no event is called 'started'"):
        Kernel().observe("started")  # type: ignore[arg-type]


def test_the_first_opener_that_knows_the_source_answers_and_a_crashing_one_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    def crash(path: Any) -> Any:
        raise RuntimeError("opener trouble")

    def opened(path: Any, options: Any) -> Any:
        return (path, options["sheet"])

    kernel = Kernel({
        "a": plugin(autorec_open_dataset=crash),
        "b": plugin(autorec_open_dataset=lambda path: None),
        "c": plugin(autorec_open_dataset=opened),
    })  # fmt: skip
    assert kernel.open_dataset("x.xls", sheet=2) == ("x.xls", 2)
    assert "opener trouble" in caplog.text


def test_an_opener_that_finds_the_source_damaged_ends_the_search() -> None:
    def damaged(path: Any) -> Any:
        raise DataError("line 3 is cut off")

    with pytest.raises(DataError, match="plugin 'a': line 3 is cut off"):
        Kernel({"a": plugin(autorec_open_dataset=damaged)}).open_dataset("x.csv")


def test_readers_are_asked_after_the_hooks() -> None:
    kernel = Kernel({"r": plugin(autorec_readers=(spec("odd", "CsvReader"), spec("broken", "Missing")))})
    assert kernel.open_dataset("x.odd") == {"rows": "x.odd"}
    assert kernel.open_dataset("x.csv") is None


def test_report_sections_are_plain_functions_and_a_failing_one_is_left_out() -> None:
    kernel = Kernel({"r": plugin(autorec_report_sections=(spec("title", "section"),))})
    assert kernel.report_sections({"title": "Hello"}) == (("r/title", "# Hello"),)
    assert kernel.report_sections({}) == ()


def test_a_kernel_of_modules_can_be_rebuilt_from_json(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("kernel_test_plugin")
    vars(module).update(vars(greeters(spec())))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    again = Kernel.rebuild(Kernel({"a": module}).origin())
    assert [row.id for row in again.components("greeter")] == ["a/polite"]


def test_a_kernel_of_loose_objects_says_that_it_cannot_travel() -> None:
    with pytest.raises(UsageError, match="another process can only import modules"):
        Kernel({"a": plugin()}).origin()


def test_a_contract_error_names_the_contract() -> None:
    with pytest.raises(ContractError, match="the contract is GreeterContract"):
        Kernel({"a": greeters(spec(target="Mute"))}).load("greeter", "polite")
