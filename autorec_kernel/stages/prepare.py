"""Before the search: the device, the table and its features, as a recipe asks for them."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autorec_kernel.errors import DataError, InfrastructureError
from autorec_kernel.files import atomic_write

if TYPE_CHECKING:
    from autorec_kernel.contracts.features import FeatureOp
    from autorec_kernel.features import AuditReport, FeatureSet
    from autorec_kernel.features.selection import Selection
    from autorec_kernel.kernel import Kernel
    from autorec_kernel.recipe import Recipe
    from autorec_kernel.records.dataset import Dataset
    from autorec_kernel.stages.workplace import Workplace

__all__ = ["HISTORY", "audited", "device_of", "features_of", "narrowed", "open_table", "ops_of", "selected"]

HISTORY = 1000  # longest history kept in a feature set
_CURVE_SECONDS = 5.0
_FEWEST = 5000  # training rows below which noise cannot be told from what matters little: all features are kept
_LEAST_SHARE = 20.0  # seconds of the budget for features from which the default selector takes part
Plan = Sequence[Mapping[str, Any]]
_log = logging.getLogger(__name__)


def open_table(source: Any, recipe: Recipe, kernel: Kernel, users: Any, items: Any) -> Dataset:
    """Read the table and cut it as the recipe says.

    Raises:
        DataError: Later events shall be folded in, and no clock orders them.
    """
    from autorec_kernel.data import open_dataset

    found = open_dataset(
        source,
        users=users,
        items=items,
        task=recipe.task,
        roles=recipe.roles,
        kinds=recipe.kinds,
        protocol=recipe.protocol,
        positive_threshold=recipe.positive_threshold,
        deduplicate=recipe.deduplicate,
        seed=recipe.seed,
        shares=recipe.shares,
        kernel=kernel,
    )
    if recipe.live and found.protocol.clock != "time":
        raise DataError(
            "`live` needs a time column: nothing else orders the events of all users", hint="leave out --live (`live` in the recipe)"
        )
    return found


def features_of(place: Workplace, dataset: Dataset, folder: Path | None, plan: Plan | None = None) -> FeatureSet:
    """Build the features of a data set within their share of the budget; kept in `folder` if one is given.

    Args:
        plan: Of an earlier feature set, to be fitted again as it stands.
    """
    from autorec_kernel.features import build_features

    return build_features(
        dataset,
        ops_of(place.kernel, place.recipe),
        folder=folder,
        seed=place.recipe.seed,
        budget_seconds=place.first_share("features"),
        budget_bytes=place.first_memory(),
        plan=plan,
        history_length=HISTORY,
        report=lambda row: _log.info("feature op %s: %s", row["op"], row["reason"], extra={"event": {"event": "feature-op", **row}}),
        task=place.recipe.task,
    )


def ops_of(kernel: Kernel, recipe: Recipe) -> Kernel | dict[str, type[FeatureOp]]:
    """Return the feature ops that a recipe lets propose: all of the kernel's, or those that give columns as they are."""
    from autorec_kernel.features import feature_ops

    return feature_ops(kernel, "raw") if recipe.features == "raw" else kernel


def audited(dataset: Dataset, features: FeatureSet, kernel: Kernel, recipe: Recipe, folder: Path | None) -> AuditReport:
    """Look for features that know too much, and write down what was looked at (`audit.json`).

    Raises:
        LeakError: There is one that the recipe does not accept.
    """
    from autorec_kernel.features import audit

    found = audit(dataset, features, kernel, recipe.seed, recipe.accept_leak)
    if folder is not None:
        write = json.dumps(found.to_json(), indent=2, ensure_ascii=False) + "\n"
        atomic_write(folder / "audit.json", write.encode())
    _log.info("%s", found.summary(), extra={"event": {"event": "audit", **found.to_json()}})
    found.check()
    return found


def selected(
    features: FeatureSet, kernel: Kernel, recipe: Recipe, folder: Path | None, seconds: float = _CURVE_SECONDS, share: float | None = None
) -> Selection:
    """Narrow a feature set to the features worth keeping, ranked; beside its files when it lies in a folder.

    Args:
        seconds: Limit for the report of metric against number of features; 0 = leave it out.
        share: Seconds of the budget that features may take, None = no limit; the default selector is not asked in a small one. What
            is measured has no say, so that a resumed run decides the same.
    """
    from autorec_kernel.features.selection import apply_selection, select_features

    plain = recipe.features == "raw" or recipe.task == "recommend" or len(features.rows("train")) < _FEWEST
    hurried = share is not None and share < _LEAST_SHARE
    name = "none" if (plain or hurried) and recipe.selector == "auto" else recipe.selector
    found = select_features(features, kernel, name, recipe.seed, curve_seconds=seconds)
    apply_selection(features, found, folder)
    told = {"selector": found.selector, "kept": list(found.kept), "dropped": dict(found.dropped), "note": found.note}
    _log.info(
        "kept %d of %d features", len(found.kept), len(found.kept) + len(found.dropped), extra={"event": {"event": "selection", **told}}
    )
    return found


def narrowed(features: FeatureSet, folder: Path) -> FeatureSet:
    """Return a feature set that was built again, with the selection that lies beside the first one."""
    from autorec_kernel.features.selection import apply_selection, read_selection

    found = read_selection(folder)
    if found is not None:
        apply_selection(features, found)
    return features


def device_of(recipe: Recipe) -> str:
    """Return the torch device of a recipe: `cpu` or `cuda`.

    Raises:
        InfrastructureError: `cuda` was asked for and is not there.
    """
    if recipe.device == "cpu":
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if recipe.device == "cuda":
        raise InfrastructureError("device cuda was asked for, and torch finds none", hint="--device auto falls back to the CPU")
    return "cpu"
