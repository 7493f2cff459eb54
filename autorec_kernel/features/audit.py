"""The audit of a feature set: its ops are fitted again on poisoned samples, and a feature that knows too much is named.

Three parts. *future*: later events are changed, and nothing read before them may change. *own label*: labels are shuffled, and no
feature may still know its own row's. *too good*: no column alone may explain the label. What has no sense on this data is counted.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from autorec_kernel.contracts.features import FeatureOp
from autorec_kernel.errors import UnknownNameError
from autorec_kernel.features.association import alone, asked, group_z, list_z, rank_z
from autorec_kernel.features.audit_programs import columns_of, is_own, untrusted
from autorec_kernel.features.audit_report import AuditReport
from autorec_kernel.features.build import build_features, feature_ops
from autorec_kernel.features.compare import is_same, is_unsure
from autorec_kernel.features.entities import texts
from autorec_kernel.features.feature_set import FeatureSet
from autorec_kernel.features.sample import flooded, later, permuted, reordered, sample_of, shuffled
from autorec_kernel.records.bags import same_width
from autorec_kernel.records.dataset import ORDER, Dataset
from autorec_kernel.records.features import Feature
from autorec_kernel.records.table import Coded

if TYPE_CHECKING:
    from autorec_kernel.kernel import Kernel

__all__ = ["audit"]

_log = logging.getLogger(__name__)
_ROWS, _FEWEST = 5000, 50
_CUTS = {
    "permuted": (permuted, 0.8, "get other values"),
    "flooded": (flooded, 0.95, "belong to other users and items"),
    "reordered": (reordered, 0.5, "of its user change places"),
}
_OWN_CUT, _USERS = 0.5, 5  # of a user's events, where only their order is known: histories may be short; users judged one by one
_ERRORS = 5.0  # standard errors of an unrelated column
_PLAIN_ROWS, _FEWEST_OF_A_CLASS, _TOO_GOOD = 10_000, 20, 0.99
_KEY = 0xA0D17
_NOTHING = "the sample has nothing to fit"


@dataclass(frozen=True, slots=True)
class _Audit:
    """One audit under way."""

    features: FeatureSet
    sample: Dataset
    fit: Callable[[Dataset], FeatureSet]
    base: FeatureSet
    rng: np.random.Generator
    report: AuditReport
    distributions: Mapping[str, str]
    reached: set[str] = field(default_factory=set)
    compared: set[str] = field(default_factory=set)

    def found(self, part: str, feature: Feature, text: str) -> None:
        self.report.add(part, feature, columns_of(self.features, feature), self.distributions, text)


def audit(
    dataset: Dataset,
    features: FeatureSet,
    kernel: Kernel | Mapping[str, type[FeatureOp]],
    seed: int = 0,
    accepted: Collection[str] = (),
) -> AuditReport:
    """Look for features that read the future, their own label, or say too much alone; nothing is raised, `AuditReport.check` does that.

    Args:
        dataset: What `features` was built from; its test rows are not read.
        kernel: Provides the ops of the plan.
        accepted: Columns (or features) that may explain the label alone.

    Raises:
        UnknownNameError: An accepted column is not there.
    """
    start = time.perf_counter()
    known = {column.name for column in dataset.schema.columns} | {feature.name for feature in features.schema.features}
    for name in accepted:
        if name not in known:
            raise UnknownNameError("column", name, known)
    report, rng = AuditReport(), np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_KEY,)))
    ops = feature_ops(kernel)
    rows = () if isinstance(kernel, Mapping) else kernel.components("feature-op")
    sample = sample_of(dataset, _ROWS, features.task, rng)
    report.rows = sample.train.rows

    def fit(changed: Dataset) -> FeatureSet:
        return build_features(changed, ops, plan=features.plan, seed=seed, task=features.task)

    one = _Audit(features, sample, fit, fit(sample), rng, report, {row.id: row.distribution for row in rows})
    _programs(one)
    _unfitted(one)
    if sample.train.rows < _FEWEST:
        for part in ("future", "own label"):
            report.skip(part, f"the data has fewer than {_FEWEST} rows", len(features.schema.features))
    else:
        _future(one)
        _own_label(one)
    _too_good(one, dataset, set(accepted))
    report.seconds = round(time.perf_counter() - start, 3)
    return report


def _programs(one: _Audit) -> None:
    """Read the programs, whatever the training values say: an op may give others than its program gives for later rows."""
    for feature in one.features.schema.features:
        for part, text in untrusted(one.features, feature):
            one.found(part, feature, text)


def _unfitted(one: _Audit) -> None:
    """Name the features that an op makes of all rows and not of the sample: only their programs, and what they tell alone, are judged."""
    made = {feature.name for feature in one.base.schema.features}
    now = [now for row, now in zip(one.features.plan, one.base.plan, strict=True) if row["taken"]]
    told = {f.name: row["reason"] for op, row in zip(one.features.fitted, now, strict=True) if not row["taken"] for f in op.features}
    lost = [feature.name for feature in one.features.schema.features if feature.name not in made]
    one.report.unfitted = {name: told.get(name, "its op makes others of it") for name in lost}
    for name, why in one.report.unfitted.items():
        _log.warning("the audit cannot make feature %r of its sample, and does not judge it: %s", name, why)


def _future(one: _Audit) -> None:
    """Poison later events and compare what earlier rows read."""
    clock, schema = one.sample.protocol.clock, one.features.schema
    if clock == "none":
        one.report.skip("future", "no clock orders the rows", len(schema.features))
        return
    own = {f.name for f in schema.features if clock == "time" or is_own(one.features, f)}
    names = [f.name for f in schema.features if f.name not in one.report.unfitted]
    one.report.skip("future", _NOTHING, len(one.report.unfitted))
    for kind, (poison, share, told) in _CUTS.items():
        judged = [name for name in names if (name in own) is (kind != "reordered")]
        if not judged or (kind == "flooded" and clock != "time"):
            continue
        late = later(one.sample, share if clock == "time" else _OWN_CUT)
        if late.all() or not late.any():
            one.report.skip("future", "its last rows are all there is", len(judged))
            continue
        changed = one.fit(poison(one.sample, late, one.rng))
        moved = _compare(one, changed, judged, late, ~late, kind)
        for name in moved if kind != "reordered" else _by_one(one, moved, late):
            text = f"feature {name!r} reads the future: its values on earlier rows change when later rows {told}"
            one.found("future", one.base.schema[name], text)
    one.report.judged["future"] = len(one.compared)
    one.report.not_reached += [name for name in names if name not in one.reached]


def _by_one(one: _Audit, names: list[str], late: np.ndarray) -> list[str]:
    """Return the features whose rows of a user follow the order of that user's own later events: others' may be read as they are."""
    column, found = one.sample.schema.role("user"), list[str]()
    users = texts(one.sample.train[column.name]).codes if column and names else np.zeros(len(late), np.int64)
    busy, count = np.unique(users[late], return_counts=True)
    for rows in (users == user for user in busy[np.argsort(-count)][:_USERS] if names):
        changed = one.fit(reordered(one.sample, late & rows, one.rng))
        found += _compare(one, changed, names, late & rows, ~late & rows, "reordered")
    return found


def _compare(one: _Audit, changed: FeatureSet, names: list[str], late: np.ndarray, early: np.ndarray, kind: str) -> list[str]:
    """Return the features whose values on `early` rows are not what they were before the `late` ones were poisoned."""
    found = []
    for name in names:
        old = one.base.schema[name]
        new = next((f for f in changed.schema.features if f.name == name), None)
        several = len(columns_of(one.base, old)) > 1
        whole = [_values(built, name) for built in (one.base, changed)] if new else []
        if new is None:
            one.report.skip("future", "its name is another one where later rows are changed")
        if new is None or (kind == "flooded" and is_unsure(old, new, several)):
            continue
        before, after = same_width(whole) if old.kind in ("bag", "history") else whole
        if before.shape != after.shape or not np.array_equal(before[late], after[late], equal_nan=True):
            one.reached.add(name)
        one.compared.add(name)
        if before.shape != after.shape or not is_same(old, before[early], after[early], kind, several):
            found.append(name)
    return found


def _own_label(one: _Audit) -> None:
    """Shuffle the labels and ask every feature for its row's; what it seems to know it must know a second time."""
    train, features = one.sample.train, one.base.schema.features
    labels = [label.name for label in one.sample.schema.labels if np.isfinite(np.asarray(train[label.name], dtype=np.float64)).any()]
    if not labels:
        one.report.skip("own label", "there is no label column", len(features))
        return
    one.report.skip("own label", _NOTHING, len(one.report.unfitted))
    first = _knowing(one, features, labels)
    again = _knowing(one, [f for f in features if f.name in {key[0] for key in first}], labels) if first else {}
    for (name, label, place), z in first.items():
        if again.get((name, label, place), 0.0) * z > 0:
            text = f"feature {name!r} knows its own row's {label!r}: after shuffling it is {abs(z):.0f} standard errors from chance"
            one.found("own label", one.base.schema[name], text)
    one.report.judged["own label"] = len(features)


def _knowing(one: _Audit, judged: Sequence[Feature], labels: list[str]) -> dict[tuple[str, str, int], float]:
    """Return (feature, label, what is `asked` for) → standard errors, of those that shuffled labels leave too close."""
    mixed = shuffled(one.sample, one.rng)
    built = one.fit(mixed)
    rebuilt = {f.name for f in built.schema.features}
    lost = sum(feature.name not in rebuilt for feature in judged)
    one.report.skip("own label", "its name is another one where labels are shuffled", lost)
    found = {}
    for feature in (f for f in judged if f.name in rebuilt):
        values = _values(built, feature.name)
        for label in labels:
            own = np.asarray(mixed.train[label], dtype=np.float64)
            known = np.isfinite(own)
            for place, (kind, column) in enumerate(asked(feature.kind, values[known])):
                z = rank_z(column, own[known]) if kind == "numeric" else (group_z if kind == "id" else list_z)(column, own[known], one.rng)
                if abs(z) > _ERRORS:
                    found[feature.name, label, place] = z
    return found


def _too_good(one: _Audit, dataset: Dataset, accepted: set[str]) -> None:
    """Judge every feature, and every raw number and category, as the only column of a model of real training rows."""
    features, report = one.features, one.report
    rows = features.sample_rows(_PLAIN_ROWS, one.rng)
    order = np.asarray(features.parts["train"].events[ORDER])[rows]
    raw = np.searchsorted(np.asarray(dataset.train[ORDER]), order)
    entities = {features.schema.user, features.schema.item}
    judged = [f for f in features.schema.features if f.name not in entities]
    report.skip("too good", "ids of users and items", len(features.schema.features) - len(judged))
    covered = {columns_of(features, feature) for feature in judged}
    columns = [c for c in dataset.schema.features("events") if (c.name,) not in covered and c.name in dataset.train]
    for task, link in features.schema.tasks.items():
        label = features.labels_at(task, rows).astype(np.float64)
        known = np.isfinite(label)
        if not _enough(label[known], link == "logit"):
            report.skip("too good", f"too few rows, or one value only, of {task!r}", len(judged))
            continue
        report.judged["too good"] = len(judged) + len(columns)
        for feature in judged:
            values = features.row_inputs([feature.name], rows)[feature.name][known]
            parts = asked(feature.kind, values)
            worth = max(alone(part, label[known], one.rng, kind=kind, binary=link == "logit") for kind, part in parts)
            _tell(one, feature, columns_of(features, feature), worth, task, link, accepted)
        for column in columns:
            value = dataset.train[column.name]
            if isinstance(value, Coded) or (isinstance(value, np.ndarray) and value.ndim == 1):
                plain = (value.codes if isinstance(value, Coded) else np.nan_to_num(value))[raw][known]
                worth = alone(plain, label[known], one.rng, kind="id" if isinstance(value, Coded) else "numeric", binary=link == "logit")
                _tell(one, None, (column.name,), worth, task, link, accepted)


def _tell(one: _Audit, feature: Feature | None, columns: tuple[str, ...], worth: float, task: str, link: str, accepted: set[str]) -> None:
    if worth <= _TOO_GOOD:
        return
    measure = "AUC" if link == "logit" else "R²"
    who = f"feature {feature.name!r} (of column {', '.join(map(repr, columns))})" if feature else f"column {columns[0]!r}"
    names = {*columns, *(name.partition(".")[2] for name in columns), *([feature.name] if feature else [])}
    text = f"{who} alone explains {task!r} with {measure} {worth:.4f}"
    one.report.add("too good", feature, columns, one.distributions, text, accepted=bool(names & accepted))


def _enough(label: np.ndarray, binary: bool) -> bool:
    if binary:
        return bool(min(np.count_nonzero(label == 1), np.count_nonzero(label == 0)) >= _FEWEST_OF_A_CLASS)
    return len(label) >= 5 * _FEWEST_OF_A_CLASS and float(np.ptp(label)) > 0


def _values(features: FeatureSet, name: str) -> np.ndarray:
    """Return the values of every training row, as a model sees them."""
    return features.row_inputs([name], np.arange(features.parts["train"].rows))[name]
