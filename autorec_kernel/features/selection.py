"""Which features are worth keeping: a selector ranks them, ids and histories stay whatever it says, the rest goes with its reason."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autorec_kernel.contracts.selector import Ranking
from autorec_kernel.errors import PluginError
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.registry.faults import guarded

if TYPE_CHECKING:
    from autorec_kernel.features.feature_set import FeatureSet
    from autorec_kernel.kernel import Kernel

__all__ = ["Selection", "apply_selection", "read_selection", "select_features"]

_NAME, _FEATURES = "selection.json", "features.json"
_CURVE_SECONDS = 10.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Selection:
    """What a selector said, and what follows from it.

    Args:
        selector: Its component id; "" when none was asked.
        scores, reasons: Feature → its worth, and one line that says why.
        structure: Features that are no candidates: the ids of users and items, and histories.
        kept: Candidates worth keeping, best first.
        dropped: The other candidates → the reason.
        seconds: Time it took.
        curve: Rows {"features": number of candidates kept, "metric", "value" on validation rows}.
        note: Why there is no ranking, when there is none.
    """

    selector: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    structure: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    dropped: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    curve: tuple[Mapping[str, Any], ...] = ()
    note: str = ""

    def schema(self, schema: FeatureSchema) -> FeatureSchema:
        """Return the schema without what was dropped; it carries the order of the rest, where there is one."""
        kept = schema.only(feature.name for feature in schema.features if feature.name not in self.dropped)
        names = {feature.name for feature in kept.features}
        return replace(kept, ranked=tuple(name for name in self.kept if name in names) if self.scores else None)


def select_features(
    features: FeatureSet, kernel: Kernel, selector: str = "auto", seed: int = 0, *, curve_seconds: float = _CURVE_SECONDS
) -> Selection:
    """Rank the features and decide which are worth keeping. The feature set stays as it is: `apply_selection` changes it.

    Args:
        selector: Component id; "auto" = the one tagged `default`, which may be missing or fail; "none" = keep everything.
        seed: The selector draws from `SeedSequence(seed)` alone.
        curve_seconds: Limit for the report of metric against number of features; 0 = leave it out.

    Raises:
        PluginError: The selector that was asked for by name is not there, or fails.
    """
    start = time.perf_counter()
    names = [feature.name for feature in features.schema.features]
    structure = tuple(
        f.name for f in features.schema.features if f.kind == "history" or f.name in (features.schema.user, features.schema.item)
    )
    keep_all = Selection(structure=structure, kept=tuple(name for name in names if name not in structure))
    name = _named(kernel, selector)
    if not name:
        return replace(keep_all, note="not asked for" if selector == "none" else "no feature selector is installed")
    found, broken = guarded(lambda: _ranked(kernel.create("feature-selector", name), features, structure, seed, curve_seconds))
    if found is None and selector != "auto":
        raise PluginError(f"feature selector {name!r} failed: {broken}")
    if found is None:
        _log.warning("features are not ranked: %s failed (%s)", name, broken)
        return replace(keep_all, note=f"{name} failed: {broken}")
    ranking, curve = found
    kept = _kept(ranking, structure)
    dropped = {one: ranking.reasons[one] for one in ranking.order() if one not in {*kept, *structure}}
    seconds = time.perf_counter() - start
    return Selection(name, dict(ranking.scores), dict(ranking.reasons), structure, kept, dropped, seconds, curve)


def _named(kernel: Kernel, selector: str) -> str:
    if selector not in ("auto", "none"):
        return kernel.find("feature-selector", selector).id
    usable = [row.id for row in kernel.components("feature-selector") if row.usable and "default" in row.tags]
    return usable[0] if usable and selector == "auto" else ""


def _ranked(selector: Any, features: FeatureSet, structure: tuple[str, ...], seed: int, seconds: float) -> tuple[Ranking, tuple[Any, ...]]:
    ranking = selector.rank(features, np.random.default_rng(np.random.SeedSequence(seed)))
    judge = getattr(selector, "curve", None)
    if judge is None or not seconds:
        return ranking, ()
    order = [name for name in ranking.order() if name not in structure]
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1,)))
    return ranking, tuple(judge(features, order, rng, seconds))


def _kept(ranking: Ranking, structure: tuple[str, ...]) -> tuple[str, ...]:
    """Return the candidates worth keeping; at least one where nothing else is left to learn from."""
    order = [name for name in (ranking.order() if ranking.kept is None else ranking.kept) if name not in structure]
    return tuple(order or (() if structure else ranking.order()[:1]))


def apply_selection(features: FeatureSet, selection: Selection, folder: Path | None = None) -> None:
    """Narrow a feature set to what was kept, and keep the ranking: in its schema, and beside its files when it lies in a folder."""
    schema = selection.schema(features.schema)
    text = json.dumps([features.digest, [feature.name for feature in schema.features], schema.ranked])
    features.schema, features.digest = schema, hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    if folder is None:
        return
    meta = json.loads((folder / _FEATURES).read_text(encoding="utf-8"))
    _write(folder / _NAME, asdict(selection))
    _write(folder / _FEATURES, {**meta, "schema": schema.to_json(), "digest": features.digest})


def read_selection(folder: Path) -> Selection | None:
    """Return the selection that lies beside a feature set; None when there is none."""
    if not (folder / _NAME).exists():
        return None
    found: dict[str, Any] = json.loads((folder / _NAME).read_text(encoding="utf-8"))
    lists = {name: tuple(found[name]) for name in ("structure", "kept", "curve")}
    return Selection(**{**found, **lists})


def _write(path: Path, value: Any) -> None:
    new = path.with_name(f"{path.name}.new")
    new.write_text(json.dumps(value), encoding="utf-8")
    new.replace(path)
