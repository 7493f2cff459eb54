"""Declares the feature selectors; LightGBM and torch are imported when one of them is used."""

from __future__ import annotations

from typing import Any

from autorec_kernel.markers import hookimpl
from autorec_kernel.registry.spec import ComponentSpec

__all__ = ["autorec_feature_selectors"]

_TREES: dict[str, Any] = {"requires": ("lightgbm",), "extra": "selection"}


@hookimpl
def autorec_feature_selectors() -> tuple[ComponentSpec, ...]:
    """Return the selectors of this package."""
    combined = "Ranks of information, interactions and boosted trees taken together, and a cut between signal and noise."
    gates = "Gates that a small network learns to close (hard concrete, Louizos et al. 2018)."
    information = "Mutual information with the label beyond what shuffled copies have."
    permutation = "Loss that boosted trees gain on validation rows when a feature is shuffled."
    redundancy = "Information with the label less information shared with what was taken before (Peng et al. 2005)."
    gain = "Gain in boosted trees against shuffled copies (Boruta, Kursa and Rudnicki 2010)."
    return (
        ComponentSpec("auto", "autorec_selection.auto:Auto", combined, tags=("default",)),
        ComponentSpec("gates", "autorec_selection.gates:Gates", gates),
        ComponentSpec("mutual-information", "autorec_selection.information:MutualInformation", information),
        ComponentSpec("permutation", "autorec_selection.permutation:Permutation", permutation, **_TREES),
        ComponentSpec("redundancy", "autorec_selection.redundancy:Redundancy", redundancy),
        ComponentSpec("tree-gain", "autorec_selection.tree_gain:TreeGain", gain, **_TREES),
    )
