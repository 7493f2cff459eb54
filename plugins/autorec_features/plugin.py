"""Declares the feature operations."""

from __future__ import annotations

from autorec_kernel.markers import hookimpl
from autorec_kernel.registry.spec import ComponentSpec

__all__ = ["autorec_feature_ops"]


@hookimpl
def autorec_feature_ops() -> tuple[ComponentSpec, ...]:
    """Return the declarations."""
    return (
        ComponentSpec(
            "activity", "autorec_features.activity:Activity", "Gaps, pace, and counts and trends over windows, of a user or an item."
        ),
        ComponentSpec(
            "attributes", "autorec_features.attributes:Attributes", "What the user's last items were, or how they were met, step by step."
        ),
        ComponentSpec("bag", "autorec_features.bag:Bag", "Rows of the values of a multi-valued column.", tags=("raw",)),
        ComponentSpec("bias", "autorec_features.bias:Bias", "Quality of items beyond their raters, leniency of users beyond their items."),
        ComponentSpec("bins", "autorec_features.bins:Bins", "Numbers as categories: quantiles, or powers of two for counts."),
        ComponentSpec("counts", "autorec_features.counts:Counts", "How many events a user or an item had before the row.", tags=("plain",)),
        ComponentSpec("dated", "autorec_features.dated:Dated", "What was said of an item (tags) or a user before the row, and how often."),
        ComponentSpec("factors", "autorec_features.factors:Factors", "How near a user and an item are in the factors of earlier choices."),
        ComponentSpec("groups", "autorec_features.groups:Groups", "Count and mean label of categories, and of a user's or an item's own."),
        ComponentSpec("history", "autorec_features.history:History", "The last positive items of the user before the row.", tags=("raw",)),
        ComponentSpec("id", "autorec_features.identity:Identity", "Row of a user, item or category in a sorted vocabulary.", tags=("raw",)),
        ComponentSpec("latent", "autorec_features.latent:Latent", "What the user said of other items, through factors of these."),
        ComponentSpec(
            "leanings", "autorec_features.leanings:Leanings", "A user's mean of a genre, an audience's of an item, beyond the rest."
        ),
        ComponentSpec(
            "means", "autorec_features.means:Means", "Mean label of a user or an item before the row, shrunk to the prior.", tags=("plain",)
        ),
        ComponentSpec(
            "scale", "autorec_features.scale:Scale", "Numbers standardised, tails on a log scale, gaps filled and flagged.", tags=("raw",)
        ),
        ComponentSpec("sessions", "autorec_features.sessions:Sessions", "Where a row stands in its user's session, and the mood of it."),
        ComponentSpec("taste", "autorec_features.taste:Taste", "How far an item's number is from what the user chose before."),
        ComponentSpec("time-parts", "autorec_features.time_parts:TimeParts", "Hour, weekday and month of the event.", tags=("plain",)),
        ComponentSpec("vector", "autorec_features.vector:Vector", "Numeric vectors standardised per dimension.", tags=("raw",)),
        ComponentSpec("words", "autorec_features.words:Words", "Free text as numbers: latent semantic analysis of its words."),
        ComponentSpec("years", "autorec_features.years:Years", "The year that a text names, as titles do."),
    )
