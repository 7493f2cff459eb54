"""New rows for a bundle: a table read with the columns that the bundle was trained on, and the bundle's metrics on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from autorec_kernel.data import read_source
from autorec_kernel.data.kinds import convert
from autorec_kernel.data.labels import read_further_label, read_label
from autorec_kernel.data.names import ROLE_NAMES, likely, normal
from autorec_kernel.data.understand import ids
from autorec_kernel.errors import DataError, UnknownNameError
from autorec_kernel.evaluation import RankingEvaluator, evaluate_rows
from autorec_kernel.features.labels import settled
from autorec_kernel.records.dataset import CLOCK
from autorec_kernel.records.lists import offsets_of
from autorec_kernel.records.schema import Column, Schema
from autorec_kernel.records.table import ColumnData
from autorec_kernel.serving.drift import context_columns
from autorec_kernel.serving.requests import concat, stored_request

if TYPE_CHECKING:
    from autorec_kernel.data.source import Raw
    from autorec_kernel.kernel import Kernel
    from autorec_kernel.records.serving_state import ServingState
    from autorec_kernel.serving.recommender import Recommender

__all__ = ["Rows", "evaluate_bundle", "named", "read_rows"]

RANKING_METRICS = ("ndcg@10", "hr@10", "recall@10", "precision@10", "mrr@10", "map@10", "coverage@10")
ROW_METRICS: Mapping[str, tuple[str, ...]] = {"rate": ("rmse", "mae"), "click": ("auc", "log_loss")}
_USERS = 2048  # users ranked at a time


@dataclass(frozen=True, slots=True)
class Rows:
    """A table as the bundle's columns.

    Args:
        users, items: Ids a row, None where missing; None as a whole where the bundle knows no such column.
        columns: Event columns that row features may read.
        labels: float64 [n], NaN = missing; None where the table has no label column.
        further: Label → the same of the further labels, those that the table has.
    """

    count: int
    users: list[str | None] | None
    items: list[str | None] | None
    columns: Mapping[str, ColumnData]
    labels: np.ndarray | None
    further: Mapping[str, np.ndarray] = field(default_factory=dict)


def read_rows(source: Any, recommender: Recommender, *, kernel: Kernel | None = None, labelled: bool = False) -> Rows:
    """Read a table with the columns of the bundle's training data.

    Args:
        source: A file, a frame, or what a reader plugin of `kernel` opens.
        labelled: Whether the label column must be there (not for `recommend`, where every row is a positive).

    Raises:
        DataError: Columns that the model reads are missing (all of them are named), or a value does not fit its column.
    """
    raw = read_source(source, kernel=kernel)
    schema = Schema.from_json(recommender.schema["columns"])
    _demand(raw, schema, recommender)
    label = _label(raw, schema, recommender, labelled)
    further = _further(raw, schema) if labelled else {}
    return Rows(raw.rows, _ids(raw, schema, "user"), _ids(raw, schema, "item"), _features(raw, schema), label, further)


def evaluate_bundle(recommender: Recommender, rows: Rows, metrics: Sequence[str] = ()) -> dict[str, Any]:
    """Measure a bundle on new labelled rows.

    Args:
        metrics: Names; empty = the usual ones of the bundle's task.

    Returns:
        `metrics` (name → value or null) and `counts` (rows, users, unknown users and items, …), plain JSON values.

    Raises:
        DataError: No row can be judged.
    """
    if recommender.task == "recommend":
        return _ranked(recommender, rows, metrics or RANKING_METRICS)
    assert rows.labels is not None
    kept = np.flatnonzero(np.isfinite(rows.labels))
    if not len(kept):
        raise DataError("no row has a label")
    found = recommender.predict(rows.users, rows.items, rows.columns)
    result = evaluate_rows(metrics or ROW_METRICS[recommender.task], rows.labels[kept], found.values[kept])
    told = result.to_json()
    told["metrics"] |= {} if metrics else _of_tasks(rows, found.tasks, recommender)
    unknown = {"unknown_user_rows": int((~found.known_users[kept]).sum()), "unknown_item_rows": int((~found.known_items[kept]).sum())}
    return {"metrics": told["metrics"], "counts": {**told["counts"], **unknown, "rows_without_label": rows.count - len(kept)}}


def _of_tasks(rows: Rows, tasks: Mapping[str, np.ndarray], recommender: Recommender) -> dict[str, float | None]:
    """Return `metric:label` → value for every label, where it is known or ruled out; nothing where the bundle predicts one label."""
    assert rows.labels is not None
    labels: dict[str, np.ndarray] = dict(zip(list(tasks)[:1], [rows.labels], strict=True)) | dict(rows.further)
    schema, found = recommender.state.schema, dict[str, float | None]()
    for name in [name for name in tasks if name in labels and len(tasks) > 1]:
        values = settled(labels[name], [labels[other] for other in (schema.implies or {}).get(name, ()) if other in labels])
        known = np.isfinite(values)
        told = evaluate_rows(ROW_METRICS["rate" if schema.tasks[name] == "value" else "click"], values[known], tasks[name][known])
        found |= {f"{metric}:{name}": value for metric, value in told.to_json()["metrics"].items()}
    return found


def _ranked(recommender: Recommender, rows: Rows, metrics: Sequence[str]) -> dict[str, Any]:
    """Rank the whole catalogue for every user of the rows, as the run did: the history is that of the bundle.

    Where users choose items again (`repeats` in the bundle's schema) seen items are ranked and judged like others; elsewhere they are left
    out of the lists and not judged again.
    """
    state, repeats = recommender.state, bool(recommender.schema.get("repeats", False))
    users, items, dropped = _positives(rows, recommender)
    if not repeats:
        fresh = ~_seen(state, users, items)
        users, items, dropped = users[fresh], items[fresh], dropped + int((~fresh).sum())
    if not len(users):
        raise DataError("no row has a user and an item (and a label at or above the bundle's threshold)")
    names, owner = np.unique(users, return_inverse=True)
    known = state.keys_of("user", names)
    item_rows = state.items.row_of(items)
    judge = RankingEvaluator(metrics, recommender.items, popularity=state.chosen)
    ways: dict[str, int] = {}
    for start in range(0, len(names), _USERS):
        block = range(start, min(start + _USERS, len(names)))
        requests = [stored_request(state, int(known[number])) for number in block]
        inside = (owner >= start) & (owner < start + len(requests))
        order = np.argsort(owner[inside], kind="stable")
        counts = np.bincount(owner[inside] - start, minlength=len(requests))
        positives = (offsets_of(counts), item_rows[inside][order])
        scores, how = recommender.scores(requests)
        for name in how:
            ways[name] = ways.get(name, 0) + 1
        seen = None if repeats else concat([np.unique(request.seen) for request in requests])
        judge.add(known[block.start : block.stop], scores, positives, seen)
    told = judge.result().to_json()
    more = {"rows": rows.count, "rows_left_out": dropped, "unknown_users": int(((known == 0) | (known >= state.users.size)).sum())}
    return {"metrics": told["metrics"], "counts": {**told["counts"], **more, **{f"answered_by_{k}": v for k, v in sorted(ways.items())}}}


def _positives(rows: Rows, recommender: Recommender) -> tuple[np.ndarray, np.ndarray, int]:
    """Return (user ids, item ids, rows left out): each (user, item) pair once, rows below the bundle's threshold left out."""
    if rows.users is None or rows.items is None:
        raise DataError("ranking needs a user and an item column")
    threshold = positive_threshold(str(recommender.bundle.manifest.get("protocol", "")))
    good = np.ones(rows.count, dtype=bool)
    if threshold is not None and rows.labels is not None:
        good = np.nan_to_num(rows.labels, nan=-np.inf) >= threshold
    pairs = dict.fromkeys(
        (u, i) for u, i, kept in zip(rows.users, rows.items, good, strict=True) if kept and u is not None and i is not None
    )
    users, items = (np.array([pair[side] for pair in pairs], dtype=object) for side in (0, 1))
    return users, items, rows.count - len(pairs)


def _seen(state: ServingState, users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Return bool [n]: the pairs that are in the state's training events."""
    offsets, stored = state.seen
    owner = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    width = int(state.items.size)
    rows = state.users.row_of(users) * width + state.items.row_of(items)
    return np.asarray(np.isin(rows, owner * width + stored) & (rows >= width) & (rows % width > 0))


def positive_threshold(protocol: str) -> float | None:
    """Return the positive threshold that a protocol id names, None where every row is a positive."""
    found = next((part.removeprefix("positive=") for part in protocol.split("/") if part.startswith("positive=")), "all")
    return None if found == "all" else float(found)


def _ids(raw: Raw, schema: Schema, role: str) -> list[str | None] | None:
    name = named(raw, schema, role)
    return list(ids(raw.columns[name], name, raw.name).text()) if name is not None else None


def named(raw: Raw, schema: Schema, role: str) -> str | None:
    """Return the column of a table that plays the part of an id column of the training data; None without one."""
    column = schema.role(role)  # type: ignore[arg-type]
    if column is None:
        return None
    return column.name if column.name in raw.columns else _same_meaning(role, raw.columns)


def _demand(raw: Raw, schema: Schema, recommender: Recommender) -> None:
    """Refuse a table without the ids, or without a column that the model reads; a ranking of the catalogue reads no event's columns."""
    lost = {c.name: c.role for role in ("user", "item") if (c := schema.role(role)) and named(raw, schema, role) is None}
    if recommender.task != "recommend":
        read = context_columns(recommender.state, recommender.graph.inputs, schema)
        lost |= {name: "feature" for name in read if name not in raw.columns}
    if not lost:
        return
    known = ", ".join(list(raw.columns)[:12]) or "no columns"
    first, role = next(iter(lost.items()))
    close = likely(role, raw.columns) if role != "feature" else None
    hint = f"rename {close!r} to {first!r} if that is what it holds" if close else "an empty column stands for values that are not known"
    raise DataError(f"the table lacks {', '.join(map(repr, lost))}, which the bundle reads; found {known}", where=raw.name, hint=hint)


def _same_meaning(role: str, columns: Iterable[str]) -> str | None:
    """Return the one column whose name, normalised, is a usual name of the role (`userId` for `user_id`); None without a single one."""
    found = [name for name in columns if normal(name) in ROLE_NAMES[role]]
    return found[0] if len(found) == 1 else None


def _features(raw: Raw, schema: Schema) -> dict[str, ColumnData]:
    found: dict[str, ColumnData] = {}
    for column in schema.columns:
        if column.source == "events" and column.name in raw.columns and column.role in ("feature", "time"):
            found[column.name] = convert(column.name, raw.columns[column.name], column.kind, raw.name)
            if column.role == "time":
                found[CLOCK] = found[column.name]
    return found


def _further(raw: Raw, schema: Schema) -> dict[str, np.ndarray]:
    named = [column for column in schema.labels[1:] if column.name in raw.columns]
    return {column.name: read_further_label(column.name, raw.columns[column.name], column.kind, raw.name)[0] for column in named}


def _label(raw: Raw, schema: Schema, recommender: Recommender, needed: bool) -> np.ndarray | None:
    column: Column | None = schema.role("label")
    if column is None or column.name not in raw.columns:
        if needed and recommender.task != "recommend":
            raise UnknownNameError("label column", column.name if column else "label", raw.columns)
        return None
    if not needed:
        return None
    task: Any = recommender.task
    threshold = positive_threshold(str(recommender.bundle.manifest.get("protocol", "")))
    values, _ = read_label(column.name, raw.columns[column.name], task, threshold if task == "click" else None, raw.name)
    return values
