"""How much of the space is searched: narrow lies in wide, wide in full; and how many architectures a space holds."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Literal

from autorec_kernel.search.fixed import TRAINING
from autorec_kernel.space import Choice, Gene, SearchSpace

__all__ = ["SpacePreset", "admitted", "architectures", "described", "narrowed"]

SpacePreset = Literal["narrow", "wide", "full"]
_EXCLUDED: dict[SpacePreset, frozenset[str]] = {
    "narrow": frozenset({"later", "free"}),
    "wide": frozenset({"free"}),
    "full": frozenset(),
}
_FEW = 8  # values of an option that a narrow space still chooses among


def admitted(tags: Collection[str], preset: SpacePreset) -> bool:
    """Return whether a blueprint with these tags is in the space: narrow has the first ones, full has free cells too."""
    return "baseline" in tags or _EXCLUDED[preset].isdisjoint(tags)


def narrowed(genes: Iterable[Gene], blueprints: Collection[str]) -> list[Gene]:
    """Return the genes, those of blueprints with more than a few values left at their defaults; training genes stay as they are."""
    return [
        replace(gene, domain=Choice((gene.default,))) if gene.domain.size > _FEW and gene.name.rpartition(".")[0] in blueprints else gene
        for gene in genes
    ]


def architectures(space: SearchSpace) -> int:
    """Return the exact number of points that differ in blueprint, features or a discrete option of a blueprint.

    Options with infinitely many values count as one, and so do training options: neither changes which blocks are joined how.
    """
    still = {gene.name: gene.default for gene in space.genes if gene.domain.size == math.inf or f".{TRAINING}." in gene.name}
    return int(space.fix(still).size)


def described(space: SearchSpace, preset: SpacePreset) -> str:
    """Return one sentence: how many genes, points and discrete architectures there are."""
    points = "infinitely many points (some options are real numbers)" if space.size == math.inf else f"{space.size:,} points"
    return f"search space {preset}: {len(space)} genes, {points}, {architectures(space):,} discrete architectures"
