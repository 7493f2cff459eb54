"""What the audit reads off a program: the columns that a feature is made of, whose past it reads, and what no program may do."""

from __future__ import annotations

from collections.abc import Iterator

from autorec_kernel.features.entities import USER
from autorec_kernel.features.feature_set import FeatureSet
from autorec_kernel.records.dataset import CLOCK, ORDER
from autorec_kernel.records.features import Feature
from autorec_kernel.records.program import Program, Step

__all__ = ["columns_of", "is_own", "untrusted"]


def untrusted(features: FeatureSet, feature: Feature) -> Iterator[tuple[str, str]]:
    """Yield (part of the audit, text): the program reads its own row's label, or a table at another moment than the row's."""
    program, steps = _way(features, feature)
    labels = {column.name for column in features.columns.labels}
    for label in sorted(labels & {name for step in steps for name in step.inputs}):
        yield "own label", f"the program of feature {feature.name!r} reads its own row's {label!r}"
    for step in (step for step in program.steps if step.op == "as_of"):
        clock = program.tables[step.params["table"]].time
        if clock not in ("", CLOCK, ORDER) or (clock and step.inputs[1:] != (clock,)):
            read = step.inputs[1] if len(step.inputs) > 1 else "no moment"
            yield "future", f"feature {feature.name!r} reads a table by {clock!r} at {read!r}, not at the row's moment"


def columns_of(features: FeatureSet, feature: Feature) -> tuple[str, ...]:
    """Return the columns that a feature is made of: those its program reads on the way to it."""
    program, steps = _way(features, feature)
    read = {name for step in steps for name in step.inputs}
    return tuple(name for name in program.inputs if name in read and not name.startswith("@"))


def is_own(features: FeatureSet, feature: Feature) -> bool:
    """Whether a feature tells of its user alone: it reads no table in which other users' events stand without an order."""
    program, steps = _way(features, feature)
    tables = [program.tables[step.params["table"]] for step in steps if step.op == "as_of"]
    return feature.depends == "user" and all(table.time or table.key == USER for table in tables)


def _way(features: FeatureSet, feature: Feature) -> tuple[Program, list[Step]]:
    """Return the program that makes a feature, and its steps on the way to it, last first."""
    op = next(op for op in features.fitted if any(f.name == feature.name for f in op.features))
    wanted, steps = {op.output(feature.name)}, []
    for step in reversed(op.program.steps):
        if step.output in wanted:
            wanted |= set(step.inputs)
            steps.append(step)
    return op.program, steps
