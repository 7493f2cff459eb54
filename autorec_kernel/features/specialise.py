"""What a program computes of a side table alone is computed ahead, for every key: serving holds no side tables, only such results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from autorec_kernel.errors import ContractError
from autorec_kernel.features.compute import Sides, entity_columns
from autorec_kernel.records.program import Program, Step
from autorec_kernel.records.recent import named

__all__ = ["specialised"]


def specialised(program: Program, sides: Sides) -> Program:
    """Return a program that gives the same values and reads no column of a side table.

    Steps that read one side table and nothing else give way to `gather` from the values they have for every `@user_key` or `@item_key`.

    Raises:
        ContractError: A step mixes texts of a side table with other values; they have to be looked up first.
    """
    owner = _owners(program)
    mixed = [step for step in program.steps if step.output not in owner]
    read = [name for step in mixed for name in step.inputs] + list(program.outputs)
    ahead = [name for name in dict.fromkeys(read) if name in owner]
    if not ahead:
        return program
    found = {f"ahead.{name}": value for entity in ("user", "item") for name, value in _values(program, ahead, owner, entity, sides).items()}
    steps = tuple(Step("gather", (f"@{owner[name]}_key",), name, {"table": f"ahead.{name}"}) for name in ahead) + tuple(mixed)
    kept = tuple(name for name in program.inputs if name not in owner)
    keys = tuple(key for key in ("@user_key", "@item_key") if key not in kept and any(key in step.inputs for step in steps))
    return replace(program, inputs=(*kept, *keys), steps=steps, arrays=named(program.arrays, mixed) | found)


def _owners(program: Program) -> dict[str, str]:
    """Return the entity whose side table alone a name depends on; other names are left out."""
    owner = {name: entity for name in program.inputs for entity in ("user", "item") if name.startswith(f"{entity}s.")}
    for step in program.steps:
        of = {owner.get(name, "") for name in step.inputs}
        if step.op != "as_of" and len(of) == 1 and "" not in of:
            owner[step.output] = of.pop()
    return owner


def _values(program: Program, ahead: Sequence[str], owner: Mapping[str, str], entity: str, sides: Sides) -> dict[str, np.ndarray]:
    wanted = [name for name in ahead if owner[name] == entity]
    columns, rows = entity_columns(entity, program.inputs, sides)
    values = {**columns, **program.computed(wanted, columns)} if wanted else {}
    missing = np.full(rows, np.nan)
    found = {name: values.get(name, missing) for name in wanted}
    texts = [name for name, value in found.items() if not isinstance(value, np.ndarray)]
    if texts:
        raise ContractError(f"a feature program mixes the texts of {texts} with other columns", hint="look them up in a vocabulary first")
    return found
