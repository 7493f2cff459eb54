"""From a blueprint's `Config` to a Python function with its signature and help, and from its arguments to a network."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pydantic.fields import FieldInfo

from autorec_kernel.errors import ContractError, UnknownNameError, UsageError, nearest
from autorec_kernel.records.architecture import Architecture
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.registry.spec import ComponentSpec
from autorec_zoo.constructors.columns import Column, Labels, schema_of

if TYPE_CHECKING:
    from autorec_kernel.kernel import Kernel
    from autorec_kernel.models import Network

__all__ = ["ArgumentError", "constructor"]

_OWN = {
    "schema": "A `FeatureSchema`, or a `FeatureSet`, whose events closed forms are solved on; None = made of the records given.",
    "columns": "Records of columns that no list names, such as the user and item ids of a factorisation.",
    "labels": "Names of the labels, or name → classification | regression | (low, high); only without `schema`.",
    "tasks": "classification or regression, one a label, where `labels` holds names only.",
    "seed": "Of the initial weights.",
    "kernel": "Where blocks are looked up; None = all installed plugins.",
}
_RETURNS = (
    "The network (`autorec_kernel.models.Network`), untrained and in training mode like any torch module: call `.eval()` to serve.\n"
    "    `training_inputs` and `inputs` name what `loss(batch)` and `serve(*tensors)` read; `attach(items=…)` tells it about a catalogue.\n"
    "    Without a `FeatureSet` a log-q correction takes every item to be drawn alike."
)
_SIDES = ("user", "item")
_UNIFORM = "blocks/item-counts"  # without events every item counts alike, so a log-q correction shifts all scores by one constant


class ArgumentError(UsageError, TypeError):
    """A constructor was called with an argument it does not have; both an error of the kernel and a `TypeError`."""


def constructor(name: str, spec: ComponentSpec) -> Callable[..., Network]:
    """Return the function that builds a blueprint's network; its signature and help come from the blueprint's `Config`.

    Args:
        name: What the function is called.
        spec: Declaration of the blueprint.
    """
    blueprint = _load(spec)
    fields: Mapping[str, FieldInfo] = blueprint.Config.model_fields
    signature = _signature(fields)

    def construct(*values: Any, **options: Any) -> Network:
        given = _bound(name, signature, values, options)
        own = {key: given.pop(key) for key in _OWN if key in given}
        return _build(spec, fields, given, **own)

    construct.__name__ = construct.__qualname__ = name
    construct.__module__ = "autorec_zoo"
    construct.__doc__ = _help(blueprint, spec, fields)
    construct.__signature__ = signature  # type: ignore[attr-defined]
    return construct


def _load(spec: ComponentSpec) -> Any:
    module, _, attribute = spec.target.partition(":")
    return getattr(import_module(module), attribute)


def _signature(fields: Mapping[str, FieldInfo]) -> inspect.Signature:
    shared = inspect.Parameter.POSITIONAL_OR_KEYWORD
    options = [
        inspect.Parameter(name, shared, default=info.get_default(call_default_factory=True), annotation=info.annotation)
        for name, info in fields.items()
    ]
    own = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=0 if name == "seed" else None) for name in _OWN]
    return inspect.Signature([*options, *own])


def _help(blueprint: Any, spec: ComponentSpec, fields: Mapping[str, FieldInfo]) -> str:
    told = {name: f"{info.description} Default: {info.get_default(call_default_factory=True)!r}." for name, info in fields.items()}
    lines = [f"    {name}: {text}" for name, text in {**told, **_OWN}.items()]
    about = inspect.cleandoc(blueprint.__doc__ or spec.summary)
    ends = f"Returns:\n    {_RETURNS}\n\nRaises:\n    ArgumentError: An argument is unknown."
    return f"{about}\n\nFeature lists hold column names of `schema`, or `Field`, `Bag`, `Numeric` and `History` records.\n\nArgs:\n" + (
        "\n".join(lines)
        + f"\n\n{ends}\n    ContractError: The columns do not suit the model, or it is solved on events and there are none.\n"
    )


def _bound(name: str, signature: inspect.Signature, values: Sequence[Any], options: Mapping[str, Any]) -> dict[str, Any]:
    unknown = [key for key in options if key not in signature.parameters]
    if unknown:
        close = nearest(unknown[0], signature.parameters)
        hint = f"did you mean {close!r}?" if close else f"arguments: {', '.join(signature.parameters)}"
        raise ArgumentError(f"{name}() has no argument {unknown[0]!r}", hint=hint)
    try:
        return dict(signature.bind(*values, **options).arguments)
    except TypeError as error:
        raise ArgumentError(f"{name}(): {error}") from None


def _build(
    spec: ComponentSpec,
    fields: Mapping[str, FieldInfo],
    given: dict[str, Any],
    *,
    schema: Any = None,
    columns: Sequence[Column] = (),
    labels: Labels | None = None,
    tasks: Sequence[str] | None = None,
    seed: int = 0,
    kernel: Kernel | None = None,
) -> Network:
    """Return the network: the same steps as those of a recipe.

    Raises:
        UsageError: `schema` is neither a `FeatureSchema` nor a `FeatureSet`.
    """
    import numpy as np

    from autorec_kernel.models import build_network, solve_blocks
    from autorec_zoo.constructors.network import Constructed

    records = _records(given) + [(column, "") for column in columns or ()]
    options = {name: _names(value) for name, value in given.items()}
    features = None if schema is None or isinstance(schema, FeatureSchema) else schema
    if schema is None:
        found = _labels(labels, tasks, options, "multi-task" in spec.tags, "conversion" in fields)
        known = schema_of(records, found, options.get("item_num"))
    else:
        found_schema = schema if features is None else getattr(features, "schema", None)
        if not isinstance(found_schema, FeatureSchema):
            hint = "leave it out and describe columns with Field, Bag, Numeric and History"
            raise UsageError(f"`schema` is a FeatureSchema or a FeatureSet, got a {type(schema).__name__}", hint=hint)
        known = _checked(found_schema, records, labels)
    able = kernel or _installed()
    blueprint = able.create("blueprint", f"zoo/{spec.name}", **options)
    _demand_rates(spec.name, options, fields)
    graph = _graph(blueprint, known, records_only=schema is None)
    _demand_learned(spec.name, graph, _label_names(labels))
    if features is None:
        network = build_network(graph, known, able, seed=seed, kind=Constructed)
        _demand_data(network, spec.name)
        return network
    from autorec_kernel.models import Entities

    arrays = solve_blocks(graph, features, able, seed=np.random.SeedSequence(seed))
    return build_network(graph, known, able, arrays, seed, Constructed).attach(Entities(features))


def _graph(blueprint: Any, known: FeatureSchema, *, records_only: bool) -> Architecture:
    """Return the graph.

    Raises:
        UsageError: A name is not among the records given, and there is no schema.
        UnknownNameError: The schema has no such column.
    """
    try:
        return blueprint.architecture(known)  # type: ignore[no-any-return]
    except UnknownNameError as error:
        if not records_only:
            raise
        hint = "pass schema=<FeatureSchema or FeatureSet>, or describe the column: Field(name, size), Bag, Numeric or History"
        raise UsageError(f"{error.message}, and there is no schema to find it in", hint=hint) from None


def _demand_rates(name: str, options: Mapping[str, Any], fields: Mapping[str, FieldInfo]) -> None:
    """Demand that there are no more dropout rates than layers; a search, which draws the two apart, leaves the others unread.

    Raises:
        UsageError: There are.
    """
    rates = options.get("dropout_rates", ())
    listed = [options.get(key, fields[key].default) for key in ("hidden_units", "second_units") if key in fields]
    depths = [len(units) for units in listed if isinstance(units, tuple)]
    depths += [int(options.get("cross_num", fields["cross_num"].default))] if name == "edcn" else []  # a layer beside each cross
    if isinstance(rates, tuple) and depths and len(rates) > max(depths):
        told = f"zoo/{name}: there are {len(rates)} dropout_rates for {max(depths)} layers"
        raise UsageError(told, hint="give at most one a layer; the last repeats")


def _label_names(labels: Labels | None) -> list[str]:
    return [] if labels is None else [labels] if isinstance(labels, str) else list(labels)


def _demand_learned(name: str, graph: Architecture, labels: Sequence[str]) -> None:
    """Demand that every label that was named is learned.

    Raises:
        UsageError: One is not.
    """
    learned = {*graph.outputs, *(str(node.config["task"]) for node in graph.nodes if node.block == "@labels")}
    idle = [label for label in labels if label not in learned]
    if idle:
        told = [label for label in labels if label in learned] or "no label"
        raise UsageError(f"zoo/{name} learns {told} with these options, and {idle} would be left out", hint="leave them out of `labels`")


def _demand_data(network: Network, name: str) -> None:
    """Demand that nothing has to be solved on events; unknown counts of items are the exception, which losses read as uniform.

    Raises:
        ContractError: A closed form is part of the network, and there is no data to solve it on.
    """
    from autorec_kernel.models.reach import ancestors
    from autorec_kernel.models.unsolved import Unsolved

    graph = network.architecture
    dead = {node.id: node.block for node in graph.nodes if isinstance(network.part(node.id), Unsolved)}
    served = [node.id for node in ancestors(graph, graph.outputs.values()) if node.id in dead]
    trained = [key for key, block in dead.items() if key not in served and block != _UNIFORM]
    if not served and not trained:
        return
    key = (served or trained)[0]
    what = f"zoo/{name} solves {key!r} ({dead[key]}) on events: it needs data"
    other = "" if served else f", or choose a loss that does without {dead[key]}"
    raise ContractError(what, hint=f"pass schema=<FeatureSet>{other}")


@cache
def _installed() -> Kernel:
    from autorec_kernel.kernel import Kernel

    return Kernel.discover()


def _records(given: Mapping[str, Any]) -> list[tuple[Column, str]]:
    """Return the records in feature lists, each with the side that the list's name tells."""
    found: list[tuple[Column, str]] = []
    for name, value in given.items():
        side = next((side for side in _SIDES if name == f"{side}_features"), "")
        found += [(part, side) for part in (value if isinstance(value, (list, tuple)) else ()) if isinstance(part, Column)]
    return found


def _names(value: Any) -> Any:
    """Return the value with records replaced by their names."""
    if isinstance(value, (list, tuple)):
        return tuple(part.name if isinstance(part, Column) else part for part in value)
    return value


def _checked(schema: FeatureSchema, records: Sequence[tuple[Column, str]], labels: Labels | None) -> FeatureSchema:
    if records or labels:
        what = f"record {records[0][0].name!r}" if records else "`labels`"
        raise UsageError(f"the schema describes columns and labels already, so {what} cannot", hint="give names, or leave out `schema`")
    return schema


def _labels(labels: Labels | None, tasks: Sequence[str] | None, options: Mapping[str, Any], several: bool, chained: bool) -> Labels:
    """Return the labels to learn: those given, else as many as the options count."""
    kinds = list(tasks or options.get("task_types") or ())
    if labels is None:
        count = int(options.get("num_tasks") or 0) or len(kinds) or (2 if several else 1)
        labels = ("click", "conversion") if chained else tuple(f"task_{n}" for n in range(1, count + 1)) if count > 1 else ("label",)
    if isinstance(labels, Mapping) or not kinds:
        return labels
    names = [labels] if isinstance(labels, str) else list(labels)
    if len(names) != len(kinds):
        raise UsageError(f"there are {len(names)} labels {names} and {len(kinds)} kinds of task {kinds}: give one each")
    return dict(zip(names, kinds, strict=True))
