"""Declarations are checked when they are made."""

from __future__ import annotations

import pytest

from autorec_kernel.errors import ContractError
from autorec_kernel.registry import ComponentSpec, ExtensionPoint


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "Upper"),
        ("name", "two words"),
        ("name", "-leading"),
        ("target", "package.module"),
        ("target", "package.module:"),
        ("target", "package/module:Class"),
        ("summary", "No full stop"),
        ("summary", ""),
        ("summary", "Two\nlines."),
        ("requires", "deap"),
        ("requires", ("deap>=1",)),
        ("tags", (1,)),
    ],
)
def test_a_malformed_component_is_refused_with_the_field_named(field: str, value: object) -> None:
    fields = {"name": "thing", "target": "package.module:Class", "summary": "A thing."}
    with pytest.raises(ContractError, match=field):
        ComponentSpec(**{**fields, field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(("field", "value"), [("kind", "A B"), ("hook", "make_things"), ("contract", "Protocol"), ("check", "check")])
def test_a_malformed_extension_point_is_refused_with_the_field_named(field: str, value: str) -> None:
    fields = {"kind": "thing", "hook": "autorec_things", "contract": "package.module:Protocol", "summary": "A thing."}
    with pytest.raises(ContractError, match=field):
        ExtensionPoint(**{**fields, field: value})


def test_lists_become_tuples_so_that_a_spec_is_hashable() -> None:
    spec = ComponentSpec("thing", "package.module:Class", "A thing.", requires=["deap"], tags=["baseline"])  # type: ignore[arg-type]
    assert (spec.requires, spec.tags) == (("deap",), ("baseline",))
    assert hash(spec) == hash(spec)
