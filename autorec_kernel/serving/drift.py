"""Whether new rows look like those before the test part: columns that are not as they were, and features that have moved (numpy)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from autorec_kernel.errors import UsageError
from autorec_kernel.records.drift import Bins, DriftProfile, chance, stability, together
from autorec_kernel.records.schema import Schema
from autorec_kernel.records.table import ColumnData, take_column
from autorec_kernel.serving.given import misread
from autorec_kernel.serving.predict import count_rows, keys_of

if TYPE_CHECKING:
    from autorec_kernel.records.features import FeatureSchema
    from autorec_kernel.records.serving_state import ServingState

__all__ = ["DriftReport", "FeatureDrift", "context_columns", "drift_of", "gathered", "observed", "with_ids"]

_ROWS = 8192
_STEPS = 50  # newest steps of a history that are looked at


@dataclass(frozen=True, slots=True)
class FeatureDrift:
    """How far one feature of new rows is from what it was.

    Args:
        unseen_before, unseen: Share of rows of the profile and now that are unknown to the feature, or outside its range in training.
        psi: Population stability index, the largest one of its components.
        chance: What that index stays below in 95 of 100 cases where nothing has changed; more users and rows make it smaller.
        moved: What the bin that adds most to it holds.
        before, now: Share of rows in that bin.
    """

    name: str
    kind: str
    unseen_before: float
    unseen: float
    psi: float
    chance: float
    moved: str
    before: float
    now: float

    @property
    def verdict(self) -> str:
        """Return `stable`, `moved` from 0.1 on, `shifted` from 0.25 on (a rule of thumb: Siddiqi 2006), or `chance`."""
        return "stable" if self.psi < 0.1 else "chance" if self.psi < self.chance else "moved" if self.psi < 0.25 else "shifted"


@dataclass(frozen=True, slots=True)
class DriftReport:
    """What is different about a table.

    Args:
        rows, rows_before: New rows, and rows of the profile.
        held_out: Whether those are rows that the state did not know, as it does not know later ones; else training rows.
        missing: Columns that the model reads and the table lacks.
        extra: Columns that the training data did not have; they are ignored.
        retyped: Column → how it differs from what the model reads; such a column counts as missing.
        features: Largest index first.
    """

    rows: int
    rows_before: int
    held_out: bool
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    retyped: Mapping[str, str]
    features: tuple[FeatureDrift, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        told = {
            "rows": self.rows,
            "rows_before": self.rows_before,
            "held_out": self.held_out,
            "missing": list(self.missing),
            "extra": list(self.extra),
        }
        return {**told, "retyped": dict(self.retyped), "features": [{**asdict(one), "verdict": one.verdict} for one in self.features]}


def drift_of(
    profile: DriftProfile,
    state: ServingState,
    schema: Schema,
    users: Sequence[str | None] | None,
    items: Sequence[str | None] | None,
    columns: Mapping[str, ColumnData],
) -> DriftReport:
    """Compare new rows with a profile; see `Recommender.drift`."""
    rows = count_rows(users, items, columns)
    if not rows:
        raise UsageError("drift needs at least one row")
    events = [column for column in schema.columns if column.source == "events"]
    kinds = {column.name: column.kind for column in events if column.role in ("feature", "time")}
    ids = {state.columns.get("user", ""): users, state.columns.get("item", ""): items}
    needed = context_columns(state, profile.features, schema)
    missing = [name for name, given in ids.items() if name and given is None and name not in columns] + [
        name for name in needed if name not in columns
    ]
    read = {**{name: "id" for name, given in ids.items() if name and given is None}, **{name: kinds[name] for name in needed}}
    retyped = {name: told for name, kind in read.items() if name in columns and (told := misread(columns[name], kind))}
    fit = {name: column for name, column in columns.items() if name in kinds and name not in retyped}
    counts: dict[str, list[np.ndarray]] = {}
    for block in observed(state, profile.features, users, items, fit, rows):
        for name, found in profile.counted(block).items():
            counts[name] = [sum(pair) for pair in zip(counts[name], found, strict=True)] if name in counts else found  # type: ignore[misc]
    sizes = ((float(profile.rows), profile.together), (float(rows), together(users, rows)))
    features = [_feature(name, state.schema[name].kind, profile.features[name], counts[name], sizes) for name in counts]
    extra = tuple(name for name in columns if name not in {column.name for column in events})
    ordered = tuple(sorted(features, key=lambda one: (-one.psi, one.name)))
    return DriftReport(rows, profile.rows, profile.held_out, tuple(missing), extra, retyped, ordered)


def with_ids(schema: FeatureSchema, names: Iterable[str]) -> list[str]:
    """Return the names and, where there are such features, the ids of users and items."""
    offered = {feature.name for feature in schema.features}
    return list(dict.fromkeys([*names, *(name for name in (schema.user, schema.item) if name in offered)]))


def gathered(
    state: ServingState,
    names: Sequence[str],
    users: Sequence[str | None] | None,
    items: Sequence[str | None] | None,
    columns: Mapping[str, ColumnData],
) -> dict[str, np.ndarray]:
    """Return model inputs of at least one row as serving reads them."""
    blocks = list(observed(state, names, users, items, columns, count_rows(users, items, columns)))
    return {name: np.concatenate([block[name] for block in blocks]) for name in names}


def observed(
    state: ServingState,
    names: Iterable[str],
    users: Sequence[str | None] | None,
    items: Sequence[str | None] | None,
    columns: Mapping[str, ColumnData],
    rows: int,
) -> Iterable[dict[str, np.ndarray]]:
    """Yield model inputs of rows as serving reads them, a block at a time."""
    names, time = list(names), state.columns.get("time", "")
    columns = {**columns, "@clock": columns[time]} if time in columns else columns
    lengths = {name: _STEPS for name in names if state.schema[name].kind == "history"}
    user_keys, item_keys = keys_of(state, "user", users, rows), keys_of(state, "item", items, rows)
    for start in range(0, rows, _ROWS):
        block = np.arange(start, min(start + _ROWS, rows))
        taken = {name: take_column(column, block) for name, column in columns.items()}
        yield state.inputs(names, users=user_keys[block], items=item_keys[block], columns=taken, lengths=lengths)


def context_columns(state: ServingState, names: Iterable[str], schema: Schema) -> list[str]:
    """Return the event columns beside the ids that features read when they are asked for, in order of the schema."""
    read = state.reads(names)
    return [c.name for c in schema.columns if c.source == "events" and c.role in ("feature", "time") and c.name in read]


def _feature(name: str, kind: str, bins: tuple[Bins, ...], counts: list[np.ndarray], sizes: Iterable[tuple[float, float]]) -> FeatureDrift:
    worst = max(range(len(bins)), key=lambda place: stability(bins[place].counts, counts[place]))
    one, now = bins[worst], counts[worst]
    p, q = one.counts / one.counts.sum(), now / now.sum()
    place = int(np.argmax(np.abs(p - q) * np.abs(np.log((p + 1e-6) / (q + 1e-6)))))
    unseen = max(b.unseen(b.counts) for b in bins), max(b.unseen(found) for b, found in zip(bins, counts, strict=True))
    told = one.told(place) if len(bins) == 1 else f"component {worst + 1}: {one.told(place)}"
    index, limit = stability(one.counts, now), chance(one.counts, now, [one.independent(*size) for size in sizes])
    return FeatureDrift(name, kind, *unseen, index, limit, told, float(p[place]), float(q[place]))
