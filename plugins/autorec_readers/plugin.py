"""Declares the readers; nothing heavy is imported until a source is opened."""

from __future__ import annotations

from autorec_kernel.markers import hookimpl
from autorec_kernel.registry.spec import ComponentSpec

__all__ = ["autorec_readers"]


@hookimpl
def autorec_readers() -> tuple[ComponentSpec, ...]:
    """Return the readers of this package."""
    return (
        ComponentSpec("amazon", "autorec_readers.amazon:AmazonReader", "Amazon reviews (2014, 2018, 2023) or ratings, with products."),
        ComponentSpec("frames", "autorec_readers.frames:FrameReader", "Frames of polars, duckdb, modin and others, through narwhals."),
        ComponentSpec("movielens", "autorec_readers.movielens:MovieLensReader", "MovieLens folders: ratings, films, users and tags."),
        ComponentSpec("recbole", "autorec_readers.recbole:AtomicReader", "RecBole atomic files (.inter, .user, .item)."),
    )
