"""Declares the baselines; nothing heavy is imported until one is used."""

from __future__ import annotations

from autorec_kernel.markers import hookimpl
from autorec_kernel.registry.spec import ComponentSpec

__all__ = ["autorec_blueprints"]

_RECALL = ("recall", "later")
_BASELINE = ("recall", "baseline")
_RANKING = ("ranking", "baseline")


@hookimpl
def autorec_blueprints() -> tuple[ComponentSpec, ...]:
    """Return the baselines of this package."""
    return (
        ComponentSpec("popularity", "autorec_baselines.retrievers:Popularity", "What most people chose.", tags=_BASELINE),
        ComponentSpec(
            "recent-popularity", "autorec_baselines.retrievers:RecentPopularity", "What most people chose lately.", tags=_BASELINE
        ),
        ComponentSpec("item-knn", "autorec_baselines.retrievers:ItemKnn", "Neighbours of the items in a history.", tags=_BASELINE),
        ComponentSpec("ease", "autorec_baselines.retrievers:EaseModel", "Closed-form item-item weights (Steck 2019).", tags=_BASELINE),
        ComponentSpec(
            "recency-ease", "autorec_baselines.retrievers:RecencyEase", "EASE on a history that fades step by step.", tags=_BASELINE
        ),
        ComponentSpec(
            "directed", "autorec_baselines.retrievers:DirectedModel", "What follows a faded history, in closed form.", tags=_BASELINE
        ),
        ComponentSpec("slim", "autorec_baselines.retrievers:SlimModel", "Sparse linear weights (Ning and Karypis 2011).", tags=_RECALL),
        ComponentSpec("ials", "autorec_baselines.retrievers:ImplicitAls", "Implicit least squares (Hu et al. 2008).", tags=_RECALL),
        ComponentSpec("bias", "autorec_baselines.rankers:Bias", "Mean label plus user and item deviations.", tags=_RANKING),
        ComponentSpec(
            "logistic-regression", "autorec_baselines.rankers:LogisticRegression", "A linear model on all features.", tags=_RANKING
        ),
    )
