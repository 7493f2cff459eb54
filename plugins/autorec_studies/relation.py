"""How a new table relates to the one of a run: the same task and columns, or an error that says what differs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from autorec_kernel.errors import DataError, UsageError
from autorec_kernel.stages.prepare import open_table

if TYPE_CHECKING:
    from autorec_kernel.kernel import Kernel
    from autorec_kernel.recipe import Recipe
    from autorec_kernel.records.dataset import Dataset
    from autorec_kernel.records.schema import Column, Schema

__all__ = ["check_task", "open_related"]

_NEEDED = ("user", "item", "label")


def check_task(stated: str, recipe: Recipe, where: str) -> None:
    """Check that a task, if one is stated, is that of the run.

    Raises:
        UsageError: It is another one.
    """
    if stated and stated != recipe.task:
        told = f"this run learnt the task {recipe.task!r}, and its weights say nothing about {stated!r}"
        raise UsageError(told, where=where, hint=f"leave out --task, or: autorec run … --task {stated}")


def open_related(data: Any, users: Any, items: Any, recipe: Recipe, kernel: Kernel, was: Schema) -> tuple[Dataset, Recipe]:
    """Read the new table by the roles and kinds that its columns had in the run.

    Returns:
        The data set, and the recipe with what had to be said of its columns.

    Raises:
        DataError: A user, item or label column is missing, or a column holds values of another kind.
    """
    dataset = open_table(data, recipe, kernel, users, items)
    roles, kinds = _differing(was, dataset.schema)
    if roles or kinds:
        told = {"roles": {**recipe.roles, **roles}, "kinds": {**recipe.kinds, **kinds}}
        recipe = recipe.model_copy(update=told)
        dataset = _opened_again(data, users, items, recipe, kernel, {**roles, **kinds})
    _check_columns(was, dataset.schema, str(data) if isinstance(data, str) else "")
    return dataset, recipe


def _opened_again(data: Any, users: Any, items: Any, recipe: Recipe, kernel: Kernel, changed: dict[str, str]) -> Dataset:
    try:
        return open_table(data, recipe, kernel, users, items)
    except DataError as error:
        told = ", ".join(f"{name!r} ({kind})" for name, kind in sorted(changed.items()))
        message = f"columns are not what they were in the run, {told}: {error.message}"
        raise DataError(message, where=error.where, hint="write the values as the run's table has them, or leave the column out") from error


def _differing(was: Schema, now: Schema) -> tuple[dict[str, str], dict[str, str]]:
    """Return column → role and column → kind of the run, of the columns that are read otherwise now."""
    known = {(column.source, column.name): column for column in was.columns}
    pairs: list[tuple[Column, Column]] = [
        (known[column.source, column.name], column) for column in now.columns if (column.source, column.name) in known
    ]
    labels = [column.name for column in was.labels] if [c.name for c in was.labels] != [c.name for c in now.labels] else []
    present = {column.name for column in now.columns}
    roles = {old.name: str(old.role) for old, new in pairs if old.role != new.role and old.source == "events"}
    roles |= {name: "label" for name in labels if name in present}
    return roles, {old.name: str(old.kind) for old, new in pairs if old.kind != new.kind and old.role != "ignore"}


def _check_columns(was: Schema, now: Schema, where: str) -> None:
    present = {(column.name, column.role) for column in now.columns}
    lost = [column for column in was.columns if column.role in _NEEDED and column.source == "events"]
    lost = [column for column in lost if (column.name, column.role) not in present]
    if lost:
        told = ", ".join(f"{column.role} column {column.name!r}" for column in lost)
        raise DataError(f"the new table lacks the {told} of the run", where=where, hint="name its columns as those of the run are named")
