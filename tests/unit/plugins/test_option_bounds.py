"""Sizes, counts and rates that cannot be are refused by name, of every component of every first-party plugin."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic.fields import FieldInfo

from autorec_kernel.config import parse_config
from autorec_kernel.errors import UsageError
from autorec_kernel.testing.host import host

MODELS = ("zoo", "blocks")
OTHERS = ("baselines", "bayes", "evolution", "features", "prune", "quantize", "readers", "reinforce", "search", "training", "workers")
ALL = [
    (point.kind, row.id)
    for point in host(None).extension_points()
    for row in host(None).components(point.kind)
    if row.usable and row.id.partition("/")[0] in MODELS + OTHERS and hasattr(host(None).load(point.kind, row.id), "Config")
]
SIGNED = {"offset", "scale", "shift", "prior", "moments"}  # plain numbers of any sign
RATES = ("dropout", "id_dropout", "mask_rate", "smoothing", "share", "warmup", "crossover", "sparsity", "fine_tune")
WHOLE = {"crossover", "fine_tune"}  # rates that may be 1
LEAST = {"num_workers": -1, "plateau_patience": 0, "retries": 0, "smallest": 0}  # counts whose least value means something
WITHOUT_END = {  # options that a bound would not help, and why
    "prior": "a mean of labels is any finite number",
    "moments": "a clock is any integer",
    "spread": "a deviation of labels has the label's own unit",
}


def wrong_values(name: str, info: FieldInfo) -> Iterator[Any]:
    """Yield values that the option must refuse, by its type, its name and what its description says of 0."""
    kind, default = str(info.annotation), info.default
    if name in SIGNED:
        return
    if "int" in kind and "Literal" not in kind and "str" not in kind:
        least = LEAST.get(name, 0)
        wrong = [least - 1] if name == "seed" or name in LEAST or default == 0 or "0" in str(info.description) else [0, -1]
    elif "float" in kind:
        wrong = [-0.5, -1.0, 1.5, *([] if name in WHOLE else [1.0])] if name.startswith(RATES) else [-0.5, -1.0]
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
    assert len(CASES) > 400
    assert {name for _, name in ALL} > {"zoo/sasrec", "zoo/ple", "blocks/mlp", "blocks/capsules", "training/full", "workers/local"}
    assert {name.partition("/")[0] for _, name in ALL} == {*MODELS, *OTHERS}


def numbers(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the numbers inside an option's JSON schema."""
    if schema.get("type") in ("integer", "number") and "enum" not in schema:
        yield schema
    for part in (*schema.get("anyOf", ()), *([schema["items"]] if "items" in schema else ())):
        yield from numbers(part)


def ends(number: dict[str, Any]) -> tuple[list[float], list[float]]:
    """Return the values next outside the lower and the upper bound, none where there is no bound."""
    step = 1 if number["type"] == "integer" else 1e-9 * max(1.0, abs(number.get("maximum", number.get("minimum", 0.0))))
    low = [number["exclusiveMinimum"]] if "exclusiveMinimum" in number else [number["minimum"] - step] if "minimum" in number else []
    high = [number["exclusiveMaximum"]] if "exclusiveMaximum" in number else [number["maximum"] + step] if "maximum" in number else []
    return low, high


OPTIONS = [
    pytest.param(kind, name, option, number, "items" in schema, id=f"{name}-{option}")
    for kind, name in ALL
    if name.partition("/")[0] in OTHERS
    for option, schema in host(None).load(kind, name).Config.model_json_schema().get("properties", {}).items()
    for number in numbers(schema)
]


@pytest.mark.parametrize(("kind", "name", "option", "number", "listed"), OPTIONS)
def test_a_number_has_two_ends_or_a_written_reason(kind, name, option, number, listed):
    """Widths of models in the zoo have no upper end: the run's limit on parameters judges them before anything is trained."""
    low, high = ends(number)
    assert low or option in WITHOUT_END
    assert high or option in WITHOUT_END
    for value in (*low, *high, *([-1e30, 1e30] if low and high else [])):
        with pytest.raises(UsageError, match=option):
            parse_config(host(None).load(kind, name).Config, {option: (value,) if listed else value}, where=name)


def test_only_options_with_a_reason_lack_an_end():
    assert {case.values[2] for case in OPTIONS if not all(ends(case.values[3]))} <= set(WITHOUT_END)


@pytest.mark.parametrize(
    ("name", "option"), [("dien", "interest_units"), ("autorec-user", "hidden_units"), ("afm", "attention_units"), ("edcn", "hidden_units")]
)
def test_an_empty_list_without_a_meaning_is_refused(name, option):
    with pytest.raises(UsageError, match=option):
        parse_config(host(None).load("blueprint", f"zoo/{name}").Config, {option: ()}, where=name)


def test_edcn_has_no_layer_count_at_which_its_gate_is_idle():
    with pytest.raises(UsageError, match="cross_num"):
        parse_config(host(None).load("blueprint", "zoo/edcn").Config, {"cross_num": 1}, where="zoo/edcn")
