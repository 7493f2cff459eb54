"""Sizes, counts and rates that no model can have are refused by name, of every blueprint of the zoo and every block."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic.fields import FieldInfo

from autorec_kernel.config import parse_config
from autorec_kernel.errors import UsageError
from autorec_kernel.testing.host import host

ALL = [
    (kind, row.id) for kind in ("blueprint", "model-block") for row in host(None).components(kind) if row.id.startswith(("zoo/", "blocks/"))
]
SIGNED = {"offset", "scale", "shift"}  # plain numbers of any sign
RATES = ("dropout", "mask_rate", "smoothing", "share")


def wrong_values(name: str, info: FieldInfo) -> Iterator[Any]:
    """Yield values that the option must refuse, by its type, its name and what its description says of 0."""
    kind, default = str(info.annotation), info.default
    if "int" in kind and "Literal" not in kind and "str" not in kind:
        wrong = [-1] if name == "seed" or "0" in str(info.description) else [0, -1]
    elif "float" in kind and name not in SIGNED:
        wrong = [-0.5, -1.0, 1.0, 1.5] if name.startswith(RATES) else [-0.5, -1.0]
    else:
        return
    yield from ((value,) if isinstance(default, tuple) else value for value in wrong)
    if isinstance(default, float) and "tuple" in kind:
        yield from ((value,) for value in wrong)


CASES = [
    pytest.param(kind, name, option, value, id=f"{name}-{option}-{value}")
    for kind, name in ALL
    for option, info in host(None).load(kind, name).Config.model_fields.items()
    for value in wrong_values(option, info)
]


@pytest.mark.parametrize(("kind", "name", "option", "value"), CASES)
def test_an_impossible_number_is_refused_by_name(kind, name, option, value):
    with pytest.raises(UsageError, match=option):
        parse_config(host(None).load(kind, name).Config, {option: value}, where=name)


def test_there_are_many_of_them():
    assert len(CASES) > 300
    assert {name for _, name in ALL} > {"zoo/sasrec", "zoo/ple", "blocks/mlp", "blocks/capsules"}


@pytest.mark.parametrize(
    ("name", "option"), [("dien", "interest_units"), ("autorec-user", "hidden_units"), ("afm", "attention_units"), ("edcn", "hidden_units")]
)
def test_an_empty_list_without_a_meaning_is_refused(name, option):
    with pytest.raises(UsageError, match=option):
        parse_config(host(None).load("blueprint", f"zoo/{name}").Config, {option: ()}, where=name)


def test_edcn_has_no_layer_count_at_which_its_gate_is_idle():
    with pytest.raises(UsageError, match="cross_num"):
        parse_config(host(None).load("blueprint", "zoo/edcn").Config, {"cross_num": 1}, where="zoo/edcn")
