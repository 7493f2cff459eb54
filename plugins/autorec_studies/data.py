"""The data of a replay: where the tables of a run lie, and whether they are still what the run had."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autorec_kernel.errors import DataError, UsageError

if TYPE_CHECKING:
    from autorec_kernel.features import FeatureSet
    from autorec_kernel.records.dataset import Dataset
    from autorec_studies.original import Original

__all__ = ["check_data", "check_features", "sources"]


def sources(original: Original, data: Any, users: Any, items: Any) -> tuple[Any, tuple[Any, Any]]:
    """Return the tables to read.

    Raises:
        UsageError: It is not known where one is, or it is gone.
    """
    found = data if data is not None else original.table("data" if original.whole else "features")
    others = (users, items) if data is not None else (users or original.table("users"), items or original.table("items"))
    if found is None:
        raise UsageError("the journal does not say where the table of this run lies", where=str(original.folder), hint="add --data FILE")
    for named, table in (("--data", found), ("--users", others[0]), ("--items", others[1])):
        if isinstance(table, str) and Path(table).is_absolute() and not Path(table).exists():
            raise UsageError("this table of the run is not there any more", where=table, hint=f"add {named} FILE")
    return found, others


def check_data(original: Original, dataset: Dataset) -> None:
    """Check that the data is what the run had.

    Raises:
        DataError: It is not.
    """
    mine = {"data": dataset.fingerprint, "protocol": dataset.protocol.id}
    if "labels" in original.header:
        mine["labels"] = [column.name for column in dataset.schema.labels]  # type: ignore[assignment]
    changed = [f"{name}: was {original.header.get(name)}, is {value}" for name, value in mine.items() if original.header.get(name) != value]
    if changed:
        told = "; ".join([*changed, *_rows_told(original, dataset)])
        raise DataError(f"this is not the data of the run: {told}", where=str(original.folder), hint="--data FILE names the table it had")


def check_features(original: Original, features: FeatureSet) -> None:
    """Check that a feature set is what a search alone had.

    Raises:
        DataError: It is not.
    """
    was = original.header["features"]
    if was != features.digest:
        hint = "--data DIR names the one it had"
        raise DataError(
            f"this is not the feature set of the search: was {was}, is {features.digest}", where=str(original.folder), hint=hint
        )


def _rows_told(original: Original, dataset: Dataset) -> list[str]:
    """Return where the numbers of rows differ, if the result of the run still says them."""
    try:
        was = json.loads((original.folder / "result.json").read_bytes())["data"]["rows"]
    except (OSError, ValueError, KeyError):
        return []
    now = {"train": dataset.train.rows, "valid": dataset.valid.rows, "test": dataset.test.rows}
    return [f"{name} rows: were {was.get(name)}, are {count}" for name, count in now.items() if was.get(name) != count]
