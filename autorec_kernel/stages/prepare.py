"""Before the search: the device, the table and its features, as a recipe asks for them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from autorec_kernel.errors import InfrastructureError

if TYPE_CHECKING:
    from autorec_kernel.features import FeatureSet
    from autorec_kernel.kernel import Kernel
    from autorec_kernel.recipe import Recipe
    from autorec_kernel.records.dataset import Dataset
    from autorec_kernel.stages.workplace import Workplace

__all__ = ["HISTORY", "device_of", "features_of", "open_table"]

HISTORY = 1000  # longest history kept in a feature set


def open_table(source: Any, recipe: Recipe, kernel: Kernel, users: Any, items: Any) -> Dataset:
    """Read the table and cut it as the recipe says."""
    from autorec_kernel.data import open_dataset

    return open_dataset(
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


def features_of(place: Workplace, dataset: Dataset, folder: Path | None) -> FeatureSet:
    """Build the features of a data set within their share of the budget; kept in `folder` if one is given."""
    from autorec_kernel.features import build_features

    return build_features(
        dataset,
        place.kernel,
        folder=folder,
        seed=place.recipe.seed,
        budget_seconds=place.first_share("features"),
        history_length=HISTORY,
        task=place.recipe.task,
    )


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
