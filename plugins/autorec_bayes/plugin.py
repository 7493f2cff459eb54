"""Declares the Bayesian strategy; Optuna is imported when it is used."""

from __future__ import annotations

from autorec_kernel.markers import hookimpl
from autorec_kernel.registry.spec import ComponentSpec

__all__ = ["autorec_search_strategies"]


@hookimpl
def autorec_search_strategies() -> tuple[ComponentSpec, ...]:
    """Return the strategies of this package."""
    summary = "Tree-structured Parzen estimator of Optuna (Bergstra et al. 2011)."
    return (ComponentSpec("tpe", "autorec_bayes.tpe:TreeParzen", summary, requires=("optuna",), extra="bayes", tags=("default",)),)
