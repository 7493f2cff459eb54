"""Import a component and hold it against the contract of its kind."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

from autorec_kernel.errors import ContractError, PluginError, nearest
from autorec_kernel.registry.availability import install_command
from autorec_kernel.registry.faults import describe
from autorec_kernel.registry.rows import ComponentRow
from autorec_kernel.registry.spec import ExtensionPoint

__all__ = ["load_component", "resolve"]


def resolve(target: str, where: str) -> Any:
    """Import `package.module:Name`.

    Args:
        where: Who names the target; named in errors.

    Raises:
        PluginError: The import raises or the name is missing.
    """
    module, _, name = target.partition(":")
    try:
        value: Any = importlib.import_module(module)
    except KeyboardInterrupt:
        raise
    except ModuleNotFoundError as error:
        hint = "" if not error.name or module.startswith(error.name) else install_command("", "", [error.name.partition(".")[0]])
        raise PluginError(f"importing {target!r} raised {describe(error)}", hint=hint, where=where) from error
    except BaseException as error:  # plugin border: SystemExit and the like become an error that names the component
        raise PluginError(f"importing {target!r} raised {describe(error)}", where=where) from error
    for part in name.split("."):
        if not hasattr(value, part):
            close = nearest(part, vars(value))
            raise PluginError(f"{target!r} does not exist", hint=f"did you mean {close!r}?" if close else "", where=where)
        value = getattr(value, part)
    return value


def load_component(row: ComponentRow, point: ExtensionPoint) -> Any:
    """Return the class (or, for a kind without a contract, the function) of a component.

    Raises:
        PluginError: It cannot be imported.
        ContractError: It lacks `Config` or something that the contract of its kind asks for.
    """
    where = f"{row.kind} {row.id!r}"
    component = resolve(row.target, where)
    if not callable(component):
        raise ContractError(f"{row.target!r} is a {type(component).__name__}; expected something callable", where=where)
    if not point.contract:
        return component
    lacking = (*_config_fault(component), *_lacking(component, resolve(point.contract, f"extension point {point.kind!r}")))
    if lacking:
        name = point.contract.partition(":")[2]
        raise ContractError(f"{row.target!r} lacks {', '.join(lacking)}; the contract is {name} ({point.contract})", where=where)
    return component


def _config_fault(component: Any) -> tuple[str, ...]:
    from autorec_kernel.config import ComponentConfig

    config = getattr(component, "Config", None)
    return () if isinstance(config, type) and issubclass(config, ComponentConfig) else ("'Config', a subclass of ComponentConfig",)


def _lacking(component: Any, contract: type) -> tuple[str, ...]:
    """Return the methods and class attributes of a Protocol that a component does not have."""
    names = {name for base in contract.__mro__ if getattr(base, "_is_protocol", False) for name in _members(base)} - {"Config"}
    return tuple(repr(name) for name in sorted(names) if not hasattr(component, name))


def _members(contract: type) -> set[str]:
    methods = {name for name, value in vars(contract).items() if not name.startswith("_") and (callable(value) or _wrapped(value))}
    stated = inspect.get_annotations(contract)
    return methods | {name for name, annotation in stated.items() if "ClassVar" in str(annotation)}


def _wrapped(value: Any) -> bool:
    return isinstance(value, (classmethod, staticmethod, property))
