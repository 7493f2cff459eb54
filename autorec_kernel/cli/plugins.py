"""`autorec plugins`: list what is there, show one in full, check one against the contracts."""

from __future__ import annotations

from dataclasses import asdict
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import typer

from autorec_kernel.cli.host import kernel_of
from autorec_kernel.cli.output import emit, emit_json, emit_table, note
from autorec_kernel.errors import AutoRecError, PluginError, UnknownNameError
from autorec_kernel.registry import ComponentRow, PluginRow

if TYPE_CHECKING:
    from autorec_kernel.kernel import Kernel

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="List, show and check plugins and their components.")
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_components(
    context: typer.Context,
    kind: Annotated[str | None, typer.Option(help="Only components of this kind, for example model-block.")] = None,
    as_json: Json = False,
) -> None:
    """List components with their status, and plugins that did not load with the reason."""
    kernel = kernel_of(context)
    kinds = [kind] if kind else [point.kind for point in kernel.extension_points()]
    rows = [row for one in kinds for row in kernel.components(one)]
    if as_json:
        emit_json({"plugins": [asdict(row) for row in kernel.plugins()], "components": [asdict(row) for row in rows]})
        return
    faulty = [row for row in kernel.plugins() if row.status != "ok"]
    lines = [_component_line(row) for row in rows] + [_plugin_line(row) for row in faulty]
    if lines:
        emit_table(("KIND", "COMPONENT", "STATUS", "FROM", "SUMMARY"), lines)
    _advise(kernel, rows, kind)


def _component_line(row: ComponentRow) -> tuple[str, ...]:
    text = row.summary if row.usable else f"{row.reason}: {row.install}"
    return (row.kind, row.id, row.status, _source(row), text)


def _plugin_line(row: PluginRow) -> tuple[str, ...]:
    return ("plugin", row.name, row.status, _source(row), row.reason)


def _source(row: ComponentRow | PluginRow) -> str:
    return f"{row.distribution} {row.version}".strip() or "-"


def _advise(kernel: Kernel, rows: list[ComponentRow], kind: str | None) -> None:
    from autorec_kernel.registry.lookup import INSTALL_HINT

    for plugin in kernel.plugins():
        for warning in plugin.warnings:
            note(f"warning: plugin {plugin.name}: {warning}")
    if not rows:
        note(f"no {kind or 'component'} is provided by an installed plugin\nhint: {INSTALL_HINT}")


@app.command()
def show(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="ID", help="A plugin, or a component as plugin/name or name.")],
    used_by: Annotated[bool, typer.Option("--used-by", help="Show which blueprints use its model blocks instead.")] = False,
    as_json: Json = False,
) -> None:
    """Show a plugin with its components, or a component with its options."""
    kernel = kernel_of(context)
    plugins = [row for row in kernel.plugins() if name in (row.name, row.distribution)]
    components = _named(kernel, name)
    if not plugins and not components:
        known = {row.name for row in kernel.plugins()} | {text for row in _all(kernel) for text in (row.id, row.name)}
        raise UnknownNameError("plugin or component", name, known, hint="autorec plugins list")
    if used_by:
        _show_users(kernel, {row.name for row in plugins}, {row.id for row in components}, as_json)
        return
    described = [{**asdict(row), **_options(kernel, row)} for row in components]
    if as_json:
        emit_json({"plugins": [asdict(row) for row in plugins], "components": described})
        return
    for plugin in plugins:
        _print_fields(asdict(plugin))
        _print_options("provides", [(row.kind, row.id, row.summary) for row in _all(kernel) if row.plugin == plugin.name])
    for one in described:
        options, fault = one.pop("options"), one.pop("fault")
        _print_fields({**one, "cannot be loaded": fault})
        _print_options("options", [(opt["name"], f"{opt['type']} = {opt['default']}", opt["help"]) for opt in options])


def _show_users(kernel: Kernel, plugins: set[str], components: set[str], as_json: bool) -> None:
    """Print each model block with the blueprints that use it, and the share of blocks that two or more of them use."""
    from autorec_kernel.testing.usage import block_users, share_of_shared

    users = {block: found for block, found in block_users(kernel).items() if block in components or block.partition("/")[0] in plugins}
    if as_json:
        emit_json({"blocks": users, "shared": share_of_shared(users)})
        return
    if users:
        emit_table(("BLOCK", "USERS", "BLUEPRINTS"), [(block, str(len(found)), ", ".join(found)) for block, found in users.items()])
    note(f"{share_of_shared(users):.0%} of {len(users)} model blocks serve two or more blueprints")


def _all(kernel: Kernel) -> list[ComponentRow]:
    return [row for point in kernel.extension_points() for row in kernel.components(point.kind)]


def _named(kernel: Kernel, name: str) -> list[ComponentRow]:
    return [row for row in _all(kernel) if name in (row.id, row.name)]


def _options(kernel: Kernel, row: ComponentRow) -> dict[str, Any]:
    """Return the options of a component: name, type, default, help, domain of the search; a fault when it cannot be loaded."""
    try:
        config = getattr(kernel.load(row.kind, row.id), "Config", None)
    except AutoRecError as error:
        return {"options": [], "fault": error.message}
    fields = getattr(config, "model_fields", {})
    return {"options": [_option(name, field) for name, field in fields.items()], "fault": ""}


def _option(name: str, field: Any) -> dict[str, Any]:
    default = "required" if field.is_required() else repr(field.get_default(call_default_factory=True))
    domain = [repr(part) for part in field.metadata if "Domain" in {base.__name__ for base in type(part).__mro__}]
    shown = " in ".join([_type_name(field.annotation), *domain])
    return {"name": name, "type": shown, "default": default, "help": field.description or "", "domain": domain[0] if domain else ""}


def _type_name(kind: Any) -> str:
    """Return a type as its author wrote it, without bounds: `tuple[int, ...] | None`."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _type_name(parts[0])
    if origin in (Union, UnionType):
        return " | ".join(_type_name(part) for part in parts)
    if origin is not None and origin is not Literal:
        return f"{origin.__name__}[{', '.join(_type_name(part) for part in parts)}]"
    names: dict[Any, str] = {type(None): "None", Ellipsis: "..."}
    return names[kind] if kind in names else getattr(kind, "__name__", "") if origin is None else str(kind).removeprefix("typing.")


def _print_fields(fields: dict[str, Any]) -> None:
    for field, value in fields.items():
        texts = [str(part) for part in value] if isinstance(value, (tuple, list)) else [str(value)]
        if any(texts):
            emit(f"{field + ':':<14}{', '.join(texts)}")


def _print_options(title: str, rows: list[tuple[str, str, str]]) -> None:
    if rows:
        emit(f"{title}:")
    for row in rows:
        emit("  " + "  ".join(row))


@app.command()
def check(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A plugin or a component.")],
    as_json: Json = False,
) -> None:
    """Run the conformance checks of a plugin's components; exit code 6 if one fails."""
    from autorec_kernel.testing import check_plugin

    results = check_plugin(kernel_of(context), name)
    if as_json:
        emit_json([{name: getattr(one, name) for name in ("component", "check", "ok", "skipped", "message")} for one in results])
    else:
        emit_table(("RESULT", "COMPONENT", "CHECK", "MESSAGE"), [_result_line(one) for one in results])
    failed = sum(not one.ok for one in results)
    skipped = sum(one.skipped for one in results)
    note(f"{len(results) - failed - skipped} of {len(results)} checks passed" + (f", {skipped} skipped" if skipped else ""))
    if failed:
        raise typer.Exit(PluginError.exit_code)


def _result_line(result: Any) -> tuple[str, ...]:
    return (result.outcome, result.component, result.check, result.message)
